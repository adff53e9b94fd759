from math import sqrt
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from ablate import factor_figures
from ablate.analysis.factors import FactorEffects, factor_effects
from ablate.analysis.importance import FactorImportance, Importance
from tests.analysis.test_factors import fraction, grid
from tests.test_figures import ESCAPED, HOSTILE, named

CELLS = {(0, 0): [1.0, 3.0], (0, 1): [3.0, 5.0], (1, 0): [5.0, 7.0], (1, 1): [10.0, 14.0]}
"""Sums of squares 72, 32 and 8, and 1.5 of noise: computed by hand in tests/analysis/test_factors.py."""


def two_by_two(*, a: str = "a", b: str = "b") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {a: at[0], b: f"b{at[1]}", "arm": str(at), "seed": seed, "state": "done", "score": value}
            for at, values in CELLS.items()
            for seed, value in enumerate(values)
        ]
    )


def effects(**names: str) -> FactorEffects:
    frame = two_by_two(**names)
    return factor_effects(frame, factors=list(frame.columns[:2]), metric="score")


def forest(*, factor: str = "a") -> Importance:
    return Importance("score", (FactorImportance(factor, 0.7, 0.6, 0.75), FactorImportance("b", 0.3, 0.25, 0.4)), 5, 8, "")


def test_interaction_has_a_line_a_level_with_intervals() -> None:
    figure = factor_figures.interaction(two_by_two(), axis_a="a", axis_b="b", metric="score", unit="points")
    assert [trace.name for trace in figure.data] == ["b b0", "b b1"]
    assert {trace.mode for trace in figure.data} == {"lines+markers"}
    assert [(list(trace.x), list(trace.y)) for trace in figure.data] == [([0, 1], [2, 6]), ([0, 1], [4, 12])]
    half = stats.t.ppf(0.975, 1) * sqrt(2) / sqrt(2)
    assert list(figure.data[0].error_y.array) == pytest.approx([half, half])
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert figure.layout.yaxis.title.text == "score (points)"


def test_interaction_of_labels_is_on_a_category_axis_and_says_what_it_is_a_mean_over() -> None:
    frame = pd.concat([two_by_two().assign(c=c) for c in (0, 1)]).assign(arm=lambda rows: rows["arm"] + rows["c"].astype(str))
    figure = factor_figures.interaction(frame, axis_a="b", axis_b="a", metric="score", others=["c"])
    assert figure.layout.xaxis.type == "category"
    assert list(figure.data[0].x) == ["b0", "b1"]
    assert {trace.mode for trace in figure.data} == {"markers"}  # a line would say that labels have an order
    assert len({trace.offsetgroup for trace in figure.data}) == len(figure.data)
    assert figure.layout.title.subtitle.text == "Mean over c."


def test_interaction_matrix_has_shares_on_and_below_the_diagonal() -> None:
    figure = factor_figures.interaction_matrix(effects())
    heat = figure.data[0]
    assert list(heat.x) == ["a", "b"]
    assert heat.z[0][0] == pytest.approx(72 / 113.5)
    assert heat.z[0][1] is None
    assert [heat.z[1][0], heat.z[1][1]] == pytest.approx([8 / 113.5, 32 / 113.5])
    assert heat.text[1][0] == "7 %"
    assert "a × b" in heat.customdata[1][0]
    assert "p (Holm)" in heat.customdata[1][0]


def test_interaction_matrix_aliased_terms_stand_in_each_of_their_cells() -> None:
    frame = fraction(4, factors="abcd")
    figure = factor_figures.interaction_matrix(factor_effects(frame, factors=list("abcd"), metric="score"))
    heat = figure.data[0]
    place = {name: index for index, name in enumerate(heat.x)}

    def cell(one: str, other: str) -> Any:
        row, column = sorted((place[one], place[other]), reverse=True)
        return heat.customdata[row][column]

    assert cell("a", "b") == cell("c", "d")
    assert "a × b = c × d" in cell("a", "b")
    assert "Cannot be told apart here" in figure.layout.title.subtitle.text


def test_interaction_matrix_without_noise_has_no_numbers_and_says_why() -> None:
    frame = two_by_two().query("seed == 0")
    heat = factor_figures.interaction_matrix(factor_effects(frame, factors=["a", "b"], metric="score")).data[0]
    assert heat.z[0][0] is None
    assert heat.text[0][0] == "–"
    assert "no noise" in heat.customdata[0][0]


def test_importance_bars_have_designed_squares_with_intervals_and_fanova_beside() -> None:
    found = effects()
    figure = factor_figures.importance_bars(found, forest=forest())
    designed, fanova = named(figure, "sum of squares (designed)"), named(figure, "fANOVA")
    assert list(designed.y) == ["a", "b", "a × b"]
    assert list(designed.x) == pytest.approx([72 / 113.5, 32 / 113.5, 8 / 113.5])
    low, high = found.main[0].share_ci or (0.0, 0.0)
    assert (designed.error_x.arrayminus[0], designed.error_x.array[0]) == pytest.approx((designed.x[0] - low, high - designed.x[0]))
    assert list(fanova.x) == [0.7, 0.3]
    assert list(fanova.error_x.array) == pytest.approx([0.05, 0.1])
    assert list(fanova.error_x.arrayminus) == pytest.approx([0.1, 0.05])
    chance = named(figure, "a term that does nothing, on average")
    assert list(chance.x) == pytest.approx([0.5 / 113.5] * 3)


def test_importance_bars_of_a_search_are_fanova_alone() -> None:
    figure = factor_figures.importance_bars(None, forest=forest())
    assert [trace.name for trace in figure.data] == ["fANOVA"]
    assert "designed" not in figure.layout.title.subtitle.text
    assert len(factor_figures.importance_bars(None).data) == 0


@pytest.mark.parametrize("dark", [False, True])
def test_factor_figures_simulated_say_so(dark: bool) -> None:
    drawn = [
        factor_figures.interaction(two_by_two(), axis_a="a", axis_b="b", metric="score", simulated=True, dark=dark),
        factor_figures.interaction_matrix(effects(), simulated=True, dark=dark),
        factor_figures.importance_bars(effects(), simulated=True, dark=dark),
    ]
    assert all(figure.layout.title.text.startswith("simulated: ") for figure in drawn)


def test_factor_figures_text_from_data_is_escaped() -> None:
    drawn = [
        factor_figures.interaction(two_by_two(a=HOSTILE), axis_a=HOSTILE, axis_b="b", metric="score"),
        factor_figures.interaction(two_by_two(b=HOSTILE), axis_a="a", axis_b=HOSTILE, metric="score"),
        factor_figures.interaction_matrix(effects(a=HOSTILE)),
        factor_figures.importance_bars(effects(a=HOSTILE), forest=forest(factor=HOSTILE)),
    ]
    for figure in drawn:
        text = str(figure.to_plotly_json())
        assert HOSTILE not in text
        assert ESCAPED in text


def test_interaction_matrix_of_many_factors_has_a_row_each() -> None:
    found = factor_effects(grid(2, 2, 2, 2, ab=3), factors=list("abcd"), metric="score")
    heat = factor_figures.interaction_matrix(found).data[0]
    assert sum(share is not None for row in heat.z for share in row) == 10
