"""Lines of JSON such as `{"step": 10, "val_loss": 2.3}` become reports; lines that are none are refused.

What a row says is judged where all reports are, in the attempt's journal.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from ablate.marked_yaml import visible

NO_KEYWORD = "self"
"""The one name that `report(step, **metrics)` cannot take."""


@dataclass(frozen=True)
class Rows:
    """Takes lines; `report` and `refuse` are those of `ablate.trainers.Context`."""

    report: Callable[..., None]
    refuse: Callable[[str, str], None]

    def take(self, line: str) -> None:
        """One line that is to be a row."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return self.refuse_line("not a line of JSON", line)
        if not isinstance(row, dict):
            return self.refuse_line("not a JSON object", line)
        if "step" not in row or NO_KEYWORD in row:
            return self.refuse_line("no step" if "step" not in row else f"a metric named {NO_KEYWORD}", line)
        return self.report(row.pop("step"), **row)

    def refuse_line(self, why: str, line: str) -> None:
        self.refuse(why, visible(line, limit=80))
