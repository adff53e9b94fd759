from math import nan
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from ablate import figures
from ablate.analysis.effects import level_effects
from ablate.errors import InputError
from ablate.metric_scales import MetricScale

HOSTILE = "<img src=x onerror=alert(1)>"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;"


def results(levels: tuple[Any, ...] = (16, 24, 32), *, axis: str = "image_size") -> pd.DataFrame:
    rows = [
        {"trial": f"{level}-{seed}", "arm": str(level), "seed": seed, "state": "done", axis: level, "score/0": at + seed, "score/8": at * 2}
        for at, level in enumerate(levels)
        for seed in range(3)
    ]
    return pd.DataFrame(rows).astype({"score/8": float})


def named(figure: go.Figure, name: str) -> Any:
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def test_score_by_level_draws_mean_interval_and_seeds() -> None:
    figure = figures.score_by_level(results(), axis="image_size", metrics=["score/0"], scales={"score/0": MetricScale(unit="points")})
    points, mean = figure.data
    assert list(mean.x) == [16.0, 24.0, 32.0]
    assert list(mean.y) == [1.0, 2.0, 3.0]
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert list(mean.error_y.array) == pytest.approx([half] * 3)
    seed = [0.0, 1.0, 2.0]
    assert list(points.y) == [*seed, None, *(value + 1 for value in seed), None, *(value + 2 for value in seed), None]  # a line a seed
    assert figure.layout.yaxis.title.text == "score/0 (points)"


def test_score_by_level_several_metrics_are_one_series_each() -> None:
    figure = figures.score_by_level(results(), axis="image_size", metrics=["score/0", "score/8"])
    assert [trace.name for trace in figure.data if trace.showlegend] == ["score/0", "score/8"]
    symbols = {trace.marker.symbol for trace in figure.data if trace.showlegend}
    assert len(symbols) == 2


@pytest.mark.parametrize(
    ("levels", "scale"),
    [((16, 24, 32), "linear"), ((1e-5, 1e-4, 1e-3), "log"), (("avg", "attention"), "category"), ((True, False), "category")],
)
def test_score_by_level_numbers_are_on_a_numeric_scale(levels: tuple[Any, ...], scale: str) -> None:
    assert figures.score_by_level(results(levels), axis="image_size", metrics=["score/0"]).layout.xaxis.type == scale


def test_score_by_level_joins_numbers_alone_by_lines() -> None:
    for levels, mode in (((16, 24), "lines+markers"), (("45:45:10", "90:0:10"), "markers")):
        figure = figures.score_by_level(results(levels), axis="image_size", metrics=["score/0", "score/8"])
        assert [trace.mode for trace in figure.data] == [mode] * 4
        assert (figure.layout.scattermode == "group") == (mode == "markers")
    half = float(stats.t.ppf(0.975, 2) / np.sqrt(3))  # of the grouped points, the means 1 and 2 of score/0 have it
    assert list(figure.layout.yaxis.range) == pytest.approx([1 - half - 0.06 * (1 + 2 * half), 2 + half + 0.06 * (1 + 2 * half)])


def test_score_by_level_draws_no_interval_beyond_what_the_metric_can_be() -> None:
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    bounded = {"score/0": MetricScale(unit="points", low=0.0, high=4.0)}
    figure = figures.score_by_level(results(), axis="image_size", metrics=["score/0"], scales=bounded)
    mean = figure.data[1]
    assert list(mean.error_y.array) == pytest.approx([half, 2.0, 1.0])
    assert list(mean.error_y.arrayminus) == pytest.approx([1.0, 2.0, half])
    assert all(said == f"n = 3, ±{half:.3g}" for said in mean.customdata)
    assert "are drawn up to 0 and 4, their bounds" in figure.layout.title.subtitle.text.replace("<br>", " ")
    free = figures.score_by_level(results(), axis="image_size", metrics=["score/0"])
    assert (free.data[1].error_y.arrayminus, free.layout.title.subtitle.text) == (None, None)


def test_score_by_level_one_seed_has_no_bar() -> None:
    figure = figures.score_by_level(results().query("seed == 0"), axis="image_size", metrics=["score/0"])
    assert figure.data[1].error_y.array is None
    assert all("no interval" in said for said in figure.data[1].customdata)


