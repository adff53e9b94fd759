from math import nan
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate import parallel_figures
from ablate.errors import InputError
from ablate.parallel_figures import Ranges, box_ranges, brushed, parallel_coordinates
from tests.test_figures import ESCAPED, HOSTILE

AXES = ["lr", "kind", "size"]


def results() -> pd.DataFrame:
    rows = [
        ("t4", 1e-2, "late", 64, 5.0, "failed"),
        ("t0", 1e-4, "linear", 16, 1.0, "done"),
        ("t1", 1e-3, "pool", 16, 2.0, "cached"),
        ("t2", 1e-2, "linear", 32, 3.0, "done"),
        ("t3", 1e-2, None, 32, 4.0, "done"),
        ("t5", 1e-2, "pool", 64, nan, "done"),
    ]
    return pd.DataFrame(rows, columns=["trial", *AXES, "score", "state"])


def trace_of(figure: Any, name: str) -> Any:
    return next(trace for trace in figure.data if trace.name == name)


def drawn_lines(figure: Any, name: str = "kept") -> list[list[float]]:
    """The heights of each line, in no order."""
    found: list[list[float]] = [[]]
    for trace in figure.data:
        for value in trace.y if trace.name == name else ():
            found[-1].append(value) if value == value else found.append([])  # not a number: a gap
    return sorted(line for line in found if line)


def test_line_goes_through_the_places_of_a_trial() -> None:
    figure = parallel_coordinates(results(), axes=AXES, metric="score", unit="points")
    expected = [[0, 1 / 3, 0, 0], [0.5, 2 / 3, 0, 1 / 3], [1, 1 / 3, 1 / 3, 2 / 3], [1, 1, 1 / 3, 1]]
    assert np.array(drawn_lines(figure)) == pytest.approx(np.array(expected))
    assert list(figure.layout.xaxis.ticktext) == ["lr", "kind", "size", "score (points)"]
    assert list(trace_of(figure, "trials").customdata) == ["t0", "t1", "t2", "t3"]
    texts = [text.strip() for text in trace_of(figure, "ticks").text]
    assert texts[:10] == ["0.0001", "0.001", "0.01", "late", "linear", "pool", "–", "16", "32", "64"]


@pytest.mark.parametrize(
    ("ranges", "trials"),
    [
        ({}, ["t0", "t1", "t2", "t3"]),
        ({"lr": [(-2.5, -1.5)]}, ["t2", "t3"]),
        ({"lr": [(-4.2, -3.8), (-2.2, -1.8)]}, ["t0", "t2", "t3"]),
        ({"kind": [(0.8, 1.2)], "score": [(2.5, 9.0)]}, ["t2"]),
        ({"kind": [(2.8, 3.2)]}, ["t3"]),
        ({"lr": [(-2.7, -2.1)]}, []),
        ({"other": [(0.0, 0.0)]}, ["t0", "t1", "t2", "t3"]),
    ],
)
def test_brushed_ranges_are_trials_again(ranges: Ranges, trials: list[str]) -> None:
    assert brushed(results(), axes=AXES, metric="score", ranges=ranges) == trials
    figure = parallel_coordinates(results(), axes=AXES, metric="score", ranges=ranges)
    assert list(trace_of(figure, "trials").customdata) == trials
    assert len(drawn_lines(figure, "left out")) == 4 - len(trials)


def test_box_is_the_ranges_of_what_it_lies_across() -> None:
    found = box_ranges(results(), axes=AXES, metric="score", box={"x": [1.2, -0.3], "y": [0.4, 1.05]})
    assert list(found) == ["lr", "kind"]
    assert found["lr"][0] == pytest.approx((-3.2, -1.9))
    assert brushed(results(), axes=AXES, metric="score", ranges=found) == ["t1", "t3"]
    assert box_ranges(results(), axes=AXES, metric="score", box={"x": [0.2, 0.8], "y": [0, 1]}) == {}


def test_place_of_a_level_stays_while_trials_finish() -> None:
    early = results().assign(state=["queued", "queued", "queued", "queued", "done", "queued"])
    ranges = {"kind": [(2.8, 3.2)]}
    assert brushed(early, axes=AXES, metric="score", ranges=ranges) == brushed(results(), axes=AXES, metric="score", ranges=ranges)


@pytest.mark.parametrize("box", [{}, {"x": [0, 1]}, {"x": [0], "y": [0, 1]}, {"x": "ab", "y": [0, 1]}, {"x": [0, nan], "y": [0, 1]}])
def test_box_that_is_none_is_refused(box: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="two ends"):
        box_ranges(results(), axes=AXES, metric="score", box=box)


def test_many_trials_are_drawn_evenly_and_all_of_them_brushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_figures, "MAX_LINES", 10)
    frame = pd.DataFrame({"trial": [f"t{at}" for at in range(40)], "name": [f"n{at}" for at in range(40)], "score": range(40)})
    figure = parallel_coordinates(frame, axes=["name"], metric="score")
    assert list(trace_of(figure, "trials").customdata) == [f"t{at}" for at in range(0, 40, 4)]
    assert "10 of 40 finished trials are drawn" in figure.layout.title.subtitle.text
    assert [text.strip() for text in trace_of(figure, "ticks").text][:10] == [f"n{at}" for at in range(0, 40, 4)]
    assert len(brushed(frame, axes=["name"], metric="score", ranges={"score": [(0, 19)]})) == 20


@pytest.mark.parametrize("dark", [False, True])
def test_simulated_says_so_and_nothing_finished_is_empty(dark: bool) -> None:
    figure = parallel_coordinates(results().assign(state="queued"), axes=AXES, metric="score", simulated=True, dark=dark)
    assert figure.layout.title.text.startswith("simulated: ")
    assert drawn_lines(figure) == []


def test_text_from_data_is_escaped() -> None:
    frame = results().rename(columns={"kind": HOSTILE}).assign(trial=HOSTILE)
    frame[HOSTILE] = HOSTILE
    text = str(parallel_coordinates(frame, axes=[HOSTILE], metric="score").to_plotly_json())
    assert HOSTILE not in text
    assert ESCAPED in text
