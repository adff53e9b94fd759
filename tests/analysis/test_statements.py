"""Claims in words."""

from typing import Any

import pytest

from ablate.analysis.statements import statement
from ablate.errors import InputError
from ablate.study import Claim

LEVELS = {"tokens": [16, 64, 144], "kind": ["pool", "abstractor"]}


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"axis": "tokens", "expect": "increases"}, "loss increases from tokens = 16 to 144"),
        ({"axis": "kind", "expect": "decreases", "metric": "score/4"}, "score/4 decreases from kind = pool to abstractor"),
        ({"axis": "kind", "expect": "equivalent", "within": 0.5}, "loss is the same at kind = abstractor as at pool within ±0.5"),
        (
            {"axis": "tokens", "expect": "best_level", "level": 64, "when": "kind == 'pool'"},
            "loss: tokens = 64 is at least as good as every other level, where kind == 'pool'",
        ),
        ({"axis": "tokens", "expect": "interior_optimum"}, "loss is best at some tokens between 16 and 144"),
        ({"axis": "tokens", "expect": "interior_optimum", "level": 64}, "loss is better at tokens = 64 than at both 16 and 144"),
        (
            {"axis": "tokens", "expect": "larger_effect_than", "than": {"axis": "kind"}},
            "loss: tokens 16 -> 144 matters more than kind pool -> abstractor",
        ),
    ],
)
def test_claim_is_one_sentence_with_its_defaults(claim: dict[str, Any], said: str) -> None:
    assert statement(Claim.model_validate(claim), levels=LEVELS, metric="loss") == said


def test_claim_on_no_axis_is_refused() -> None:
    with pytest.raises(InputError, match=r"no axis 'token'.*did you mean 'tokens'"):
        statement(Claim.model_validate({"axis": "token", "expect": "increases"}), levels=LEVELS, metric="loss")
