"""What an update carries, and that the old answer with it is the new one."""

import copy
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import no_update
from hypothesis import given
from hypothesis import strategies as st

from dashboards.changes import KEPT, Sent, changes, row_changes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b"]),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.sampled_from("xyz"), parts, max_size=3),
    max_leaves=12,
)


def applied(value: Any, found: list[Any]) -> Any:
    """As `changed` in assets/browser.js does it."""
    top = [copy.deepcopy(value)]
    for what, path, *part in found:
        *way, last = [0, *path]
        place: Any = top
        for key in way:
            place = place[key]
        if what == "drop":
            del place[last]
        else:
            place[last] = part[0] if what == "set" else place[last] + part[0]
    return top[0]


@given(VALUES, VALUES)
def test_old_value_with_its_changes_is_the_new_one(old: Any, new: Any) -> None:
    made = applied(old, changes(old, new))
    assert made == new
    assert repr(made) == repr(new) or isinstance(new, dict)  # True is not 1


def test_longer_list_is_appended_to() -> None:
    old, new = {"data": [{"x": [1, 2]}, {"x": [1]}]}, {"data": [{"x": [1, 2, 3]}, {"x": [1]}, {"x": []}]}
    assert changes(old, new) == [["append", ["data", 0, "x"], [3]], ["append", ["data"], [{"x": []}]]]


def test_arrays_of_a_figure_are_sent_as_lists_that_can_be_appended_to() -> None:
    sent = Sent()

    def drawn(count: int) -> go.Figure:
        return go.Figure([go.Scatter(y=np.arange(count) / 2), go.Heatmap(z=np.ones((2, 2)))])

    first = sent.figure(drawn(3), have=None)
    assert [trace.get("y", trace.get("z")) for trace in first["value"]["data"]] == [[0.0, 0.5, 1.0], [[1.0, 1.0], [1.0, 1.0]]]
    assert sent.figure(drawn(4), have=first["id"])["changes"] == [["append", ["data", 0, "y"], [1.5]]]


def curve(*points: float) -> go.Figure:
    return go.Figure(go.Scatter(y=list(points)), layout={"template": None})


def test_viewer_gets_the_whole_figure_then_only_what_is_new() -> None:
    sent = Sent()
    first = sent.figure(curve(1.0, 2.0), have=None)
    assert first["value"]["data"][0]["y"] == [1.0, 2.0]
    second = sent.figure(curve(1.0, 2.0, 3.0), have=first["id"])
    assert (second["base"], second["changes"]) == (first["id"], [["append", ["data", 0, "y"], [3.0]]])
    assert sent.figure(curve(1.0, 2.0, 3.0), have=second["id"]) is no_update
    assert sent.figure(curve(1.0, 2.0, 3.0), have="nobody sent this").keys() == {"id", "value"}


def test_answer_that_is_too_old_is_followed_by_the_whole() -> None:
    sent = Sent()
    first = sent.figure(curve(0.0), have=None)
    for number in range(KEPT):
        sent.figure(curve(0.0, number), have=None)
    assert "value" in sent.figure(curve(0.0, 1.0), have=first["id"])


def test_rows_are_told_apart_by_their_key() -> None:
    old, new = [{"trial": "a", "x": 1}, {"trial": "b", "x": 1}], [{"trial": "b", "x": 2}, {"trial": "c", "x": 1}]
    assert row_changes(old, new, key="trial") == {"add": [new[1]], "update": [new[0]], "remove": [old[0]]}


def test_rows_of_other_columns_are_sent_whole() -> None:
    sent = Sent()
    first = sent.rows(["x"], [{"trial": "a", "x": 1}], key="trial", have=None)
    assert sent.rows(["x"], [{"trial": "a", "x": 2}], key="trial", have=first["id"])["update"] == [{"trial": "a", "x": 2}]
    assert sent.rows(["x", "y"], [{"trial": "a", "x": 2}], key="trial", have=first["id"])["rows"] == [{"trial": "a", "x": 2}]
