"""Sentences for pydantic's errors: on paths that were written, with the keys and kinds that would do."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablate.explain import explain
from ablate.marked_yaml import Fault


class Small(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["small"] = "small"
    size: Annotated[int, Field(gt=0)]


class Large(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["large"]
    rate: float = 0.5


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")

    part: Annotated[Small | Large, Field(discriminator="kind")]
    parts: tuple[Large, ...] = ()
    either: int | str = 1


def explained(written: dict[str, Any]) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(written)
    return explain(caught.value, Tree, written)


def test_pydantic_errors_become_sentences_on_written_paths() -> None:
    assert explained({"part": {"kind": "small", "size": "x"}, "either": []}) == [
        Fault(("part", "size"), "expected a whole number, found text 'x'"),
        Fault(("either",), "expected a whole number or text, found an empty list"),
    ]


def test_unknown_kind_hides_nothing_that_is_wrong_whichever_kind_is_meant() -> None:
    kind = Fault(("part", "kind"), "found text 'smal' (allowed: small, large); did you mean 'small'?")
    assert explained({"part": {"kind": "smal", "size": 1}}) == [kind]
    assert explained({"part": {"kind": "smal", "size": 0, "rat": 1}}) == [
        kind,
        Fault(("part", "size"), "must be above 0, found 0"),
        Fault(("part", "rat"), "unknown key 'rat' (allowed: kind, size, rate); did you mean 'rate'?", at_key=True),
    ]


def test_unknown_key_names_the_keys_of_the_member_that_was_chosen() -> None:
    assert explained({"part": {"kind": "large", "rat": 1, "size": 3}, "parts": [{"kind": "large", "x": 1}]}) == [
        Fault(("part", "rat"), "unknown key 'rat' (allowed: kind, rate); did you mean 'rate'?", at_key=True),
        Fault(("part", "size"), "unknown key 'size' (allowed: kind, rate)", at_key=True),
        Fault(("parts", 0, "x"), "unknown key 'x' (allowed: kind, rate)", at_key=True),
    ]


def test_missing_key_is_placed_at_what_lacks_it() -> None:
    assert explained({"part": {"kind": "small"}}) == [Fault(("part",), "'size' is missing")]
    assert explained({"part": {"kind": "small", "size": -1}}) == [Fault(("part", "size"), "must be above 0, found -1")]
