from math import nan
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from ablate.analysis.mixture_laws import MixtureLaw
from ablate.analysis.mixture_optimum import BestMixture
from ablate.errors import InputError
from ablate.mix_figures import mixture_profiles, mixture_surface, ternary
from tests.analysis.test_mixture_laws import SOURCES, exponential, fitted, hollow, joint, runs
from tests.test_figures import ESCAPED, HOSTILE, named

BEST = BestMixture(
    {"web": 0.5, "pairs": 0.25, "text": 0.25}, 2.0, (), {"web": (0.4, 0.6), "pairs": (0.2, 0.3), "text": None}, (1.9, 2.1), 200
)


def results() -> pd.DataFrame:
    rows = [(mix, seed, "done", value + seed) for mix, value in (("50:25:25", 1.0), ("1:1:0", 3.0), ("100:0:0", 2.0)) for seed in (0, 1)]
    return pd.DataFrame(rows, columns=["data.mix", "seed", "state", "score"]).assign(arm=lambda frame: frame["data.mix"])


@pytest.fixture(scope="module")
def law() -> MixtureLaw:
    return fitted(runs(exponential), "exponential")


def test_ternary_has_a_point_a_mix_at_its_shares_and_stars_the_best() -> None:
    (points,) = ternary(results(), axis="data.mix", sources=SOURCES, metric="score").data
    assert list(points.a) == [0.5, 0.5, 1.0]
    assert list(points.b) == [0.25, 0.5, 0.0]
    assert list(points.c) == [0.25, 0.0, 0.0]
    assert list(points.marker.color) == [1.5, 3.5, 2.5]
    assert list(points.marker.symbol) == ["circle", "star", "circle"]
    assert points.customdata[0][1].startswith("50:25:25<br>n = 2, ±")
    (lowest,) = ternary(results(), axis="data.mix", sources=SOURCES, metric="score", goal="min").data
    assert list(lowest.marker.symbol) == ["star", "circle", "circle"]


def test_ternary_has_no_tick_at_its_corners() -> None:
    sides = ternary(results(), axis="data.mix", sources=SOURCES, metric="score").layout.ternary
    assert {side.tickvals for side in (sides.aaxis, sides.baxis, sides.caxis)} == {(0.2, 0.4, 0.6, 0.8)}


def test_ternary_of_other_than_three_sources_is_refused() -> None:
    with pytest.raises(InputError, match="three sources, found 2: web, text"):
        ternary(results(), axis="data.mix", sources=["web", "text"], metric="score")


def test_ternary_nothing_finished_is_an_empty_figure() -> None:
    assert len(ternary(results().assign(score=nan), axis="data.mix", sources=SOURCES, metric="score").data) == 0


def test_mixture_surface_is_the_law_at_every_mix(law: MixtureLaw) -> None:
    surface = named(mixture_surface(law, BEST), "fitted law")
    assert len(surface.a) == 41 * 42 / 2
    assert [sum(shares) for shares in zip(surface.a, surface.b, surface.c, strict=True)] == pytest.approx([1.0] * 861)
    at = [exponential(shares) for shares in zip(surface.a, surface.b, surface.c, strict=True)]
    assert list(surface.marker.color) == pytest.approx(at, rel=1e-4)


def test_mixture_surface_marks_the_best_mix_with_intervals_and_the_mixes_tried(law: MixtureLaw) -> None:
    frame = runs(exponential)
    figure = mixture_surface(law, BEST, runs=pd.concat([frame, frame]))
    star = named(figure, "best mix of the law")
    assert (star.a[0], star.b[0], star.c[0]) == (0.5, 0.25, 0.25)
    web = named(figure, "95 % interval of web")
    assert (list(web.a), list(web.b)) == ([0.4, 0.6], pytest.approx([0.3, 0.2]))
    assert not [trace for trace in figure.data if trace.name == "95 % interval of text"]
    tried = named(figure, "mixes tried")
    assert len(tried.a) == len(frame)
    assert tried.customdata[0][1] == "measured, mean of 2"
    said = figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "web 50 % [40, 60]; pairs 25 % [20.0, 30.0]; text 25 %" in said


def test_mixture_surface_extrapolated_best_is_an_open_star_and_says_so() -> None:
    law = fitted(runs(exponential).query("web < 0.6"), "exponential")
    assert law.outside
    figure = mixture_surface(law, law.best())
    star = named(figure, "best mix of the law")
    assert (star.marker.symbol, star.cliponaxis) == ("star-open", False)
    assert "is at or beyond the edge of the shares tried" in figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "without intervals" in figure.layout.title.subtitle.text


@pytest.mark.slow
def test_mixture_surface_of_a_law_with_sizes_is_drawn_at_one() -> None:
    law, at = fitted(runs(joint, 60), "joint"), {"n_params": 1e9, "tokens": 1e10}
    best = law.best(**at)
    surface = named(mixture_surface(law, best, at=at), "fitted law")
    shares = {source: 1.0 if source == "web" else 0.0 for source in SOURCES}
    assert surface.marker.color[-1] == pytest.approx(law.value(shares, n_params=1e9, tokens=1e10))
    with pytest.raises(InputError, match="say the value of each"):
        mixture_surface(law, best)


def test_mixture_profiles_go_along_each_source_of_any_number() -> None:
    frame = pd.DataFrame({"a": [0.0, 0.25, 0.5, 0.75, 1.0]}).assign(b=lambda rows: 1 - rows["a"], loss=lambda rows: 2 - rows["a"])
    law = fitted(frame, "linear", proportions=["a", "b"])
    figure = mixture_profiles(law, BestMixture({"a": 0.75, "b": 0.25}, 1.25, (), {"a": (0.5, 0.9), "b": (0.1, 0.5)}))
    line = named(figure, "a")
    assert (line.x[0], line.x[-1]) == (0, 1)
    assert (line.y[0], line.y[-1]) == pytest.approx((2.0, 1.0))
    best = named(figure, "best share of a")
    assert (best.x[0], best.y[0]) == (0.75, pytest.approx(1.25))
    assert list(named(figure, "95 % interval of a").x) == [0.5, 0.9]
    assert len({trace.line.dash for trace in figure.data if trace.mode == "lines" and trace.showlegend}) == 2


def drawn(law: MixtureLaw, best: BestMixture, frame: pd.DataFrame, sources: list[str], **style: Any) -> list[go.Figure]:
    return [
        ternary(frame, axis="data.mix", sources=sources, metric="score", **style),
        mixture_surface(law, best, **style),
        mixture_profiles(law, best, **style),
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_mix_figures_simulated_say_so(law: MixtureLaw, dark: bool) -> None:
    assert all(
        figure.layout.title.text.startswith("simulated: ") for figure in drawn(law, BEST, results(), SOURCES, simulated=True, dark=dark)
    )


def test_mix_figures_text_from_data_is_escaped() -> None:
    sources = [HOSTILE, "pairs", "text"]
    law = fitted(runs(hollow, 30).rename(columns={"web": HOSTILE}), "linear", proportions=sources)
    best = BestMixture({HOSTILE: 0.5, "pairs": 0.25, "text": 0.25}, 2.0, (HOSTILE,), {HOSTILE: (0.4, 0.6)})
    for figure in drawn(law, best, results(), sources):
        text = str(figure.to_plotly_json())
        assert HOSTILE not in text
        assert ESCAPED in text
