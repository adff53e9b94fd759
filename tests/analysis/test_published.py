import json
from math import inf, log, nan

import numpy as np
import pytest

from ablate.analysis.laws import PowerLaw
from ablate.analysis.published import BJORCK, KAPLAN, MM1, PORIAN, PUBLISHED, STEP_LAW, predict, published_law, ranges_label
from ablate.errors import InputError

ASKED = {"n_params": 1e9, "tokens": 1e11}
"""What every law can answer: those in compute take 6 N D."""


def test_predict_mm1_at_30b_gives_the_published_rate_and_decay() -> None:
    prediction = predict("mm1", 30e9)
    assert prediction.lr == pytest.approx(2.21e-5, rel=5e-4)
    assert prediction.weight_decay is not None
    assert prediction.weight_decay.per_step == pytest.approx(2.21e-6, rel=5e-4)
    assert prediction.weight_decay.torch_adamw == 0.1
    assert prediction.interval is None
    assert prediction.extrapolation_decades == pytest.approx(log(25, 10))
    assert prediction.notes[:3] == (
        "extrapolated by 1.4 decades outside 9M to 1.2B",
        "N counts non-embedding parameters of the language model",
        "the points, the grid and the interval of the fit are not published",
    )


@pytest.mark.parametrize(("size", "expected"), [(9e6, 6.747e-4), (85e6, 2.619e-4), (302e6, 1.535e-4), (1.2e9, 8.583e-5)])
def test_predict_mm1_inside_its_range_has_no_extrapolation(size: float, expected: float) -> None:
    prediction = predict("mm1", size)
    assert prediction.lr == pytest.approx(expected, rel=3e-4)
    assert prediction.extrapolation_decades == 0
    assert not any("extrapolated" in note for note in prediction.notes)


def test_predict_below_the_range_counts_decades_downwards() -> None:
    assert predict("mm1", 9e5).extrapolation_decades == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "asked", "lr", "batch_tokens"),
    [
        # 0.003239 - 0.0001395 x 20.72327, where 20.72327 = ln 1e9: 0.003239 - 0.002890896
        ("kaplan", {"n_params": 1e9}, 3.48104e-4, None),
        # log10: -0.506124 - 0.1250 x 20 = -3.006124; -0.534617 + 0.3271 x 20 = 6.007383
        ("deepseek", {"compute": 1e20}, 9.85998e-4, 1.017145e6),
        # log10: 0.252853 - 0.713 x 9 + 0.307 x 11 = -2.787147; -0.236572 + 0.571 x 11 = 6.044428
        ("step_law", {"n_params": 1e9, "tokens": 1e11}, 1.632499e-3, 1.107715e6),
        # 1.55e-3 x 1^-0.23 x 100^-0.32; log10: -2.809668 - 0.64 = -3.449668
        ("bjorck", {"n_params": 1e9, "tokens": 1e11}, 3.550845e-4, None),
        # log10: 0.568202 - 0.36 x 9 = -2.671798; 0.00037 x 2048 = 0.75776, log10: -0.120468 + 0.703 x 9 = 6.206532
        ("porian", {"n_params": 1e9}, 2.129128e-3, 1.608910e6),
        # log10: -1.896196 - 0.057 x 22 = -3.150196; -2.187087 + 0.4138 x 22 = 6.916513
        ("moonlight", {"compute": 1e22}, 7.076259e-4, 8.251129e6),
        # log10: 1.584996 - 0.2219 x 9 - 0.3509 x 11 = -4.272004
        ("internlm", {"n_params": 1e9, "tokens": 1e11}, 5.345591e-5, None),
    ],
)
def test_predict_gives_what_the_formula_gives_by_hand(name: str, asked: dict[str, float], lr: float, batch_tokens: float | None) -> None:
    prediction = predict(name, **asked)
    assert prediction.lr == pytest.approx(lr, rel=2e-6)
    assert prediction.batch_tokens == (batch_tokens if batch_tokens is None else pytest.approx(batch_tokens, rel=2e-6))


def test_predict_bjorck_depends_on_billions_not_on_units() -> None:
    # 1.55e-3 x 2^-0.23 x 8^-0.32 = 1.55e-3 x 0.852635 x 0.514057
    assert predict("bjorck", 2e9, tokens=8e9).lr == pytest.approx(6.79375e-4, rel=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_predict_every_law_answers_in_plain_json_with_its_evidence(name: str) -> None:
    prediction = predict(name, **ASKED)
    answer = json.loads(json.dumps(prediction.to_json(), allow_nan=False))
    assert 1e-6 < answer["lr"] < 1e-2
    assert answer["interval"] is None
    assert (answer["n_params"], answer["tokens"]) == (1e9, 1e11)
    assert (answer["batch_tokens"] is None) == (PUBLISHED[name].batch is None)
    assert answer["notes"][-1].startswith(("evidence: primary", "evidence: secondary"))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "mm1"])
