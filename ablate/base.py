"""The base of a study and the trainer that reads it: what stands at a dotted path, what it means, what other values in place come to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ablate.conditions import config_names
from ablate.errors import did_you_mean
from ablate.explain import fields_in, fitting, models_in_fields
from ablate.reader import visible

MISSING = object()
"""In the place of a value: nobody wrote one, or the trainer takes none."""


@dataclass(frozen=True)
class Base:
    config: type[BaseModel]
    """What the trainer reads."""
    values: Mapping[str, Any]
    """As the author wrote them, defaults not filled in."""

    def own(self, path: str) -> Any:
        """The value written at a dotted path, or MISSING."""
        return _written(self.values, path)

    def default(self, path: str) -> Any:
        """The value there after the trainer has read the base, or MISSING where it refuses it."""
        return self._read(dict(self.values), path)

    def meaning(self, path: str, value: Any) -> Any:
        """This value after the trainer has read it, or MISSING where the base does not take it."""
        return self._read(self.with_values({path: value}), path)

    def value_above(self, path: str) -> str:
        """The part of the path where the base has a single value and an axis would need a mapping; empty where there is none."""
        parts = path.split(".")
        for end in range(1, len(parts)):
            above = ".".join(parts[:end])
            found = self.own(above)
            if found is not MISSING and found is not None and not isinstance(found, Mapping):
                return above
        return ""

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The base as written with these values in place, by dotted path."""
        raw = dict(self.values)
        for path in sorted(values, key=lambda path: not _members(self.config, path)):  # a new kind first, then what belongs to it
            *groups, last = path.split(".")
            here = raw
            for group in groups:
                here[group] = dict(here.get(group) or {})
                here = here[group]
            here[last] = values[path]
            if models := _members(self.config, path):
                keys, known = fields_in(fitting(models, here)), fields_in(models)
                for name in [name for name in here if name in known and name not in keys]:
                    del here[name]  # the base's settings of the kind that was replaced
        return raw

    def _read(self, raw: Mapping[str, Any], path: str) -> Any:
        try:
            config = self.config.model_validate(raw).model_dump(mode="json")
        except ValidationError:
            return MISSING
        return _written(config, path)


def fields_at(config: type[BaseModel], path: str) -> tuple[FieldInfo, ...] | str:
    """The fields a dotted path may mean in the trainer's config, or the sentence that says why there is none."""
    models: tuple[type[BaseModel], ...] = (config,)
    found: tuple[FieldInfo, ...] = ()
    parts = path.split(".")
    for place, part in enumerate(parts):
        so_far = ".".join(parts[:place])
        if place and not models:
            if any(get_origin(info.annotation) is dict for info in found):
                return found
            return f"{so_far} is one value, and nothing lies under it; write {so_far}"
        fields = fields_in(models)
        if part not in fields:
            hint = did_you_mean(part, fields) or did_you_mean(path, config_names(config).names)
            return f"no field '{visible(part)}'{f' in {so_far}' if so_far else ''} ({', '.join(fields)}){hint}"
        found = tuple(fields[part])
        models = models_in_fields(found)
    return found


def is_whole(fields: Iterable[FieldInfo]) -> bool:
    """Whether the fields take whole numbers only."""
    return all(
        info.annotation is int or (get_origin(info.annotation) is Annotated and get_args(info.annotation)[0] is int) for info in fields
    )


@lru_cache(maxsize=1024)
def _members(config: type[BaseModel], path: str) -> tuple[type[BaseModel], ...]:
    """The union's members where the path is the literal that picks one, such as `connector.kind`; else nothing."""
    group, _, last = path.rpartition(".")
    fields = fields_at(config, group) if group else "none"
    models = () if isinstance(fields, str) else models_in_fields(fields)
    literal = all(get_origin(info.annotation) is Literal for info in fields_in(models).get(last, []))
    return models if len(models) > 1 and literal else ()


def _written(values: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return MISSING
        values = values[part]
    return values
