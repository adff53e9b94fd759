"""What the arm that changes nothing stands for: its name, `base`, says no level."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ablate.axes import BASE_LABEL
from ablate.levels import label_text
from ablate.stores import TrialRecord

if TYPE_CHECKING:
    import pandas as pd


def shown_names(trials: Iterable[TrialRecord], *, axes: Iterable[str]) -> dict[str, str]:
    """Arm -> the name it is shown by, where that is another: `base (avg_pool)` in a study of one axis."""
    levels, known = _base_levels(trials), list(axes)
    if len(known) != 1 or levels.get(known[0]) in (None, BASE_LABEL):
        return {}
    return {BASE_LABEL: f"{BASE_LABEL} ({label_text(levels[known[0]])})"}


def with_names(frame: "pd.DataFrame", *, trials: Iterable[TrialRecord], axes: Iterable[str]) -> "pd.DataFrame":
    """The column `arm` by the names that arms are shown by."""
    names = shown_names(trials, axes=axes)
    return frame.assign(arm=[names.get(arm, arm) for arm in frame["arm"].tolist()]) if names else frame


def base_note(trials: Iterable[TrialRecord], *, axes: Iterable[str]) -> str:
    """`base: connector = avg_pool, mix = 45:45:10` in a study of several axes; empty where no arm is the base, or its name says it."""
    levels, known = _base_levels(trials), list(axes)
    named = [f"{axis} = {label_text(levels[axis])}" for axis in known if levels.get(axis) is not None]
    return f"{BASE_LABEL}: {', '.join(named)}" if len(known) > 1 and named else ""


def _base_levels(trials: Iterable[TrialRecord]) -> Mapping[str, Any]:
    return next((trial.levels for trial in trials if trial.arm == BASE_LABEL), {})