def test_predict_law_without_a_weight_decay_gives_none(name: str) -> None:
    prediction = predict(name, **ASKED)
    assert prediction.weight_decay is None
    assert "no weight decay: this law states none" in prediction.notes


def test_predict_answer_has_the_decay_in_both_conventions() -> None:
    answer = json.loads(json.dumps(predict("mm1", 3e10).to_json(), allow_nan=False))
    assert answer["weight_decay"] == {"per_step": pytest.approx(2.2108e-6, rel=1e-4), "torch_adamw": 0.1}
    assert answer["interval"] is None


@pytest.mark.parametrize("size", [0, -1.0, inf, nan])
def test_predict_impossible_size_is_refused(size: float) -> None:
    with pytest.raises(InputError, match="not a positive, finite number"):
        predict("mm1", size)


def test_predict_impossible_inputs_are_refused_all_at_once() -> None:
    with pytest.raises(InputError) as error:
        predict("step_law", 0.5, tokens=-1.0, compute=nan)
    assert str(error.value).splitlines() == [
        "n_params: 0.5 is less than one",
        "tokens: -1.0 is not a positive, finite number",
        "compute: nan is not a positive, finite number",
    ]


def test_predict_unknown_law_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean 'mm1'"):
        predict("mm2", 1e9)


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("mm1", {}, ["--params (non-embedding parameters of the language model; range: 9M to 1.2B)"]),
        ("step_law", {"n_params": 1e9}, ["--tokens (training tokens; range: 4B to 100B)"]),
        ("step_law", {"compute": 1e20}, ["--params (non-embedding parameters; range: 215M to 1.07B) and --tokens (training tokens"]),
        ("bjorck", {}, ["--params", "from 760M, upper end not known) and --tokens", "range: not known)"]),
        ("internlm", {}, ["--params", "--tokens"]),
        ("deepseek", {"n_params": 1e9}, ["--compute", "range: 1e17 to 2e19 FLOPs), or --params and --tokens for C = 6 N D"]),
        ("moonlight", {"tokens": 1e11}, ["--compute", "or --params and --tokens"]),
    ],
)
def test_predict_says_all_that_is_missing_at_once(name: str, asked: dict[str, float], said: list[str]) -> None:
    with pytest.raises(InputError, match=f"^{name} needs ") as error:
        predict(name, **asked)
    assert [part for part in said if part not in str(error.value)] == []


@pytest.mark.parametrize("size", [1.213e10, 3e10, 1e15])
def test_predict_kaplan_where_it_is_negative_is_refused(size: float) -> None:
    # 0.003239 / 0.0001395 = 23.218638, and exp of that 1.21262e10
    with pytest.raises(InputError, match=r"kaplan has no rate at N = .*not positive from N = 1\.21e\+10 on"):
        predict("kaplan", size)
    with pytest.raises(InputError, match="kaplan has no rate"):
        KAPLAN.lr(size)


def test_predict_kaplan_between_its_authors_limit_and_its_end_warns() -> None:
    prediction = predict("kaplan", 1.212e10)
    # 0.0001395 x (23.218638 - ln 1.212e10 = 23.218122) = 7.2e-8
    assert prediction.lr == pytest.approx(7.2e-8, rel=0.01)
    assert prediction.extrapolation_decades == pytest.approx(0.0835, abs=1e-4)  # log10 1.212
    assert "extrapolated by 0.1 decades above 10B" in prediction.notes


def test_predict_outside_says_the_decades_of_each_input() -> None:
    prediction = predict("step_law", 1.07e10, tokens=4e8)
    assert "N extrapolated by 1.0 decades outside 215M to 1.07B" in prediction.notes
    assert "D extrapolated by 1.0 decades outside 4B to 100B" in prediction.notes
    assert predict("step_law", 1.07e10, tokens=1e13).extrapolation_decades == pytest.approx(2.0)  # the farther of the two


def test_predict_inside_both_ranges_says_nothing_of_them() -> None:
    prediction = predict("step_law", 5e8, tokens=2e10)
    assert prediction.extrapolation_decades == 0
    assert not any("extrapolated" in note or note.startswith("range") for note in prediction.notes)


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("porian", ["range in N: not known"]),
        ("internlm", ["range in N: not known", "range in D: not known"]),
        ("moonlight", ["range in C: not known"]),
        ("bjorck", ["range in N: from 760M, upper end not known", "range in D: not known"]),
        ("kaplan", ["range in N: up to 10B, lower end not known"]),
    ],
)
def test_predict_where_the_range_is_not_known_says_so(name: str, notes: list[str]) -> None:
    prediction = predict(name, **ASKED)
    assert prediction.extrapolation_decades is None
    assert [note for note in prediction.notes if note.startswith("range in")] == notes


