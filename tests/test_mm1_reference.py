import json

import pytest

from ablate.analysis.published import MM1
from ablate.errors import InputError
from ablate.mm1_reference import DATA, LEARNING_RATES, LESSONS, TABLE1, lesson


def test_lessons_are_the_seventeen_with_source_and_evidence() -> None:
    assert len(LESSONS) == 17
    for known in LESSONS.values():
        assert known.source == f"MM1, arXiv 2403.09611, {known.figure}"
        assert all([known.axis, known.metric, known.expect, known.evidence])
    assert lesson("connector_type").text == "MM1 (Figure 4): average pool / attention pool / C-Abstractor: no conclusive difference"


def test_lesson_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(InputError, match="did you mean 'connector_type'"):
        lesson("connector_typ")


def test_table1_has_the_ten_rows_and_their_scores() -> None:
    assert len(TABLE1.rows) == 10
    assert all(set(row.shots) == {0, 4, 8} for row in TABLE1.rows)
    assert len({(row.label, row.encoder_data) for row in TABLE1.rows}) == 10
    assert TABLE1.rows[0].shots == {0: 36.6, 4: 56.6, 8: 60.7}
    assert TABLE1.rows[-1].shots == {0: 40.9, 4: 62.5, 8: 66.4}
    assert TABLE1.source == "MM1, arXiv 2403.09611, Table 1"


def test_table1_supports_its_own_lessons() -> None:
    def score(architecture: str, image_size: int, data: str, shots: int) -> float:
        (row,) = [row for row in TABLE1.rows if (row.architecture, row.image_size, row.encoder_data) == (architecture, image_size, data)]
        return row.shots[shots]

    for shots in (0, 4, 8):
        assert 2.5 < score("ViT-H", 336, "DFN-5B+VeCap", shots) - score("ViT-H", 224, "DFN-5B+VeCap", shots) < 4
        assert 0 < score("ViT-H", 336, "DFN-5B+VeCap", shots) - score("ViT-L", 336, "DFN-5B+VeCap", shots) < 1
    for shots in (4, 8):
        assert score("ViT-H", 224, "DFN-5B+VeCap", shots) - score("ViT-H", 224, "DFN-5B", shots) > 1


def test_learning_rates_are_those_published_and_near_the_law() -> None:
    assert {rate.size: rate.learning_rate for rate in LEARNING_RATES} == {"3B": 6e-5, "7B": 4e-5, "30B": 2.2e-5}
    for rate in LEARNING_RATES:
        assert rate.learning_rate == pytest.approx(MM1.lr(rate.n_params), rel=0.03)


def test_reference_names_papers_and_no_internal_ids() -> None:
    text = DATA.read_text(encoding="utf-8")
    assert not any(word in text for word in ("seed0", "/work"))
    assert set(json.loads(text)) == {"lessons", "table1", "learning_rates"}
