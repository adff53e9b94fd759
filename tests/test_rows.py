"""Lines of JSON become reports and what is none is refused; the journal behind them counts that, and refuses bad values too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.journal import MAX_KEYS, Journal
from ablate.rows import Rows


class Reported:
    """Rows into a real journal."""

    def __init__(self, path: Path) -> None:
        self.log: list[str] = []
        self.reports: list[tuple[Any, dict[str, Any]]] = []
        self.journal = Journal(path, log=self.log.append)
        self.rows = Rows(self._report, self.journal.refuse)

    def _report(self, step: Any, **metrics: Any) -> None:
        self.reports.append((step, metrics))
        for key, value in metrics.items():
            self.journal.add(step, key, value)

    def take(self, *lines: str) -> None:
        for line in lines:
            self.rows.take(line)


@pytest.fixture
def reported(tmp_path: Path) -> Iterator[Reported]:
    found = Reported(tmp_path / "metrics.jsonl")
    with found.journal:
        yield found


def test_row_is_its_step_and_its_metrics(reported: Reported) -> None:
    reported.take('{"step": 1, "loss": 2.5, "few_shot/4": 3}', '{"loss": 2, "step": 1.0}')
    assert reported.reports == [(1, {"loss": 2.5, "few_shot/4": 3}), (1.0, {"loss": 2})]
    assert reported.journal.refused.total() == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"step": 1, "loss": 2.5', "not a line of JSON"),
        ("[" * 100_000, "not a line of JSON"),
        ('{"step": ' + "9" * 10_000 + "}", "not a line of JSON"),
        ("[1, 2]", "not a JSON object"),
        ("3", "not a JSON object"),
        ('{"loss": 1}', "no step"),
        ('{"step": 1, "self": 1}', "a metric named self"),
    ],
    ids=lambda text: text[:30],
)
def test_line_that_is_no_row_is_refused_and_counted(line: str, reason: str, reported: Reported) -> None:
    reported.take(line, line)
    assert reported.reports == []
    assert reported.journal.refused == {reason: 2}
    (said,) = reported.log
    assert said.startswith(f"row refused: {reason} ({line[:20]}")


@pytest.mark.parametrize(
    "row",
    [
        '{"step": NaN, "loss": 1}',
        '{"step": Infinity, "loss": 1}',
        '{"step": true, "loss": 1}',
        '{"step": "1", "loss": 1}',
        '{"step": null, "loss": 1}',
        '{"step": [1], "loss": 1}',
        '{"step": 1.5, "loss": 1}',
        '{"step": -1, "loss": 1}',
        '{"step": 1e300, "loss": 1}',
        '{"step": 1, "loss": "low"}',
        '{"step": 1, "loss": [1]}',
        '{"step": 1, "loss": true}',
        '{"step": 1, "loss": null}',
        '{"step": 1, "loss": {"re": 1, "im": 2}}',
        '{"step": 1, "loss": 1' + "0" * 400 + "}",
        '{"step": 1, "a/../b": 1}',
        '{"step": 1, "<script>": 1}',
        '{"step": 1, "' + "x" * 300 + '": 1}',
        '{"step": 1, "": 1}',
    ],
    ids=lambda text: text[:40],
)
def test_value_that_is_none_is_refused_and_the_rows_after_it_count(row: str, reported: Reported) -> None:
    reported.take(row, row, '{"step": 2, "loss": 2, "split": "val"}', '{"step": 1, "loss": 9}')
    assert {key: (point.step, point.value) for key, point in reported.journal.last.items()} == {"loss": (2, 2.0)}
    assert reported.journal.refused.total() == 4
    assert len(reported.log) == len(reported.journal.refused)


def test_value_that_is_not_finite_is_a_point(reported: Reported) -> None:
    reported.take('{"step": 1, "a": NaN, "b": -Infinity}')
    assert {key: point.kind for key, point in reported.journal.last.items()} == {"a": "nan", "b": "-inf"}


def test_flood_of_names_ends_at_the_limit(reported: Reported) -> None:
    reported.take(*(json.dumps({"step": 1, f"m{number}": 1}) for number in range(10_000)))
    assert len(reported.journal.last) == MAX_KEYS
    assert reported.journal.refused.total() == 10_000 - MAX_KEYS
