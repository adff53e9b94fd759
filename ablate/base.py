"""The base of a study and the trainer that reads it: what stands at a dotted path, what it means, what other values in place come to."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
    WrapValidator,
)
from pydantic.fields import FieldInfo

from ablate.errors import did_you_mean
from ablate.explain import fields_in, fitting, models_in_fields
from ablate.fields import config_names
from ablate.levels import MISSING
from ablate.marked_yaml import visible


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
        found = self.meanings({}, paths=(path,))
        return MISSING if found is MISSING else found[path]

    def meanings(self, values: Mapping[str, Any], *, paths: Iterable[str]) -> Any:
        """What stands at `paths` once these values are in place and the trainer has read them; MISSING where it refuses them."""
        try:
            config = self.config.model_validate(self.with_values(values)).model_dump(mode="json")
        except ValidationError:
            return MISSING
        return {path: _written(config, path) for path in paths}

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
        for path in _kinds_first(self.config, tuple(values)):
            *groups, last = path.split(".")
            here = raw
            for group in groups:
                here[group] = dict(here.get(group) or {})
                here = here[group]
            here[last] = values[path]
            for name in _of_other_kinds(self.config, path, here):
                del here[name]  # the base's settings of the kind that was replaced
        return raw

    def without_replaced(self, before_kind: Mapping[tuple[str | int, ...], frozenset[str]]) -> dict[str, Any]:
        """The base as written, without those of these keys of its groups that are settings of another kind than the one a group names."""
        raw = dict(self.values)
        for (_, *groups), keys in before_kind.items():
            path = ".".join(map(str, groups))
            group = _written(raw, path)
            if isinstance(group, Mapping) and (replaced := keys & set(_of_other_kinds(self.config, f"{path}.kind", group))):
                raw = _without(raw, groups, replaced)
        return raw


class Reader:
    """Has the trainer read the base with changes in place, again and again.

    A group of fields, such as `encoder`, is read once for each combination of its changes; then the frozen part takes the place of its
    values. Only where that cannot show: see `_Group`.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._groups = _shared_groups(base.config)
        self._plain_json = _has_plain_json(base.config)
        self._stated: dict[str, tuple[Any, ...]] = {group: (group,) for group in self._groups if group in base.values}
        self._splits: dict[int, tuple[Mapping[str, Any], tuple[_Split, ...]]] = {}
        """Id of changes -> they themselves, kept so that no others get the id, and their values group by group."""
        self._parts: dict[tuple[Any, ...], BaseModel | None] = {}
        """A group and the ids of its changes -> its part; None where it cannot be shared."""
        self._left_out = {name: info.exclude_if for name, info in base.config.model_fields.items() if info.exclude_if}
        defaults = [info.default for info in base.config.model_fields.values() if _is_frozen(info.default)]
        self._jsons = {id(part): (part, part.model_dump(mode="json")) for part in defaults}
        """Id of a part -> itself and its JSON values."""

    def read(self, changes: Sequence[Mapping[str, Any]]) -> BaseModel:
        """The config with these changes (dotted path -> value) in place; a mapping given once may not be changed later. Raises
        ValidationError, always of the plain values."""
        keys, known = self._stated.copy(), self._splits
        for one in changes:
            for group, place in (known.get(id(one)) or self._split(one))[1]:
                keys[group] = (*keys[group], place) if group in keys else (group, place)
        parts = {group: part for group, key in keys.items() if group and (part := self._part(key, changes)) is not None}
        if parts:
            alone = () if len(parts) == len(keys) else [group for group in keys if group not in parts]
            try:
                return self._base.config.model_validate(self._base.with_values(self._values(changes, alone)) | parts)
            except Exception:  # noqa: S110
                pass  # the plain values tell what is wrong
        return self._base.config.model_validate(self._base.with_values(self._values(changes, list(keys))))

    def as_json(self, config: BaseModel) -> dict[str, Any]:
        """The config as JSON values; configs share what they share, so do not change it."""
        if not self._plain_json:
            return config.model_dump(mode="json")
        found, known = dict(config.__dict__), self._jsons
        for name, is_left_out in self._left_out.items():
            if is_left_out(found[name]):
                del found[name]
        alone = set()
        for name, value in found.items():
            if part := known.get(id(value)):
                found[name] = part[1]
            else:
                alone.add(name)
        return found | config.model_dump(mode="json", include=alone) if alone else found

    def _split(self, changes: Mapping[str, Any]) -> "tuple[Mapping[str, Any], tuple[_Split, ...]]":
        groups = dict.fromkeys(self._group(path) for path in changes)
        self._splits[id(changes)] = changes, tuple((group, id(changes)) for group in groups)
        return self._splits[id(changes)]

    def _group(self, path: str) -> str:
        """The group a path lies in; empty where that is not shared."""
        name = path.partition(".")[0]
        return name if name in self._groups else ""

    def _values(self, changes: Iterable[Mapping[str, Any]], groups: Collection[str]) -> dict[str, Any]:
        """What the changes say about these groups."""
        return {path: value for one in changes for path, value in one.items() if self._group(path) in groups} if groups else {}

    def _part(self, key: tuple[Any, ...], changes: Iterable[Mapping[str, Any]]) -> BaseModel | None:
        try:
            return self._parts[key]
        except KeyError:
            group = key[0]
        part = self._parts[key] = self._groups[group].part(self._base.with_values(self._values(changes, [group]))[group])
        if part is not None:
            self._jsons[id(part)] = part, part.model_dump(mode="json")
        return part


