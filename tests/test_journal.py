"""Rows in: numbers are kept, what is no number is refused, counted and shown once (B47)."""

import math
from pathlib import Path
from typing import Any

import pytest

from ablate import journal
from ablate.journal import Journal, read_points


@pytest.fixture
def log() -> list[str]:
    return []


def write(path: Path, rows: list[tuple[Any, Any, Any]], log: list[str]) -> Journal:
    with Journal(path, log=log.append) as written:
        for step, key, value in rows:
            written.add(step, key, value)
    return written


def test_report_is_in_the_file_at_once(tmp_path: Path, log: list[str]) -> None:
    with Journal(tmp_path / "metrics.jsonl", log=log.append) as written:
        written.add(1, "loss", 2.5)
        written.add(1, "other", math.nan)
        written.flush()
        points, _ = read_points(tmp_path / "metrics.jsonl")
    assert [(point.key, point.value, point.kind) for point in points] == [("loss", 2.5, "finite"), ("other", None, "nan")]


@pytest.mark.parametrize(
    "row",
    [
        (1, "x" * 300, 1.0),
        (1, "", 1.0),
        (1, "a/../b", 1.0),
        (1, "<script>", 1.0),
        (1, "two\nlines", 1.0),
        (1, 7, 1.0),
        (1, "loss", "1.5"),
        (1, "loss", [1.0]),
        (1, "loss", 1j),
        (1, "loss", True),
        (1, "loss", None),
        (2, "loss", 10**400),
        (-1, "loss", 1.0),
        (math.nan, "loss", 1.0),
        (1.5, "loss", 1.0),
        ("1", "loss", 1.0),
        (10**30, "loss", 1.0),
    ],
)
def test_row_that_is_no_number_is_refused_and_the_rest_kept(row: tuple[Any, Any, Any], tmp_path: Path, log: list[str]) -> None:
    written = write(tmp_path / "metrics.jsonl", [row, (2, "loss", 3.0), row], log)
    assert list(written.last) == ["loss"]
    assert [point.step for point in read_points(tmp_path / "metrics.jsonl")[0]] == [2]
    assert written.refused.total() == 2
    assert len([line for line in log if line.startswith("row refused: ")]) == 1
    assert log[-1].startswith("2 rows refused: ")


def test_step_that_goes_back_is_refused(tmp_path: Path, log: list[str]) -> None:
    written = write(tmp_path / "metrics.jsonl", [(5, "loss", 1.0), (4, "loss", 2.0), (4, "other", 2.0), (5, "loss", 3.0)], log)
    assert written.last["loss"].value == 3.0
    assert written.refused.total() == 1


def test_numbers_of_libraries_are_numbers(tmp_path: Path, log: list[str]) -> None:
    import numpy as np

    written = write(tmp_path / "metrics.jsonl", [(np.int64(3), "a", np.float32(0.5)), (3.0, "b", np.int8(2))], log)
    assert {key: point.value for key, point in written.last.items()} == {"a": 0.5, "b": 2.0}
    assert log == []


@pytest.mark.fault("F35")
def test_metrics_without_end_are_refused_from_a_number_on(tmp_path: Path, log: list[str]) -> None:
    rows = [(1, f"metric{number}", 1.0) for number in range(journal.MAX_KEYS + 50)]
    written = write(tmp_path / "metrics.jsonl", rows, log)
    assert len(written.last) == journal.MAX_KEYS
    assert written.refused.total() == 50


@pytest.mark.slow
@pytest.mark.fault("F35")
def test_points_without_end_are_capped_and_the_last_value_still_counts(tmp_path: Path, log: list[str]) -> None:
    with Journal(tmp_path / "metrics.jsonl", log=log.append) as written:
        for step in range(journal.MAX_ROWS + 1000):
            written.add(step, "loss", 1.0)
    with open(tmp_path / "metrics.jsonl", "rb") as stream:
        assert sum(1 for _ in stream) == journal.MAX_ROWS
    assert written.last["loss"].step == journal.MAX_ROWS + 999
    assert len(log) == 1
