"""A base without a schema becomes one: a pydantic model with the fields it writes, of the types of the values it writes.

So the axes, conditions and arguments of a study on somebody else's trainer are checked like those of the trainers shipped here.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, model_validator

from ablate.marked_yaml import Fault, Path, visible

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SETTINGS = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def form_faults(values: Mapping[str, Any], path: Path = ("base",)) -> list[Fault]:
    """Names that no axis and no template could speak of."""
    faults = []
    for name, value in values.items():
        if not NAME.fullmatch(name) or name.startswith("model_"):
            message = f"'{visible(name)}' cannot be a field: letters, digits, _ and -, starting with a letter and not with model_"
            faults.append(Fault((*path, name), message, at_key=True))
        if isinstance(value, Mapping):
            faults += form_faults(value, (*path, name))
    return faults


def form_of(values: Mapping[str, Any], *, check: Callable[[Any], None]) -> type[BaseModel]:
    """The model of a base without faults. `check` sees each whole config and raises ValueError for what the trainer cannot take."""

    def checked(config: Any) -> Any:
        check(config)
        return config

    return _model("Config", values, {"check": model_validator(mode="after")(checked)})


def _model(name: str, values: Mapping[str, Any], validators: dict[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {key: _field(key, value) for key, value in values.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a field may be called `json` or `copy`
        model: type[BaseModel] = create_model(name, __config__=_SETTINGS, __validators__=validators, **fields)
    return model


def _field(name: str, value: Any) -> tuple[Any, Any]:
    """The type a written value stands for, and the value as its default."""
    match value:
        case Mapping() if value:
            inner = _model(name, value, {})
            return inner, inner()
        case Mapping():
            return dict[str, Any], value
        case list():
            return list[Any], value
        case bool() | int() | float() | str():
            return type(value), value
    return Any, value
