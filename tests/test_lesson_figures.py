from itertools import product
from math import nan, sqrt
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from ablate import lesson_figures
from ablate.lesson_match import LessonPlot, matching_lessons
from ablate.metric_scales import MetricScale
from tests.test_figures import ESCAPED, HOSTILE, named

SHOTS = ("few_shot/0", "few_shot/4", "few_shot/8")
HALF = stats.t.ppf(0.975, 2) / sqrt(3)


def results(axes: dict[str, list[Any]], *, metrics: tuple[str, ...] = SHOTS) -> pd.DataFrame:
    """Scores are 10 x the number of the arm + 100 x that of the metric + the seed."""
    rows = [
        {"trial": f"{arm}-{seed}", "arm": str(arm), "seed": seed, "state": "done"}
        | dict(zip(axes, levels, strict=True))
        | {metric: 10.0 * arm + 100 * place + seed for place, metric in enumerate(metrics)}
        for arm, levels in enumerate(product(*axes.values()))
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def notes(figure: go.Figure) -> str:
    return str(figure.layout.title.subtitle.text).replace("<br>", " ")


def test_encoder_table_has_a_row_an_encoder_and_a_series_a_shot_count() -> None:
    frame = results({"encoder.pretrain.objective": ["contrastive", "reconstructive"], "encoder.image_size": [16, 32]})
    figure = lesson_figures.encoder_table(frame, axes=["encoder.pretrain.objective", "encoder.image_size"], metrics=SHOTS)
    assert [trace.name for trace in figure.data] == list(SHOTS)
    assert list(figure.data[1].y) == [f"{kind}, image_size {size}" for kind in ("contrastive", "reconstructive") for size in (16, 32)]
    assert list(figure.data[1].x) == [101, 111, 121, 131]
    assert list(figure.data[1].error_x.array) == pytest.approx([HALF] * 4)
    assert len({trace.marker.symbol for trace in figure.data}) == 3


def test_encoder_table_published_is_on_its_own_axes_with_its_source() -> None:
    figure = lesson_figures.encoder_table(results({"encoder.width": [32, 64]}), axes=["encoder.width"], metrics=SHOTS, published=True)
    shown = [trace for trace in figure.data if trace.name.startswith("MM1")]
    assert [trace.name for trace in shown] == ["MM1, 0-shot", "MM1, 4-shot", "MM1, 8-shot"]
    assert all((trace.yaxis, len(trace.x), trace.error_x.array) == ("y2", 10, None) for trace in shown)
    assert shown[0].x[0] == 36.6
    assert figure.layout.annotations[0].text == "Published: MM1, arXiv 2403.09611, Table 1"
    assert figure.data[0].yaxis == "y"


def test_connector_bars_have_a_panel_a_shot_count_and_intervals() -> None:
    axes = {"connector.kind": ["avg_pool", "c_abstractor"], "connector.num_tokens": [4, 16], "encoder.image_size": [16, 32]}
    (match,) = [match for match in matching_lessons(axes, SHOTS) if match.plot == "connector_bars"]
    figure = lesson_figures.lesson_figure(match, results(axes))
    assert len(figure.data) == 6
    first = figure.data[1]
    assert (first.name, list(first.y)) == ("c_abstractor", [41, 51, 61, 71])
    assert first.x[0] == "num_tokens 4<br>image_size 16"
    assert list(first.error_y.array) == pytest.approx([HALF] * 4)
    assert [trace.showlegend for trace in figure.data] == [True, True, False, False, False, False]
    assert figure.data[0].marker.pattern.shape != figure.data[1].marker.pattern.shape
    assert notes(figure) == "MM1, Figure 4 (arXiv 2403.09611): connector_type, connector_tokens, connector_res"


def test_connector_bars_absent_tokens_are_a_bar_of_their_own() -> None:
    frame = results({"connector.kind": ["linear", "avg_pool"], "connector.num_tokens": [4, 16]})
    frame["connector.num_tokens"] = frame["connector.num_tokens"].astype(object).where(frame["connector.kind"] != "linear", None)
    figure = lesson_figures.connector_bars(frame, axes=["connector.kind", "connector.num_tokens"], metrics=SHOTS[:2])
    assert (list(figure.data[0].x), list(figure.data[0].y)) == (["num_tokens –"], [6.0])


def test_connector_bars_missing_cell_is_no_bar() -> None:
    frame = results({"connector.kind": ["a", "b"], "connector.num_tokens": [4, 16]})
    frame.loc[frame["arm"] == "3", list(SHOTS)] = nan
    figure = lesson_figures.connector_bars(frame, axes=["connector.kind", "connector.num_tokens"], metrics=SHOTS)
    assert list(figure.data[1].x) == ["num_tokens 4"]


def test_data_panel_has_a_bar_a_metric_at_each_mix() -> None:
    frame = results({"data.mix": ["45:45:10", "90:0:10"]}, metrics=(*SHOTS, "text_score"))
    sources = {"data.mix": ("caption", "interleaved", "text")}
    (match,) = matching_lessons({"data.mix": ["45:45:10", "90:0:10"]}, [*SHOTS, "text_score"], sources=sources)
    figure = lesson_figures.lesson_figure(match, frame)
    text = named(figure, "text_score")
    assert (list(text.x), list(text.y)) == (["45:45:10", "90:0:10"], [301, 311])
    assert figure.layout.xaxis2.title.text == "data.mix (caption:interleaved:text)"
    assert notes(figure) == "MM1, Figure 5a (arXiv 2403.09611): caption_share_0shot, interleaved_fewshot, interleaved_text"
    assert (named(figure, SHOTS[0]).yaxis, text.yaxis) == ("y", "y2")  # nobody said that they have one unit


def test_data_panel_has_a_panel_a_unit_and_cuts_what_is_out_of_bounds() -> None:
    metrics = ("cider/0", "vqa/0", "text_score")
    frame = results({"data.mix": ["45:45:10", "90:0:10"]}, metrics=metrics)
    percent = MetricScale(unit="percent", low=0.0, high=211.0)
    scales = {"cider/0": MetricScale(unit="CIDEr-D", low=0.0, high=10.0), "vqa/0": percent, "text_score": percent}
    figure = lesson_figures.data_panel(frame, axis="data.mix", metrics=metrics, scales=scales)
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y2"]
    assert [figure.layout[axis].title.text for axis in ("yaxis", "yaxis2")] == ["cider/0 (CIDEr-D)", "score (percent)"]
    assert list(named(figure, "text_score").error_y.array) == pytest.approx([HALF, 0.0])
    assert list(named(figure, "vqa/0").error_y.array) == pytest.approx([HALF] * 2)
    assert "drawn up to 0 and 211" in notes(figure)


def test_data_panel_has_a_group_a_share_of_rewritten_captions_and_says_what_mm1_found() -> None:
    axes = {"data.alt_text.synthetic": [0.0, 0.07]}
    (match,) = matching_lessons(axes, SHOTS)
    figure = lesson_figures.lesson_figure(match, results(axes))
    assert [list(trace.x) for trace in figure.data] == [["0.0", "0.07"]] * 3
    assert figure.layout.xaxis.title.text == "data.alt_text.synthetic"
    assert "add VeCap to captions: increase by 2.4 and 4 points" in notes(figure)


def test_sft_curve_compares_resolutions_where_the_other_axes_are_shared() -> None:
    frame = results({"sft.encoder.image_size": [8, 16], "sft.encoder.tiles": [1, 2]}, metrics=("caption/0",))
    frame = frame[(frame["sft.encoder.image_size"] == 8) | (frame["sft.encoder.tiles"] == 1)]
    match = LessonPlot("sft_curve", ("sft.encoder.image_size",), ("caption/0",), ("sft_resolution",))
    figure = lesson_figures.lesson_figure(match, frame, others=["sft.encoder.tiles"])
    assert (list(figure.data[1].x), list(figure.data[1].y)) == ([8, 16], [1, 21])
    assert "6 of 9 finished trials" in notes(figure)
    assert "then slight decrease" in notes(figure)


def test_sft_connectors_are_a_bar_each() -> None:
    frame = results({"connector.kind": ["avg_pool", "c_abstractor"]}, metrics=("caption/0",))
    match = LessonPlot("sft_connectors", ("connector.kind",), ("caption/0",), ("sft_connector",))
    (bars,) = lesson_figures.lesson_figure(match, frame).data
    assert (list(bars.x), list(bars.y)) == (["avg_pool", "c_abstractor"], [1, 11])


def drawn(frame: pd.DataFrame, *, axis: str, metric: str, **style: bool) -> list[go.Figure]:
    return [
        lesson_figures.encoder_table(frame, axes=[axis], metrics=[metric], published=True, **style),
        lesson_figures.connector_bars(frame, axes=[axis, axis], metrics=[metric], **style),
        lesson_figures.data_panel(frame, axis=axis, metrics=[metric], sources=[axis], **style),
        lesson_figures.sft_curve(frame, axis=axis, metrics=[metric], **style),
        lesson_figures.sft_connectors(frame, axis=axis, metric=metric, **style),
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_lesson_figures_simulated_say_so_and_nothing_finished_draws_nothing(dark: bool) -> None:
    frame = results({"axis": ["a", "b"]})
    shown = drawn(frame, axis="axis", metric=SHOTS[0], simulated=True, dark=dark)
    assert all(figure.layout.title.text.startswith("simulated: ") for figure in shown)
    for figure in drawn(frame.assign(state="queued"), axis="axis", metric=SHOTS[0], dark=dark):
        assert all(trace.name.startswith("MM1") or not len(trace.x or ()) for trace in figure.data)


def test_lesson_figures_text_from_data_is_escaped() -> None:
    frame = results({HOSTILE: [HOSTILE, "b"]}, metrics=(HOSTILE + "0",))
    for figure in drawn(frame, axis=HOSTILE, metric=HOSTILE + "0"):
        text = str(figure.to_plotly_json())
        assert HOSTILE not in text
        assert ESCAPED in text
        assert "&amp;lt;" not in text
