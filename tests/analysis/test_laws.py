import json
from math import inf, log, nan

import pytest

from ablate.analysis.laws import MM1, predict, rate_label, size_label
from ablate.errors import InputError


def test_predict_mm1_at_30b_gives_the_published_rate_and_decay() -> None:
    prediction = predict("mm1", 30e9)
    assert prediction.lr == pytest.approx(2.21e-5, rel=5e-4)
    assert prediction.weight_decay is not None
    assert prediction.weight_decay.per_step == pytest.approx(2.21e-6, rel=5e-4)
    assert prediction.weight_decay.torch_adamw == 0.1
    assert prediction.interval is None
    assert prediction.extrapolation_decades == pytest.approx(log(25, 10))


@pytest.mark.parametrize(("size", "expected"), [(9e6, 6.747e-4), (85e6, 2.619e-4), (302e6, 1.535e-4), (1.2e9, 8.583e-5)])
def test_predict_mm1_inside_its_range_has_no_extrapolation(size: float, expected: float) -> None:
    prediction = predict("mm1", size)
    assert prediction.lr == pytest.approx(expected, rel=3e-4)
    assert prediction.extrapolation_decades == 0
    assert not any("extrapolated" in note for note in prediction.notes)


def test_predict_below_the_range_counts_decades_downwards() -> None:
    assert predict("mm1", 9e5).extrapolation_decades == pytest.approx(1.0)


@pytest.mark.parametrize("size", [0, -1.0, inf, nan])
def test_predict_impossible_size_is_refused(size: float) -> None:
    with pytest.raises(InputError, match="not a positive, finite number"):
        predict("mm1", size)


def test_predict_unknown_law_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match="did you mean 'mm1'"):
        predict("mm2", 1e9)


def test_predict_answer_is_plain_json() -> None:
    answer = json.loads(json.dumps(predict("mm1", 3e10).to_json(), allow_nan=False))
    assert answer["weight_decay"] == {"per_step": pytest.approx(2.2108e-6, rel=1e-4), "torch_adamw": 0.1}
    assert answer["interval"] is None


def test_mm1_record_says_what_its_numbers_mean() -> None:
    assert "non-embedding" in MM1.definitions.n_params
    assert MM1.n_range == (9e6, 1.2e9)
    assert "2403.09611" in MM1.source


@pytest.mark.parametrize(
    ("size", "expected"), [(9e6, "9M"), (302e6, "302M"), (1.2e9, "1.2B"), (999.9e6, "1B"), (12.0, "12"), (1.5e12, "1.5T")]
)
def test_size_label_reads_as_people_write_sizes(size: float, expected: str) -> None:
    assert size_label(size) == expected


def test_rate_label_can_be_copied_into_a_config() -> None:
    assert rate_label(2.2108e-5) == "2.21e-5"
    assert float(rate_label(2.2108e-5)) == 2.21e-5
