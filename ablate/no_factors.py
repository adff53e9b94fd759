"""Why a study has no interactions or importance to show, and the lines of its file that would give some."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import pandas as pd

from ablate.analysis.effects import USABLE
from ablate.analysis.factors import FactorEffects, vary_together
from ablate.quantities import counted
from ablate.results import at_baselines
from ablate.stores import StudyRecord
from ablate.yaml_text import yaml_text

MANY_FACTORS = 4
"""Up to it a fraction of resolution 5 is the whole grid; of five factors of two levels it is 16 arms instead of 32."""
SECOND_AXIS = {"model_zoo": ("connector.kind", ["avg_pool", "c_abstractor"]), "synthetic": ("connector", ["avg_pool", "c_abstractor"])}
ANOTHER_AXIS = ("another.axis", ["first level", "second level"])
"""Of a trainer whose fields are its own."""


class Gap(NamedTuple):
    """What is missing, in words, and what would give it."""

    why: str
    lines: str
    """YAML of the study's file; empty where more runs are all it takes."""


def factor_gap(record: StudyRecord, *, results: pd.DataFrame, metric: str, found: FactorEffects | None) -> Gap | None:
    """None where terms have shares. `found`: of the same results, None where they could not be split."""
    varied = [axis for axis, levels in record.axes.items() if len(levels) != 1]
    if len(varied) < 2:
        return _one_axis(record, varied)
    if found is not None:
        return _no_noise(record, found)
    if not vary_together(at_baselines(results, axes=record.axes), factors=varied):
        return _apart(record, varied)
    done = results["state"].isin(USABLE) & (results[metric].notna() if metric in results else False)
    ended = f"{int(done.sum())} of {counted(len(results), 'trial')} done with {metric}"
    return Gap(f"{ended}: shares need finished trials of two axes at two levels of each other. They come as the run goes on.", "")


def _one_axis(record: StudyRecord, varied: Sequence[str]) -> Gap:
    name, levels = SECOND_AXIS.get(str(record.spec.get("trainer")), ANOTHER_AXIS)
    declared: Mapping[str, Any] = record.spec.get("axes") or {}
    mine = {axis: declared[axis] for axis in varied if axis in declared and axis != name}
    said = f"This study varies one axis, {varied[0]}" if varied else "This study varies no axis"
    asked = yaml_text({"axes": {**mine, name: levels}, "design": "grid"})
    return Gap(
        f"{said}: an interaction is between two, and importance is a share among several.\nA second axis, crossed with the first:", asked
    )


def _apart(record: StudyRecord, varied: Sequence[str]) -> Gap:
    designs = record.spec.get("design") or []
    kinds = [str(one.get("kind")) for one in designs if isinstance(one, Mapping)] if isinstance(designs, Sequence) else []
    by = f" ({', '.join(kinds)})" if kinds else ""
    said = f"This study's design{by} tries no two axes at two levels of each other, so what they do together is not in its trials."
    arms = prod(len(record.axes[axis]) for axis in varied)
    lines = f"design: grid   # {counted(arms, 'arm')}" if arms else "design: grid   # of axes with named levels"
    if len(varied) > MANY_FACTORS and all(len(record.axes[axis]) == 2 for axis in varied):  # a fraction takes no other
        lines += "\n# or a fraction of it, from which interactions can still be told:\ndesign: {kind: fractional, resolution: 5}"
    return Gap(f"{said}\nA factorial design has it; `ablate plan` says what it costs:", lines)


def _no_noise(record: StudyRecord, found: FactorEffects) -> Gap | None:
    terms = [*found.main, *found.interactions]
    if any(term.share is not None for term in terms):
        return None
    if found.seeds > 1:
        return Gap(f"No term has a share: {'; '.join(found.warnings) or 'none can be tested'}.", "")
    said = "One seed, and as many terms as combinations: nothing is left to tell a term from noise, so no term has a share or an interval."
    return Gap(
        f"{said} A forest (fANOVA) splits the scores all the same.\nA second seed measures the noise; finished trials stay:", "seeds: 2"
    )
