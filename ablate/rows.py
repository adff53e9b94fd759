"""Lines of JSON such as `{"step": 10, "val_loss": 2.3}` become reports; lines that are none are refused, counted, and said once.

What a row says is judged where all reports are, in the attempt's journal.
"""

import json
from collections import Counter
from collections.abc import Callable

from ablate.reader import visible

NO_KEYWORD = "self"
"""The one name that `report(step, **metrics)` cannot take."""


class Rows:
    """Takes lines and passes on what they hold to `report(step, **metrics)`."""

    def __init__(self, report: Callable[..., None]) -> None:
        self._report = report
        self._refused: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        """Reason -> the beginning of the first line refused for it."""

    def take(self, line: str) -> None:
        """One line that is to be a row."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return self.refuse("not a line of JSON", line)
        if not isinstance(row, dict):
            return self.refuse("not a JSON object", line)
        if "step" not in row or NO_KEYWORD in row:
            return self.refuse("no step" if "step" not in row else f"a metric named {NO_KEYWORD}", line)
        return self._report(row.pop("step"), **row)

    def refuse(self, reason: str, line: str) -> None:
        self._refused[reason] += 1
        self._first.setdefault(reason, visible(line, limit=80))

    def refusals(self) -> str:
        """What was refused, in a line each; empty where nothing was."""
        return "\n".join(f"{count:,} lines refused: {why}; the first: {self._first[why]}" for why, count in self._refused.items())
