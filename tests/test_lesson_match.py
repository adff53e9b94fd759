import pytest

from ablate.lesson_match import LessonPlot, bears_on_lessons, matching_lessons, mix_lessons, role_of, shot_families, study_lessons
from ablate.mm1_reference import LESSONS

SHOTS = ["few_shot/0", "few_shot/4", "few_shot/8"]
SOURCES = ("caption", "interleaved", "text")


@pytest.mark.parametrize(
    ("axis", "role"),
    [
        ("encoder.image_size", "resolution"),
        ("sft.encoder.image_size", "resolution"),
        ("resolution", "resolution"),
        ("connector.num_tokens", "tokens"),
        ("num_tokens", "tokens"),
        ("data.num_tokens", None),
        ("connector.kind", "connector"),
        ("connector", "connector"),
        ("data.mix", "mix"),
        ("data.alt_text.synthetic", "synthetic"),
        ("sft.data.alt_text.synthetic", None),
        ("data.alt_text.noise", None),
        ("encoder.pretrain.alt_text.synthetic", "encoder"),
        ("encoder.pretrain.objective", "encoder"),
        ("encoder.width", "encoder"),
        ("encoder.kind", "encoder"),
        ("encoder.pretrain.learning_rate", None),
        ("train.steps", "steps"),
        ("sft.train.steps", None),
        ("train.learning_rate", None),
        ("decoder.width", None),
    ],
)
def test_role_of_knows_axes_by_their_last_parts(axis: str, role: str | None) -> None:
    assert role_of(axis) == role


def test_shot_families_take_two_counts_or_more_in_order() -> None:
    assert shot_families(["loss", "vqa/8", "few_shot/8", "few_shot/0", "vqa/4", "lone/4"]) == [
        ("vqa/4", "vqa/8"),
        ("few_shot/0", "few_shot/8"),
    ]


def test_matching_connector_study_has_figure_4() -> None:
    axes = {"encoder.image_size": [16, 32], "connector.kind": ["avg_pool", "c_abstractor"], "connector.num_tokens": [4, 16], "one": [1]}
    found = matching_lessons(axes, ["few_shot/4", *SHOTS, "loss"])
    table, bars = found
    assert table == LessonPlot("encoder_table", ("encoder.image_size",), tuple(SHOTS), ("encoder_resolution",))
    assert bars.axes == ("connector.kind", "connector.num_tokens", "encoder.image_size")
    assert bars.lessons == ("connector_type", "connector_tokens", "connector_res")
    assert bars.columns == (*bars.axes, *SHOTS)


def test_matching_encoder_study_has_table_1_with_its_lessons() -> None:
    axes = {"encoder.pretrain.objective": ["contrastive", "none"], "encoder.width": [64, 128], "encoder.pretrain.data": ["a", "b"]}
    (found,) = matching_lessons(axes, SHOTS)
    assert (found.plot, found.lessons) == ("encoder_table", ("encoder_size", "encoder_vecap"))


def test_matching_mix_study_has_figure_5_with_texts() -> None:
    (found,) = matching_lessons({"data.mix": ["45:45:10", "90:0:10"]}, [*SHOTS, "text_score"], sources={"data.mix": SOURCES})
    assert found.metrics == (*SHOTS, "text_score")
    assert found.lessons == ("caption_share_0shot", "interleaved_fewshot", "interleaved_text")
    assert found.sources == SOURCES


def test_matching_rewritten_captions_has_figure_5d_and_table_1() -> None:
    shares = [0.0, 0.07]
    assert matching_lessons({"data.alt_text.synthetic": shares}, ["caption/0", *SHOTS, "loss"]) == [
        LessonPlot("data_panel", ("data.alt_text.synthetic",), tuple(SHOTS), ("vecap_fewshot",))
    ]
    (table,) = matching_lessons({"encoder.pretrain.alt_text.synthetic": shares}, SHOTS)
    assert (table.plot, table.lessons) == ("encoder_table", ("encoder_vecap",))


