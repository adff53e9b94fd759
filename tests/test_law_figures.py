from math import exp, nan

import numpy as np
import pandas as pd
import pytest

from ablate import law_figures
from ablate.analysis.law_fit import LawFit
from ablate.analysis.lr_law import fit_points
from ablate.analysis.optima import find_optima
from ablate.analysis.published import DEEPSEEK, MM1, PORIAN, PUBLISHED, STEP_LAW
from ablate.errors import InputError


def law_fit() -> LawFit:
    rates = [MM1.lr(size) * shift for size, shift in zip([9e6, 85e6, 302e6, 1.2e9], [1.1, 0.9, 1.05, 0.95], strict=True)]
    fit = fit_points(pd.DataFrame({"n_params": [9e6, 85e6, 302e6, 1.2e9], "eta": rates})).fit
    assert fit is not None
    return fit


def test_loss_against_rate_marks_optima_and_edges() -> None:
    rows = [
        (size, rate, 0, 2 + 0.01 * np.log(rate / best) ** 2)
        for size, best in ((9e6, 4e-4), (1.2e9, 1e-7))
        for rate in (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
    ]
    runs = pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss"])
    figure = law_figures.loss_against_rate(runs, optima=find_optima(runs, metric="loss", goal="min"), metric="loss")
    marks = {trace.marker.symbol: trace.x[0] for trace in figure.data if len(trace.x) == 1 and trace.marker.symbol != "circle-open"}
    assert marks == pytest.approx({"star": 4e-4, "triangle-left-open": 1e-4})
    assert [trace.name for trace in figure.data if trace.showlegend] == ["9M", "1.2B"]
    assert figure.layout.xaxis.type == "log"


def test_law_draws_fit_band_published_line_and_target() -> None:
    fit = law_fit()
    figure = law_figures.law(fit, target=3e10)
    names = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert "95 % prediction interval" in names
    assert "MM1: slope −0.421, fitted 9M to 1.2B" in names
    (inside,) = (trace for trace in figure.data if trace.name == "MM1: slope −0.421, fitted 9M to 1.2B")
    below, above = (trace for trace in figure.data if trace.name == "MM1: slope −0.421, extrapolated")
    assert (inside.line.dash, min(inside.x), max(inside.x)) == ("solid", 9e6, 1.2e9)
    assert (below.line.dash, max(below.x)) == (above.line.dash, min(above.x) / (1.2e9 / 9e6)) == ("dash", 9e6)
    assert names.count("MM1: slope −0.421, extrapolated") == 1
    assert "2403.09611" in inside.hovertemplate
    assert {trace.mode for trace in (inside, below, above)} == {"lines+text"}
    target = figure.data[-1]
    low, high = fit.interval(3e10) or (nan, nan)
    assert target.y[0] + target.error_y.array[0] == pytest.approx(high)
    assert target.y[0] - target.error_y.arrayminus[0] == pytest.approx(low)


def test_law_exact_line_has_no_band() -> None:
    sizes = [9e6, 85e6, 1.2e9]
    fit = fit_points(pd.DataFrame({"n_params": sizes, "eta": [MM1.lr(size) for size in sizes]})).fit
    assert fit is not None
    assert "95 % prediction interval" not in [trace.name for trace in law_figures.law(fit, published=()).data]


def test_law_published_without_a_known_range_is_dashed_throughout() -> None:
    (line,) = (trace for trace in law_figures.law(law_fit(), published=[PORIAN]).data if "PORIAN" in str(trace.name))
    assert line.name == "PORIAN: slope −0.360, range of the fit not known"
    assert line.line.dash == "dash"


def test_law_published_that_reads_tokens_needs_them() -> None:
    with pytest.raises(InputError, match="step_law needs --tokens"):
        law_figures.law(law_fit(), published=[STEP_LAW])


def test_law_published_laws_are_each_a_line_of_their_own_where_they_have_a_rate() -> None:
    figure = law_figures.law(law_fit(), published=PUBLISHED.values(), at={"tokens": 1e11}, target=3e10)
    lines = [trace for trace in figure.data if str(trace.name).split(":")[0].split(" ")[0].split(",")[0].lower() in PUBLISHED]
    assert len({trace.name.split(":")[0].split(" ")[0].split(",")[0] for trace in lines}) == len(PUBLISHED)
    ends = [text for trace in lines for text in trace.text if text]
    assert sorted(ends) == sorted(name.upper() for name in PUBLISHED)  # each line is told by its name, and not by its colour alone
    assert {trace.mode for trace in lines} == {"lines+text"}  # markers are measured points
    (step_law,) = (trace for trace in lines if trace.name.startswith("STEP_LAW at D = 100B: slope −0.713, fitted"))
    assert (step_law.x[0], step_law.x[-1]) == (215e6, 1.07e9)
    assert step_law.y[0] == pytest.approx(STEP_LAW.lr(215e6, tokens=1e11))
    solid = next(trace for trace in lines if "DEEPSEEK" in trace.name and trace.line.dash == "solid")
    assert 6e11 * solid.x[-1] == pytest.approx(2e19)  # C is 6 N D
    assert solid.y[-1] == pytest.approx(DEEPSEEK.lr(compute=2e19))
    (kaplan,) = (trace for trace in lines if "KAPLAN" in trace.name)
    assert [size for size, rate in zip(kaplan.x, kaplan.y, strict=True) if rate is None] == [
        size for size in kaplan.x if size >= exp(0.003239 / 0.0001395)
    ]


def test_law_out_of_range_in_tokens_is_nowhere_fitted() -> None:
    lines = law_figures.law(law_fit(), published=[STEP_LAW], at={"tokens": 1e12}).data
    assert [trace.line.dash for trace in lines if "STEP_LAW" in str(trace.name)] == ["dash"]


def test_loss_against_rate_draws_the_curve_that_placed_the_optimum() -> None:
    rates, best = [1e-4 * 2**step for step in range(5)], 4e-4
    runs = pd.DataFrame([(9e6, rate, 0, 2 + 0.01 * np.log(rate / best) ** 2) for rate in rates], columns=["n_params", "lr", "seed", "loss"])
    (optimum,) = find_optima(runs, metric="loss", goal="min")
    figure = law_figures.loss_against_rate(runs, optima=[optimum], metric="loss")
    (curve,) = (trace for trace in figure.data if trace.showlegend)
    assert (curve.x[0], curve.x[-1]) == pytest.approx((2e-4, 8e-4))
    assert list(curve.y) == pytest.approx([2 + 0.01 * np.log(rate / best) ** 2 for rate in curve.x])
    (rings,) = (trace for trace in figure.data if trace.marker.symbol == "circle-open")
    assert tuple(rings.x) == optimum.near_optimal
    assert "Ring: a rate that cannot be told from the best" in figure.layout.title.subtitle.text.replace("<br>", " ")


@pytest.mark.parametrize("dark", [False, True])
def test_law_figures_simulated_results_say_so_in_the_title(dark: bool) -> None:
    runs = pd.DataFrame({"n_params": 1e8, "lr": [1e-4, 2e-4], "seed": 0, "loss": [1.0, 2.0]})
    drawn = [
        law_figures.loss_against_rate(runs, optima=(), metric="loss", simulated=True, dark=dark),
        law_figures.law(law_fit(), simulated=True, dark=dark),
    ]
    assert all("simulated" in figure.layout.title.text for figure in drawn)


def test_law_dark_differs_from_light_in_colours_only() -> None:
    light, dark = (law_figures.law(law_fit(), target=3e10, dark=dark) for dark in (False, True))
    assert light.layout.template.layout.font.color != dark.layout.template.layout.font.color
    assert [list(trace.x) for trace in light.data] == [list(trace.x) for trace in dark.data]
