from math import log10, nan
from typing import Any

import pandas as pd
import pytest

from ablate.errors import InputError
from ablate.parallel_figures import brushed, parallel_coordinates
from tests.test_figures import ESCAPED, HOSTILE

AXES = ["lr", "kind", "size"]


def results() -> pd.DataFrame:
    rows = [
        ("t0", 1e-4, "linear", 16, 1.0, "done"),
        ("t1", 1e-3, "pool", 16, 2.0, "cached"),
        ("t2", 1e-2, "linear", 32, 3.0, "done"),
        ("t3", 1e-2, None, 32, 4.0, "done"),
        ("t4", 1e-2, "pool", 64, 5.0, "failed"),
        ("t5", 1e-2, "pool", 64, nan, "done"),
    ]
    return pd.DataFrame(rows, columns=["trial", *AXES, "score", "state"])


def keep(**ranges: Any) -> list[str]:
    """`d0=...` is what plotly reports of `dimensions[0].constraintrange`."""
    named = {f"dimensions[{name[1:]}].constraintrange": value for name, value in ranges.items()}
    return brushed(results(), axes=AXES, metric="score", ranges=named)


def test_parallel_coordinates_has_finished_trials_at_their_positions() -> None:
    (trace,) = parallel_coordinates(results(), axes=AXES, metric="score", unit="points").data
    rate, kind, size, score = trace.dimensions
    assert list(trace.customdata) == ["t0", "t1", "t2", "t3"]
    assert list(rate.values) == pytest.approx([-4, -3, -2, -2])
    assert list(rate.ticktext) == ["0.0001", "0.001", "0.01"]
    assert (list(kind.values), list(kind.ticktext)) == ([0, 1, 0, 2], ["linear", "pool", "–"])
    assert list(size.values) == [16, 16, 32, 32]
    assert (score.label, list(score.values)) == ("score (points)", [1, 2, 3, 4])
    assert list(trace.line.color) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("ranges", "trials"),
    [
        ({}, ["t0", "t1", "t2", "t3"]),
        ({"d0": [-2.5, -1.5]}, ["t2", "t3"]),
        ({"d0": [[-2.5, -1.5]]}, ["t2", "t3"]),
        ({"d0": [[[-4.2, -3.8], [-2.2, -1.8]]]}, ["t0", "t2", "t3"]),
        ({"d1": [[-0.2, 0.2]], "d3": [2.5, 9.0]}, ["t2"]),
        ({"d1": [1.8, 2.2]}, ["t3"]),
        ({"d0": None, "d2": [None]}, ["t0", "t1", "t2", "t3"]),
        ({"d0": [log10(3e-3), -2.1]}, []),
    ],
)
def test_brushed_ranges_are_trials_again(ranges: dict[str, Any], trials: list[str]) -> None:
    assert keep(**ranges) == trials


def test_brushed_other_restyles_are_passed_over() -> None:
    assert len(brushed(results(), axes=AXES, metric="score", ranges={"dimensions": [[]]})) == 4


@pytest.mark.parametrize("ranges", [{"d4": [0, 1]}, {"dx": [0, 1]}, {"d0": "all"}, {"d0": [0]}, {"d0": [0, nan]}, {"d0": ["a", "b"]}])
def test_brushed_what_is_no_range_is_refused(ranges: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"dimension|range"):
        keep(**ranges)


def test_parallel_coordinates_many_labels_write_some_of_them() -> None:
    frame = pd.DataFrame({"trial": [f"t{at}" for at in range(40)], "name": [f"n{at}" for at in range(40)], "score": range(40)})
    (trace,) = parallel_coordinates(frame, axes=["name"], metric="score").data
    assert list(trace.dimensions[0].ticktext) == [f"n{at}" for at in range(0, 40, 4)]


@pytest.mark.parametrize("dark", [False, True])
def test_parallel_coordinates_simulated_says_so_and_nothing_finished_is_empty(dark: bool) -> None:
    figure = parallel_coordinates(results().assign(state="queued"), axes=AXES, metric="score", simulated=True, dark=dark)
    assert figure.layout.title.text.startswith("simulated: ")
    assert len(figure.data[0].dimensions[0]["values"]) == 0


def test_parallel_coordinates_text_from_data_is_escaped() -> None:
    frame = results().rename(columns={"kind": HOSTILE}).assign(trial=HOSTILE)
    frame[HOSTILE] = HOSTILE
    text = str(parallel_coordinates(frame, axes=[HOSTILE], metric="score").to_plotly_json())
    assert HOSTILE not in text
    assert ESCAPED in text
