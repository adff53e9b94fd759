"""A base without a schema is one: its fields, their types, and nothing else."""

from typing import Any

import pytest
from pydantic import ValidationError

from ablate.base_form import form_faults, form_of
from ablate.fields import config_names

BASE: dict[str, Any] = {
    "lr": 0.1,
    "steps": 3,
    "on": True,
    "kind": "a",
    "model": {"depth": 2, "copy": "x"},
    "free": {},
    "list": [1],
    "n": None,
}


def refuse_nothing(config: Any) -> None:
    return None


def test_form_has_the_fields_of_the_base_as_its_defaults() -> None:
    form = form_of(BASE, check=refuse_nothing)
    assert form().model_dump(mode="json") == BASE
    assert config_names(form).fields == {"lr", "steps", "on", "kind", "model.depth", "model.copy", "free", "list", "n"}


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"lr": 1}, 0),
        ({"steps": 4.0}, 0),
        ({"n": "x"}, 0),
        ({"free": {"any": 1}}, 0),
        ({"model": {"depth": 3}}, 0),
        ({"lr": "high"}, 1),
        ({"steps": 0.5}, 1),
        ({"kind": 3}, 1),
        ({"other": 1}, 1),
        ({"model": {"width": 1}}, 1),
        ({"model": 3, "lr": []}, 2),
    ],
)
def test_form_takes_values_of_the_written_types(values: dict[str, Any], wrong: int) -> None:
    form = form_of(BASE, check=refuse_nothing)
    if not wrong:
        assert form.model_validate(values).model_dump(mode="json")["on"] is True
        return
    with pytest.raises(ValidationError) as caught:
        form.model_validate(values)
    assert caught.value.error_count() == wrong


def test_form_asks_the_check_about_the_whole_config() -> None:
    def check(config: Any) -> None:
        if config.lr * config.steps > 1:
            raise ValueError("too much")

    form = form_of(BASE, check=check)
    assert form.model_validate({"steps": 9}).model_dump()["steps"] == 9
    with pytest.raises(ValidationError, match="too much"):
        form.model_validate({"steps": 11})


@pytest.mark.parametrize("name", ["_target_", "model_config", "a.b", "a b", "", "3d", "{x}"])
def test_name_that_nobody_could_speak_of_is_refused(name: str) -> None:
    (fault,) = form_faults({"fine": 1, "group": {name: 1}})
    assert fault.path == ("base", "group", name)
    assert "cannot be a field" in fault.message
