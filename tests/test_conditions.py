"""What a `where` text may say, what it means in a cell, and where it is wrong."""

from functools import cached_property
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field, field_validator

from ablate.conditions import Condition, ConditionError, Unknown, parse_condition
from ablate.fields import config_names, lookup_in, lookup_in_parts


class Encoder(BaseModel):
    image_size: int = 16
    patch_size: int = 4

    @property
    def num_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @cached_property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.image_size**2

    @property
    def _hidden(self) -> int:
        return 1


class Pool(BaseModel):
    kind: Literal["pool"] = "pool"
    num_tokens: int = 4


class Conv(BaseModel):
    kind: Literal["conv"]
    num_tokens: int = 4
    kernel: int = 3


class Config(BaseModel):
    encoder: Encoder = Encoder()
    connector: Annotated[Pool | Conv, Field(discriminator="kind")] = Pool()
    mix: dict[str, float] = {"text": 0.1}
    frozen: bool = True
    tasks: tuple[str, ...] = ("vqa", "text")

    @field_validator("connector")
    @classmethod
    def _fits(cls, value: Any, info: Any) -> Any:
        if value.num_tokens > info.data["encoder"].num_patches:
            raise ValueError("more tokens than patches")
        return value


NAMES = config_names(Config)


def parsed(text: str) -> Condition:
    return parse_condition(text, names=NAMES.names, open_names=NAMES.open_names)


def faults(text: str) -> tuple[tuple[int, str], ...]:
    with pytest.raises(ConditionError) as caught:
        parsed(text).holds(lookup_in(Config()))
    return caught.value.faults


def test_names_are_fields_and_declared_properties_of_every_member() -> None:
    assert NAMES.names == {
        *(f"encoder.{name}" for name in ("image_size", "patch_size", "num_patches", "grid", "area")),
        *(f"connector.{name}" for name in ("kind", "num_tokens", "kernel")),
        "frozen",
        "tasks",
    }
    assert NAMES.open_names == {"mix"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("connector.num_tokens <= encoder.num_patches", True),
        ("encoder.num_patches == 16 and encoder.grid == 4 and encoder.area == 256", True),
        ("4 < encoder.image_size < 16", False),
        ("4 < encoder.image_size <= 16", True),
        ("encoder.image_size * 2 - 1 == 31", True),
        ("encoder.image_size / 5 == 3.2", True),
        ("encoder.image_size // 5 == 3 and encoder.image_size % 5 == 1", True),
        ("-encoder.image_size < +1", True),
        ("connector.kind in ['pool', 'conv']", True),
        ("connector.kind not in ('conv',)", True),
        ("connector.kind != 'pool' or not frozen", False),
        ("frozen == true and frozen != False", True),
        ("'vqa' in tasks", True),
        ("mix.text < 0.2", True),
        ("(encoder.image_size > 1) == true", True),
        ("  encoder.image_size > 1  ", True),
    ],
)
def test_condition_means_what_it_says(text: str, holds: bool) -> None:
    assert parsed(text).holds(lookup_in(Config())) is holds


def test_and_stops_where_it_is_decided() -> None:
    assert not parsed("encoder.image_size > 99 and encoder.image_size / 0 > 1").holds(lookup_in(Config()))


