"""The page of parallel coordinates: what is brushed is in the table and in the address."""

import re
from typing import Any

import pytest
from dash import Dash
from flask.testing import FlaskClient

from ablate.errors import InputError
from dashboards.pages import parallel
from dashboards.pages.axis import Measured, measure
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id
from tests.dashboards.test_security import call


@pytest.fixture
def mix(reader: Reader) -> Measured:
    return measure(reader, "mix")


def test_brush_is_read_from_the_address(reader: Reader) -> None:
    query = {"metric": ["loss"], "brush": ["mix:-0.2:0.5", "nothing:0:1", "mix:0", "mix:nan:1", "loss:2:3"]}
    page = parallel.layout(reader, names=["mix"], query=query)
    assert by_id(page, "parallel-metric").value == "loss"
    assert by_id(page, "parallel-brush").data == ["mix:-0.2:0.5", "loss:2:3"]


def test_trials_of_a_brush_are_counted_and_listed(app: Dash, client: FlaskClient) -> None:
    asked = {"parallel-metric.value": "score/4", "parallel-brush.data": ["mix:-0.2:0.5"], "parallel-name.data": "mix"}
    answer = call(client, app, "parallel-count.children", asked).get_json()["response"]
    assert answer["parallel-count"]["children"] == "6 of 23 trials"
    columns, rows = (answer["parallel-trials-made"]["data"][key] for key in ("columns", "rows"))
    field = next(column["field"] for column in columns if column.get("headerName") == "mix")
    assert {row[field] for row in rows} == {"45:45:10"}
    assert [row["place"] for row in rows] == sorted(row["place"] for row in rows)


def test_new_box_takes_the_place_of_the_old_on_its_dimension(mix: Measured) -> None:
    brush = parallel.brush_with(mix, metric="score/4", brush=["mix:2:3", "loss:1:2"], box={"x": [-0.2, 0.3], "y": [0, 0.5]})
    assert brush == ["mix:0:1.5", "loss:1:2"]
    _, kept = parallel.kept_trials(mix, metric="score/4", ranges=parallel.ranges_of(mix, brush=brush))
    assert len(kept) == 12  # loss is not drawn, so its range says nothing


def test_typed_range_keeps_what_a_box_over_it_keeps(mix: Measured) -> None:
    typed = parallel.typed(mix, metric="score/4", brush=["loss:1:2"], column="mix", ends=("45:45:10", "45:45:10"))
    assert typed == ["loss:1:2", "mix:-0.25:0.25"]
    assert parallel.fields_of(mix, metric="score/4", column="mix", brush=typed)[1:] == ("45:45:10", "45:45:10")
    assert parallel.fields_of(mix, metric="score/4", column="connector", brush=typed)[1:] == ("", "")
    assert len(parallel.kept_trials(mix, metric="score/4", ranges=parallel.ranges_of(mix, brush=typed))[1]) == 6


def test_typed_ends_of_numbers_are_in_the_range(reader: Reader) -> None:
    rates = measure(reader, "rates")
    typed = parallel.typed(rates, metric="loss", brush=[], column="num_params", ends=("1e8", "3e7"))
    _, kept = parallel.kept_trials(rates, metric="loss", ranges=parallel.ranges_of(rates, brush=typed))
    assert set(parallel.rows_of(rates, trials=kept)["num_params"]) == {3e7, 1e8}
    assert parallel.fields_of(rates, metric="loss", column="num_params", brush=typed)[1:] == ("3e+07", "1e+08")
    lowest = parallel.typed(rates, metric="loss", brush=[], column=parallel.METRIC, ends=("", 3))
    _, kept = parallel.kept_trials(rates, metric="loss", ranges=parallel.ranges_of(rates, brush=lowest))
    assert sorted(parallel.rows_of(rates, trials=kept)["loss"]) == sorted(loss for loss in rates.results["loss"] if loss <= 3)


@pytest.mark.parametrize(
    ("study", "column", "low", "said"),
    [
        ("mix", "mix", "90", "no level '90' of mix (there: "),
        ("mix", "nothing", "", "no dimension 'nothing' is drawn (there: mix, connector, "),
        ("mix", {}, "", "no dimension"),
        ("rates", "num_params", "0", "is no number above 0"),
        ("rates", "num_params", "x", "is no number above 0"),
        ("rates", "=metric", "nan", "'nan' is no number"),
    ],
)
def test_typed_range_that_is_none_says_what_there_is(reader: Reader, study: str, column: Any, low: str, said: str) -> None:
    measured = measure(reader, study)
    with pytest.raises(InputError, match=re.escape(said)):
        parallel.typed(measured, metric="loss", brush=[], column=column, ends=(low, None))


@pytest.mark.parametrize("brush", [None, "mix:0:1", [3], [["mix", 0, 1]], ["mix"], ["mix:a:b"], ["nothing:0:1"], ["mix:0:inf"]])
def test_brush_that_is_none_is_refused(mix: Measured, brush: Any) -> None:
    with pytest.raises(InputError):
        parallel.ranges_of(mix, brush=brush)


@pytest.mark.parametrize("metric", [None, ["loss"], "nothing", {}])
def test_metric_that_is_none_is_refused(mix: Measured, metric: Any) -> None:
    with pytest.raises(InputError, match="there: score/4"):
        parallel.known_metric(mix, metric=metric)


def test_nothing_finished_says_so(reader: Reader, mix: Measured) -> None:
    empty = mix._replace(results=mix.results.assign(state="queued"))
    figure = parallel.lines(empty, metric="score/4", ranges={}, goal="max", dark=False)
    assert "no finished trial has reported score/4 yet" in figure.layout.annotations[0].text
    assert parallel.kept_trials(empty, metric="score/4", ranges={}) == ([], [])