@pytest.mark.parametrize("axis", ["data.alt_text.synthetic", "sft.data.alt_text.synthetic"])
def test_matching_rewritten_captions_after_sft_is_nothing_that_mm1_asked(axis: str) -> None:
    assert matching_lessons({axis: [0.0, 0.07]}, SHOTS, sft=True) == []


def test_matching_after_sft_has_figures_7_and_10() -> None:
    axes = {"sft.encoder.image_size": [8, 16], "train.steps": [100, 200], "connector.kind": ["a", "b"]}
    found = matching_lessons(axes, ["caption/0", "caption/4"])
    assert [(plot.plot, plot.axes, plot.metrics, plot.lessons) for plot in found] == [
        ("sft_curve", ("sft.encoder.image_size",), ("caption/0",), ("sft_resolution",)),
        ("sft_curve", ("train.steps",), ("caption/0",), ("sft_pretraining",)),
        ("sft_connectors", ("connector.kind",), ("caption/0",), ("sft_connector",)),
    ]
    assert matching_lessons({"connector.kind": ["a", "b"]}, ["loss"], sft=True)[0].plot == "sft_connectors"


def test_matching_nothing_that_mm1_asked() -> None:
    assert matching_lessons({"train.learning_rate": [1, 2], "data.mix": ["1:1"]}, SHOTS) == []


@pytest.mark.parametrize(
    ("levels", "sources", "sft", "lessons"),
    [
        (["1:0:0", "9:0:1"], SOURCES, False, ("text_with_caption",)),
        (["0:1:0", "0:9:1"], SOURCES, False, ("text_with_interleaved",)),
        (["9:1", "10:0"], ("caption", "vecap"), False, ("vecap_fewshot",)),
        (["1:0:0", "5:5:0"], SOURCES, True, ("sft_caption_only",)),
        (["1:0:0", "5:5:0"], (), False, ()),
    ],
)
def test_mix_lessons_are_those_the_mixes_can_show(levels: list[str], sources: tuple[str, ...], sft: bool, lessons: tuple[str, ...]) -> None:
    assert mix_lessons(levels, sources=sources, text=False, sft=sft) == lessons
    assert set(lessons) <= set(LESSONS)


def test_recorded_study_says_its_mixes_sources_and_its_sft_stage() -> None:
    spec = {"metric": {"name": "few_shot/4"}, "axes": {"data.mix": {"simplex": ["caption", "interleaved"], "list": ["1:1", "9:1"]}}}
    (panel,) = study_lessons(spec, {"data.mix": ["1:1", "9:1"]}, ["caption/0", "few_shot/0", "few_shot/4", "few_shot/8"])
    assert panel.sources == ("caption", "interleaved")
    assert panel.metrics == ("few_shot/0", "few_shot/4", "few_shot/8")
    assert "caption_share_0shot" in panel.lessons
    tuned = spec | {"base": {"sft": {"train": {}}}, "axes": {"encoder.image_size": [8, 16]}}
    (curve,) = study_lessons(tuned, {"encoder.image_size": [8, 16]}, ["loss", "few_shot/4"])
    assert (curve.plot, curve.metrics) == ("sft_curve", ("few_shot/4",))


def test_study_bears_on_lessons_by_an_axis_a_claim_or_a_law() -> None:
    spec = {"metric": {"name": "loss"}, "axes": {}}
    assert bears_on_lessons(spec, {"encoder.image_size": [8, 16]})
    assert not bears_on_lessons(spec, {"encoder.image_size": [8]})
    assert not bears_on_lessons(spec, {"train.learning_rate": [1, 2]})
    assert bears_on_lessons(spec | {"law": {"hyperparameter": "train.learning_rate"}}, {})
    assert bears_on_lessons(spec | {"claims": [{"lesson": "moe"}]}, {})
    assert not bears_on_lessons(spec | {"claims": [{"lesson": "a lesson of ours"}, {"lesson": None}]}, {})
