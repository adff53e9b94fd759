"""What a trainer's config holds by dotted name: fields of its models, over all members of unions, and properties they declare.

A config that does not validate as a whole can still be asked for the parts that do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from ablate.conditions import Lookup, Unknown, Value
from ablate.explain import fields_in, fitting, models_in_fields


@dataclass(frozen=True)
class ConfigNames:
    """What a condition may name in a trainer's config."""

    names: frozenset[str]
    open_names: frozenset[str]
    """Mappings with free keys."""
    fields: frozenset[str]
    """What an axis may vary: all but properties."""


def config_names(config: type[BaseModel]) -> ConfigNames:
    """Fields and properties of the config and of the models inside it, over all members of unions."""
    found: dict[str, set[str]] = {"property": set(), "field": set(), "mapping": set()}
    for name, kind in _names((config,), prefix="", seen=()):
        found[kind].add(name)
    fields = found["field"] | found["mapping"]
    return ConfigNames(frozenset(found["property"] | found["field"]), frozenset(found["mapping"]), frozenset(fields))


def _names(models: Sequence[type[BaseModel]], *, prefix: str, seen: tuple[type[BaseModel], ...]) -> Iterator[tuple[str, str]]:
    """(name, what it is)."""
    for model in models:
        yield from ((f"{prefix}{name}", "property") for name in _properties(model))
    for name, fields in fields_in(models).items():
        inner = [model for model in models_in_fields(fields) if model not in seen]
        if inner:
            yield from _names(inner, prefix=f"{prefix}{name}.", seen=(*seen, *models))
        else:
            yield f"{prefix}{name}", "mapping" if any(get_origin(info.annotation) is dict for info in fields) else "field"


def _properties(model: type[BaseModel]) -> set[str]:
    ours = [base for base in model.__mro__ if base not in BaseModel.__mro__]
    found = {name for base in ours for name, value in vars(base).items() if isinstance(value, property | cached_property)}
    return {name for name in found if not name.startswith("_")} | set(model.model_computed_fields)


def lookup_in(config: BaseModel) -> Lookup:
    """Names in a config that validates."""

    def lookup(name: str) -> Value:
        return _descend(config, tuple(name.split(".")), name)

    return lookup


def lookup_in_parts(model: type[BaseModel], raw: Mapping[str, Any]) -> Lookup:
    """Names in a config that does not validate as a whole: each part that does, else what is written, else the default."""

    def lookup(name: str) -> Value:
        return _part((model,), raw, tuple(name.split(".")), name)

    return lookup


def _part(models: Sequence[type[BaseModel]], raw: Any, path: tuple[str, ...], name: str) -> Value:
    fields = fields_in(fitting(models, raw)).get(path[0], [])
    if not fields or not isinstance(raw, Mapping):
        raise Unknown(name)
    info = fields[0]
    written = raw[path[0]] if path[0] in raw else info.get_default(call_default_factory=True, validated_data={})
    whole = written
    if not isinstance(written, BaseModel):
        try:
            annotation: Any = info.annotation
            whole = _adapter(annotation).validate_python(written)
        except ValidationError:
            if len(path) > 1:
                return _part(models_in_fields(fields), written, path[1:], name)
    return _descend(whole, path[1:], name)


@lru_cache(maxsize=256)
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _descend(here: Any, path: tuple[str, ...], name: str) -> Value:
    for part in path:
        here = here.get(part) if isinstance(here, Mapping) else getattr(here, part, None)
    if here is None or isinstance(here, BaseModel | Mapping):
        raise Unknown(name)
    found: Value = here
    return found
