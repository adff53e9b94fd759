"""Why there is nothing to show, and what would give something: by the trials that a design plans."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
import yaml

from ablate.no_factors import Gap, factor_gap
from ablate.stores import StudyRecord

AXES: dict[str, list[Any]] = {"kind": ["a", "b"], "size": [1, 2], "depth": [1, 2], "rate": [1, 2], "mix": ["x", "y"]}


def record(axes: dict[str, list[Any]], *, design: Sequence[dict[str, Any]] = (), trainer: str = "command") -> StudyRecord:
    return StudyRecord(
        name="s",
        spec={"axes": axes, "design": list(design), "trainer": trainer},
        axes=axes,
        simulated=False,
        created=0,
        updated=0,
        active=False,
    )


def gap(axes: dict[str, list[Any]], rows: Sequence[dict[str, Any]], **told: Any) -> Gap:
    frame = pd.DataFrame([{"state": "done", "seed": 0, "score": 1.0, **row} for row in rows])
    found = factor_gap(record(axes, **told), results=frame, metric="score", found=None)
    assert found is not None
    return found


def test_one_axis_is_shown_crossed_with_a_second_that_its_trainer_has() -> None:
    found = gap({"data.mix": ["1:1", "9:1"]}, [{"data.mix": "1:1"}], trainer="model_zoo")
    assert "one axis, data.mix" in found.why
    assert yaml.safe_load(found.lines) == {
        "axes": {"data.mix": ["1:1", "9:1"], "connector.kind": ["avg_pool", "c_abstractor"]},
        "design": "grid",
    }
    assert "another.axis" in gap({}, [{}]).lines


@pytest.mark.parametrize(
    ("names", "lines"), [(["kind", "size"], ["grid"]), (list(AXES), ["grid", {"kind": "fractional", "resolution": 5}])]
)
def test_one_at_a_time_design_is_shown_a_factorial_one(names: list[str], lines: list[Any]) -> None:
    axes = {name: AXES[name] for name in names}
    base = {name: levels[0] for name, levels in axes.items()}
    found = gap(axes, [base, *({**base, name: levels[1]} for name, levels in axes.items())], design=[{"kind": "one_at_a_time"}])
    assert "(one_at_a_time) tries no two axes" in found.why
    assert [yaml.safe_load(line)["design"] for line in found.lines.splitlines() if not line.startswith("#")] == lines
    assert f"# {2 ** len(names)} arms" in found.lines


def test_crossed_axes_whose_trials_have_not_ended_only_need_their_run() -> None:
    axes = {name: AXES[name] for name in ("kind", "size")}
    rows = [{"kind": kind, "size": size, "state": "queued"} for kind in "ab" for size in (1, 2)]
    found = gap(axes, [rows[0] | {"state": "done"}, *rows[1:]])
    assert found.why.startswith("1 of 4 trials done with score")
    assert found.lines == ""