_Split = tuple[str, int]
"""A group of the config, empty for what is not shared, and the id of the changes that say something about it."""


class _Group(NamedTuple):
    """A group of fields whose part can be shared between configs: it depends on nothing outside the group, and who sees it again leaves
    it as it is."""

    adapter: TypeAdapter[Any]
    before: tuple[Callable[[Any], Any], ...]
    """The trainer's own validators that see the values before the group's model does."""

    def part(self, values: Any) -> BaseModel | None:
        """What the group's model makes of the values, before the trainer's validators after it; None where that cannot be shared."""
        try:
            for validate in self.before:
                values = validate(values)
            part = self.adapter.validate_python(values)
            stays = self.adapter.validate_python(part) is part and all(validate(part) is part for validate in self.before)
        except Exception:
            return None  # the trainer refuses it, or takes plain values only
        return part if _is_frozen(part) and stays else None


def _shared_groups(config: type[BaseModel]) -> dict[str, _Group]:
    decorators = config.__pydantic_decorators__
    around = any(one.info.mode != "after" for one in decorators.model_validators.values())
    if around or decorators.validators or decorators.root_validators or config.model_config.get("strict"):
        return {}
    found = {}
    for name, info in config.model_fields.items():
        own = [one for one in decorators.field_validators.values() if {name, "*"} & set(one.info.fields)]
        before = tuple(one.func for one in own if one.info.mode == "before")
        if (
            models_in_fields([info])
            and not (info.alias or info.validation_alias)
            and not any(isinstance(item, BeforeValidator | AfterValidator | PlainValidator | WrapValidator) for item in info.metadata)
            and all(one.info.mode in ("before", "after") for one in own)
            and all(len(signature(validate).parameters) == 1 for validate in before)
        ):
            annotation: Any = Annotated[info.annotation, info]
            found[name] = _Group(TypeAdapter(annotation), before[::-1])
    return found


def _has_plain_json(config: type[BaseModel]) -> bool:
    """Whether the JSON values of a config are those of its fields, one by one."""
    decorators = config.__pydantic_decorators__
    return not (
        decorators.field_serializers
        or decorators.model_serializers
        or config.model_computed_fields
        or config.model_config.get("extra") == "allow"
        or config.model_config.get("ser_json_inf_nan")
        or any(info.exclude or info.serialization_alias for info in config.model_fields.values())
        or any(isinstance(item, PlainSerializer | WrapSerializer) for info in config.model_fields.values() for item in info.metadata)
    )


def _is_frozen(part: Any) -> bool:
    return isinstance(part, BaseModel) and bool(type(part).model_config.get("frozen"))


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
            hint = did_you_mean(part, fields) or did_you_mean(path, config_names(config).fields)
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
def _kinds_first(config: type[BaseModel], paths: tuple[str, ...]) -> tuple[str, ...]:
    """A new kind first, then what belongs to it."""
    return tuple(sorted(paths, key=lambda path: not _members(config, path)))


@lru_cache(maxsize=1024)
def _members(config: type[BaseModel], path: str) -> tuple[type[BaseModel], ...]:
    """The union's members where the path is the literal that picks one, such as `connector.kind`; else nothing."""
    group, _, last = path.rpartition(".")
    fields = fields_at(config, group) if group else "none"
    models = () if isinstance(fields, str) else models_in_fields(fields)
    literal = all(get_origin(info.annotation) is Literal for info in fields_in(models).get(last, []))
    return models if len(models) > 1 and literal else ()


def _of_other_kinds(config: type[BaseModel], path: str, group: Mapping[str, Any]) -> list[str]:
    """Keys of a group that are settings of other kinds than the one it names at `path`; none where the path names no kind."""
    models = _members(config, path)
    keys, known = fields_in(fitting(models, group)), fields_in(models)
    return [name for name in group if name in known and name not in keys]


def _without(values: Mapping[str, Any], groups: Sequence[str | int], names: Collection[str]) -> dict[str, Any]:
    if not groups:
        return {name: value for name, value in values.items() if name not in names}
    inner = str(groups[0])
    return {**values, inner: _without(values[inner], groups[1:], names)}


def _written(values: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return MISSING
        values = values[part]
    return values