def test_predict_below_the_known_end_of_a_range_counts_the_decades() -> None:
    assert predict("bjorck", 7.6e7, tokens=1e11).extrapolation_decades == pytest.approx(1.0)


def test_predict_takes_six_n_d_where_compute_is_not_given() -> None:
    prediction = predict("moonlight", 1e9, tokens=1e11)
    assert prediction.compute == 6e20
    assert prediction.lr == predict("moonlight", compute=6e20).lr
    assert "C = 6 N D = 6e20 FLOPs" in prediction.notes


def test_predict_deepseek_says_that_its_compute_is_not_six_n_d() -> None:
    (note,) = (note for note in predict("deepseek", 1e9, tokens=1e11).notes if note.startswith("C = 6 N D"))
    assert "its own C is M D" in note
    assert not any("6 N D" in note for note in predict("deepseek", compute=1e20).notes)


def test_predict_compute_of_integers_does_not_overflow() -> None:
    # 6 x 1.07e9 x 5.69e10 = 3.65298e20, over 2^63 = 9.2e18
    size, tokens = np.int64(1_070_000_000), np.int64(56_900_000_000)
    for asked in ((size, tokens), (int(size), int(tokens))):
        assert predict("deepseek", asked[0], tokens=asked[1]).compute == pytest.approx(3.65298e20)  # type: ignore[arg-type]


def test_predict_compute_beyond_all_floats_is_refused() -> None:
    with pytest.raises(InputError, match="compute, 6 N D: inf"):
        predict("moonlight", 1e200, tokens=1e200)


@pytest.mark.parametrize(
    ("name", "asked", "unread"),
    [
        ("mm1", {"n_params": 1e9, "tokens": 1e11, "compute": 1e21}, "D (--tokens), C (--compute)"),
        ("porian", {"n_params": 1e9, "tokens": 1e11}, "D (--tokens)"),
        ("step_law", {"n_params": 1e9, "tokens": 1e11, "compute": 1e21}, "C (--compute)"),
        ("deepseek", {"n_params": 1e9, "tokens": 1e11, "compute": 1e20}, "N (--params), D (--tokens)"),
        ("moonlight", {"n_params": 1e9, "compute": 1e20}, "N (--params)"),
    ],
)
def test_predict_notes_what_the_law_does_not_read(name: str, asked: dict[str, float], unread: str) -> None:
    prediction = predict(name, **asked)
    assert f"not read by this law: {unread}" in prediction.notes
    assert prediction.lr == predict(name, **{key: asked[key] for key in PUBLISHED[name].reads}).lr


@pytest.mark.parametrize("name", PUBLISHED)
def test_record_says_what_its_numbers_mean_and_where_they_are_from(name: str) -> None:
    law = published_law(name)
    record = json.loads(json.dumps(law.to_json(), allow_nan=False))
    assert law.name == name
    assert "arXiv" in record["source"]
    assert record["evidence"].startswith(("primary", "secondary"))
    assert all(said for name, said in record["definitions"].items() if name != "recipe")
    assert all(record["definitions"][quantity] != "not read" for quantity in law.reads)
    assert set(law.ranges) <= set(law.reads)
    assert law.batch is None or set(law.batch.reads) <= set(law.reads)
    assert (record["from"], record["to"]) == law.n_range


def test_mm1_record_says_what_its_numbers_mean() -> None:
    assert "non-embedding" in MM1.definitions.n_params
    assert MM1.n_range == (9e6, 1.2e9)
    assert "2403.09611" in MM1.source


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deepseek", "0.3188 or 0.3318"),
        ("bjorck", "1.3192e-5"),
        ("step_law", "N without embeddings"),
        ("porian", "D of about 20 N"),
        ("kaplan", "breaks above N = 1e10"),
    ],
)
def test_predict_passes_on_what_is_known_to_mislead(name: str, said: str) -> None:
    assert any(said in note for note in predict(name, **ASKED).notes)


def test_ranges_label_has_one_part_for_each_input() -> None:
    assert ranges_label(STEP_LAW) == "N 215M to 1.07B, D 4B to 100B"
    assert ranges_label(BJORCK) == "N from 760M, upper end not known; D not known"


def test_slope_is_the_exponent_of_n_and_refused_where_there_is_none() -> None:
    assert (MM1.slope, PORIAN.slope, STEP_LAW.slope) == (-0.4214, -0.36, -0.713)
    for name in ("kaplan", "deepseek", "moonlight"):
        with pytest.raises(InputError, match=f"{name} has no slope in N"):
            _ = PUBLISHED[name].slope


def test_power_law_slope_is_what_its_rate_does() -> None:
    for law in PUBLISHED.values():
        if isinstance(law.rate, PowerLaw) and "n_params" in law.reads:
            rise = log(law.lr(1e9, tokens=1e11) / law.lr(1e8, tokens=1e11)) / log(10)
            assert rise == pytest.approx(law.slope)