def test_score_by_level_failed_trial_does_not_shift_its_seed() -> None:
    rows = [
        {"arm": f"{kind}-{size}", "seed": seed, "state": "done", "kind": kind, "score": float(size)}
        for kind in "ab"
        for size in (16, 32)
        for seed in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    frame.loc[(frame["arm"] == "b-32") & (frame["seed"] == 1), "score"] = nan
    mean = figures.score_by_level(frame, axis="kind", metrics=["score"]).data[1]
    assert list(mean.y) == [24.0, 24.0]


def test_score_by_level_nothing_finished_is_an_empty_figure() -> None:
    figure = figures.score_by_level(results().assign(state="queued"), axis="image_size", metrics=["score/0"])
    assert len(figure.data) == 0


def test_score_by_level_unknown_metric_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean 'score/8'"):
        figures.score_by_level(results(), axis="image_size", metrics=["scores/8"])


def test_effects_forest_separates_effects_without_an_interval() -> None:
    frame = results()
    frame["score/8"] += frame["seed"] * frame["image_size"] * 0.01
    measured = level_effects(frame, axis="image_size", baseline=16, metric="score/8")
    single = level_effects(frame.query("seed == 0"), axis="image_size", baseline=16, metric="score/8")[:1]
    figure = figures.effects_forest([*measured, *single])
    kept, bare = named(figure, "95 % interval"), named(figure, "no interval")
    assert list(kept.y) == ["image_size: 24 against 16 (n = 3)", "image_size: 32 against 16 (n = 3)"]
    assert list(kept.error_x.array) == pytest.approx([effect.ci[1] - (effect.mean_diff or 0.0) for effect in measured if effect.ci])
    assert bare.error_x.array is None
    assert list(bare.y) == ["image_size: 24 against 16 (n = 1)"]
    assert figure.layout.yaxis.categoryarray[-1] == kept.y[0]  # the first effect on top


def test_effects_forest_equal_names_keep_their_own_rows() -> None:
    effects = level_effects(results(), axis="image_size", baseline=16, metric="score/0")
    assert len(set(figures.effects_forest([*effects, *effects]).layout.yaxis.categoryarray)) == 4


def curve_rows(*trials: list[float], arm: str = "base", metric: str = "loss") -> pd.DataFrame:
    rows = [(f"t{seed}", arm, seed, metric, step, value) for seed, values in enumerate(trials) for step, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["trial", "arm", "seed", "metric", "step", "value"])


def test_curves_mean_and_band_end_where_a_seed_ends() -> None:
    figure = figures.curves(curve_rows([3.0, 3.0, 3.0], [1.0, 2.0]), group_by="arm", metric="loss")
    mean, band = named(figure, "base"), named(figure, "base, band")
    assert (list(mean.x), list(mean.y)) == ([0, 1], [2.0, 2.5])
    assert (list(band.x), list(band.y)) == ([0, 1, 1, 0], [1.0, 2.0, 3.0, 3.0])
    assert [list(named(figure, trial).x) for trial in ("t0", "t1")] == [[0, 1, 2], [0, 1]]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["base"]


def test_curves_one_trial_has_no_band_and_many_have_no_thin_lines() -> None:
    assert [trace.name for trace in figures.curves(curve_rows([1.0, 2.0]), group_by="arm", metric="loss").data] == ["base"]
    many = figures.curves(curve_rows(*([float(seed), 2.0] for seed in range(6))), group_by="arm", metric="loss")
    assert [trace.name for trace in many.data] == ["base, band", "base"]


def test_curves_against_flops_are_per_step_of_each_trial() -> None:
    figure = figures.curves(
        curve_rows([3.0, 2.0], [1.0, 2.0]), group_by="arm", metric="loss", x="compute", x_unit="FLOPs", per_step={"t0": 10.0, "t1": 30.0}
    )
    assert list(named(figure, "t1").x) == [0, 30]
    assert list(named(figure, "base").x) == [0, 20]
    assert figure.layout.xaxis.title.text == "compute (FLOPs)"


def test_curves_thinned_lines_say_so() -> None:
    long = figures.curves(curve_rows([float(step) for step in range(2000)]), group_by="arm", metric="loss")
    assert len(long.data[0].x) <= 500
    assert "least and most of each stretch" in long.layout.title.subtitle.text.replace("<br>", " ")
    assert figures.curves(curve_rows([1.0, 2.0]), group_by="arm", metric="loss").layout.title.subtitle.text is None


def test_curves_caption_says_which_band() -> None:
    assert "from the least to the most of the seeds" in figures.curves_caption()
    assert "Student-t interval of the mean" in figures.curves_caption(band="interval")
    assert "Band" not in figures.curves_caption(band="none")


def test_completeness_shows_states_and_leaves_unplanned_cells_empty() -> None:
    frame = pd.DataFrame({"arm": ["a", "a", "b"], "seed": [0, 1, 0], "state": ["done", "failed", "lost"]})
    figure = figures.completeness(frame)
    assert [list(row) for row in figure.data[0].customdata] == [["done", "failed"], ["lost", ""]]
    assert figure.data[0].z[1][1] is None
    assert [trace.name for trace in figure.data[1:]] == ["done (1)", "failed (1)", "lost (1)"]
    assert [list(row) for row in figure.data[0].text] == [["done", "failed"], ["<span style='color:#ffffff'>lost</span>", ""]]


def test_completeness_of_many_seeds_has_letters_that_its_legend_explains() -> None:
    figure = figures.completeness(pd.DataFrame({"arm": "a", "seed": range(9), "state": "done"}))
    assert set(figure.data[0].text[0]) == {"d"}
    assert figure.data[1].name == "d: done (9)"


def test_completeness_cuts_long_names_in_the_middle_and_says_them_whole_on_hover() -> None:
    long = [f"decoder.width=24,train.learning_rate={rate}" for rate in ("0.0005", "0.001")]
    figure = figures.completeness(pd.DataFrame({"arm": [*long, "base"], "seed": 0, "state": "done"}))
    assert figure.layout.yaxis.ticktext == ("decoder.width=24…ing_rate=0.0005", "decoder.width=24…ning_rate=0.001", "base")
    assert [name.replace("<br>", "") for name in figure.data[0].y] == [*long, "base"]
    assert figure.layout.yaxis.tickvals == figure.data[0].y


@pytest.mark.parametrize("dark", [False, True])
def test_figures_simulated_results_say_so_in_the_title(dark: bool) -> None:
    frame = results()
    curve = pd.DataFrame([("t", "a", 0, "loss", 0, 1.0)], columns=["trial", "arm", "seed", "metric", "step", "value"])
    drawn = [
        figures.score_by_level(frame, axis="image_size", metrics=["score/0"], simulated=True, dark=dark),
        figures.effects_forest([], simulated=True, dark=dark),
        figures.curves(curve, group_by="arm", metric="loss", simulated=True, dark=dark),
        figures.completeness(frame, simulated=True, dark=dark),
    ]
    assert all("simulated" in figure.layout.title.text for figure in drawn)


def test_figures_text_from_data_is_escaped() -> None:
    frame = results((HOSTILE, "b"), axis=HOSTILE).rename(columns={"score/0": HOSTILE + "0"})
    frame["arm"] = HOSTILE
    curve = pd.DataFrame(
        [(HOSTILE, HOSTILE, seed, HOSTILE, 0, 1.0) for seed in (0, 1)], columns=["trial", "arm", "seed", "metric", "step", "value"]
    )
    effects = level_effects(frame, axis=HOSTILE, baseline="b", metric=HOSTILE + "0")
    drawn = [
        figures.score_by_level(frame, axis=HOSTILE, metrics=[HOSTILE + "0"], scales={HOSTILE + "0": MetricScale(unit=HOSTILE)}),
        figures.effects_forest(effects, unit=HOSTILE),
        figures.curves(curve, group_by="arm", metric=HOSTILE, unit=HOSTILE),
        figures.completeness(frame),
    ]
    for figure in drawn:
        assert HOSTILE not in str(figure.to_plotly_json())
        assert ESCAPED in str(figure.to_plotly_json())