def test_names_are_listed_once_in_order() -> None:
    assert parsed("frozen or encoder.grid > 1 or frozen").names == ("frozen", "encoder.grid")


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("__import__('os')", 1, "not allowed in where: call"),
        ("frozen and open('x')", 12, "call"),
        ("lambda: 1", 1, "lambda"),
        ("f'{frozen}'", 1, "f-string"),
        ("9**9**9 > 1", 1, "power"),
        ("1 if frozen else 2", 1, "if else"),
        ("[x for x in tasks]", 1, "list comp"),
        ("tasks[0] == 'vqa'", 1, "subscript"),
        ("{'a': 1}", 1, "dict"),
        ("(frozen := 1)", 2, "assignment"),
        ("frozen is true", 1, "is (write == or !=)"),
        ("'x'.upper == 'X'", 1, "attribute of a value"),
        ("encoder.__class__ == 1", 1, "unknown name 'encoder.__class__'"),
        ("encoder._hidden == 1", 1, "unknown name 'encoder._hidden'"),
        ("None == 1", 1, "None"),
        ("1j == 1", 1, "1j"),
        ("...", 1, "Ellipsis"),
        ("1 < encoder.img_size", 5, "did you mean 'encoder.image_size'?"),
        ("zzz == 1", 1, "names start with connector, encoder, frozen, tasks"),
        ("encoder > 1", 1, "'encoder' is a group; name one of encoder.area"),
        ("encoder.image_size == '16'", 23, "compares number with text"),
        ("connector.kind < 'z'", 18, "order numbers"),
        ("frozen == 1", 11, "compares true or false with number"),
        ("frozen + 1 == 2", 1, "arithmetic needs numbers, found true"),
        ("'a' * 3 == 'aaa'", 1, "arithmetic needs numbers"),
        ("connector.kind in 'pool'", 19, "needs a list"),
        ("encoder.image_size / 0 > 1", 1, "division by zero"),
        ("encoder.image_size < 1e400", 22, "not a finite number"),
        ("encoder.image_size * 1e308 > 1", 1, "the number is too large"),
        (f"encoder.image_size * {'9' * 400} / 2.5 > 1", 1, "the number is too large"),
        ("encoder.image_size", 1, "expected something true or false"),
        ("not encoder.image_size", 1, "expected something true or false"),
        ("frozen and encoder.image_size", 12, "expected something true or false"),
        ("frozen and", 11, "cannot be read"),
        ("a b", 3, "cannot be read"),
        ("import os", 1, "cannot be read"),
        ("", 1, "empty"),
        ("'é' == encodr.grid", 8, "unknown name"),
        ("(" * 250 + "1" + ")" * 250, 201, "cannot be read"),
        ("-" * 1500 + "1 > 0", 31, "nested"),
        ("not " * 400 + "frozen", 125, "nested"),
        ("frozen" + " or frozen" * 300, 1, "too long"),
    ],
)
def test_everything_else_is_refused_at_its_column(text: str, column: int, part: str) -> None:
    ((found, message), *_) = faults(text)
    assert found == column
    assert part in message


def test_all_faults_of_one_condition_are_reported() -> None:
    assert [column for column, _ in faults("a > 1 and b() and c.d")] == [1, 11, 19]


def test_nothing_runs(tmp_path: Any) -> None:
    target = tmp_path / "pwned"
    for text in (f"__import__('pathlib').Path({str(target)!r}).touch()", f"open({str(target)!r}, 'w')", f"[].__class__ == {str(target)!r}"):
        faults(text)
    assert not target.exists()


def test_cell_the_config_refuses_is_judged_by_the_parts_that_hold() -> None:
    raw = {"connector": {"num_tokens": 99, "kind": "conv", "kernel": 5}}
    lookup = lookup_in_parts(Config, raw)
    assert not parsed("connector.num_tokens <= encoder.num_patches").holds(lookup)
    assert parsed("connector.kernel == 5 and encoder.area == 256 and mix.text < 1").holds(lookup)


def test_part_that_does_not_validate_gives_what_is_written_and_its_defaults() -> None:
    lookup = lookup_in_parts(Config, {"encoder": {"image_size": "large", "patch_size": 8}})
    assert lookup("encoder.patch_size") == 8
    assert lookup_in_parts(Config, {"encoder": {"image_size": "large"}})("encoder.patch_size") == 4
    with pytest.raises(Unknown):
        lookup("encoder.num_patches")


def test_name_of_another_kind_is_unknown_in_this_cell() -> None:
    with pytest.raises(Unknown):
        parsed("connector.kernel > 1").holds(lookup_in(Config()))
