"""Pydantic's errors become plain sentences on the paths a person wrote: what was found, what is allowed, what to do.

The models are asked what a key may mean, over all members of a union, so a sentence can name the keys and kinds that would do.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ablate.errors import did_you_mean
from ablate.marked_yaml import Fault, Path, shown, visible

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "none": "null",
}
_DOTTED = re.compile(r"(?P<field>[a-z_]+(?:\.[a-z_0-9]+)+)(?P<colon>: )?")
_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
}


def explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> list[Fault]:
    """Pydantic's errors as sentences on the paths that `values` really has: found, allowed, what to do."""
    grouped: dict[Path, list[Any]] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] != "too_short" or not _any_inside(detail["loc"], details):  # an item that is wrong was not counted
            grouped.setdefault(_written(detail["loc"], values), []).append(detail)
    return [fault for path, details in grouped.items() for fault in _explain(path, details, model, values)]


def _any_inside(location: Sequence[int | str], details: Iterable[Any]) -> bool:
    size = len(location)
    return any(len(other["loc"]) > size and other["loc"][:size] == location for other in details)


def models_in(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The pydantic models a field's annotation allows, inside unions and lists too."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return (annotation,) if issubclass(annotation, BaseModel) else ()
    return tuple(dict.fromkeys(model for part in get_args(annotation) for model in models_in(part)))


def fields_in(models: Iterable[type[BaseModel]]) -> dict[str, list[FieldInfo]]:
    """Key in a file -> the fields it may mean, over the members of a union."""
    found: dict[str, list[FieldInfo]] = {}
    for model in models:
        for name, info in model.model_fields.items():
            found.setdefault(info.alias or name, []).append(info)
    return found


def models_in_fields(fields: Iterable[FieldInfo]) -> tuple[type[BaseModel], ...]:
    return tuple(dict.fromkeys(model for info in fields for model in models_in(info.annotation)))


def fitting(models: Sequence[type[BaseModel]], values: Any) -> tuple[type[BaseModel], ...]:
    """Of a union's members, those whose literal fields (`kind`) agree with what is written; all where none does."""
    written = values if isinstance(values, Mapping) else {}
    fits = [
        model
        for model in models
        if all(
            written.get(name, get_args(info.annotation)[0]) in get_args(info.annotation)
            for name, info in model.model_fields.items()
            if get_origin(info.annotation) is Literal
        )
    ]
    return tuple(fits or models)


def _written(location: Sequence[int | str], values: Any) -> Path:
    """Pydantic's location without the parts nobody wrote: tags of unions, names of validators, keys that are missing."""
    path: Path = ()
    for part in location:
        inside = (
            part in values
            if isinstance(values, Mapping)
            else isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        )
        if inside:
            values, path = values[part], (*path, part)
    return path


def _explain(path: Path, details: Sequence[Any], model: type[BaseModel], values: Any) -> list[Fault]:
    models: tuple[type[BaseModel], ...] = (model,)
    fields: list[FieldInfo] = []
    around: tuple[type[BaseModel], ...] = models
    for part in path:
        models = fitting(models, values)
        around, fields = models, fields_in(models).get(part, []) if isinstance(part, str) else fields
        models, values = models_in_fields(fields), values[part]
    expected = list(dict.fromkeys(text for detail in details if (text := _EXPECTED.get(detail["type"].partition("_")[0]))))
    if expected and len(details) > 1:
        return [Fault(path, f"expected {' or '.join(expected)}, found {shown(values)}")]
    chosen, faults = fitting(models, values), list[Fault]()
    for detail in details:
        sentence = _sentence(path, detail, around=around, models=chosen, fields=fields, value=values)
        # a model that finds several things wrong says each on a line of its own
        faults += [_pointed(sentence._replace(message=line), values) for line in sentence.message.splitlines()]
        if detail["type"] == "union_tag_invalid" and isinstance(values, Mapping):
            faults += _wrong_in_all(path, values, kind=detail["ctx"]["discriminator"].strip("'"), models=models)
    return list(dict.fromkeys(faults))


def _pointed(fault: Fault, value: Any) -> Fault:
    """What begins with a dotted name of a field inside is said of that field, or of the nearest group around it that is written."""
    found = _DOTTED.match(fault.message)
    if not found or fault.at_key:
        return fault
    names, inside = found["field"].split("."), value
    for count, name in enumerate(names):
        if not isinstance(inside, Mapping) or name not in inside:
            return fault._replace(path=(*fault.path, *names[:count]))
        inside = inside[name]
    return fault._replace(path=(*fault.path, *names), message=fault.message[found.end() :] if found["colon"] else fault.message)


def _wrong_in_all(path: Path, value: Mapping[str, Any], *, kind: str, models: tuple[type[BaseModel], ...]) -> list[Fault]:
    """Of a group whose kind is none: what would be wrong whichever kind is meant."""
    found: list[dict[Path, Fault]] = []
    for model in models:
        (tag,) = get_args(model.model_fields[kind].annotation)
        try:
            model.model_validate({**value, kind: tag})
            return []
        except ValidationError as error:
            found.append({fault.path: fault for fault in explain(error, model, value) if fault.path})
    first, *others = found
    agreed = [inside for inside in first if all(inside in faults for faults in others)]
    # a key that is known to one kind alone is judged by that one
    chosen = [min((faults[inside] for faults in found), key=lambda fault: fault.at_key) for inside in agreed]
    known = list(fields_in(models))
    return [
        _unknown_key((*path, *fault.path), known) if fault.at_key and len(fault.path) == 1 else fault._replace(path=(*path, *fault.path))
        for fault in chosen
    ]


def _unknown_key(path: Path, known: Sequence[str]) -> Fault:
    found = str(path[-1])
    return Fault(path, f"unknown key '{visible(found)}' (allowed: {', '.join(known)}){did_you_mean(found, known)}", at_key=True)


def _sentence(
    path: Path,
    detail: Any,
    *,
    around: tuple[type[BaseModel], ...],
    models: tuple[type[BaseModel], ...],
    fields: list[FieldInfo],
    value: Any,
) -> Fault:
    kind, context = str(detail["type"]), detail.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return _unknown_key(path, list(fields_in(around)))
        case "missing":
            return Fault(path, f"'{detail['loc'][-1]}' is missing")
        case "value_error" | "assertion_error":
            return Fault(path, str(context.get("error", detail["msg"])))
        case "literal_error" | "enum":
            return Fault(path, _choice(value, re.findall(r"'([^']*)'", context["expected"]), otherwise=context["expected"]))
        case "union_tag_invalid":
            key = context["discriminator"].strip("'")
            return Fault((*path, key), _choice(context["tag"], re.findall(r"'([^']*)'", context["expected_tags"]), otherwise=""))
        case "union_tag_not_found":
            return Fault(path, f"{context['discriminator']} is missing")
        case "too_short":
            return Fault(path, f"expected at least {context['min_length']} of them, found {shown(value)}")
        case "string_pattern_mismatch":
            return Fault(path, f"found {shown(value)}; {_description(fields) or detail['msg']}")
    if kind in _BOUNDS:
        return Fault(path, f"{_BOUNDS[kind].format(**{name: f'{bound:.10g}' for name, bound in context.items()})}, found {shown(value)}")
    if kind.startswith("model") and models:
        return Fault(path, f"expected a group of fields ({', '.join(fields_in(models))}), found {shown(value)}")
    if expected := _EXPECTED.get(kind.partition("_")[0]):
        return Fault(path, f"expected {expected}, found {shown(value)}")
    return Fault(path, f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, found {shown(value)}")


def _choice(value: Any, allowed: Sequence[str], *, otherwise: str) -> str:
    listed = ", ".join(allowed) or otherwise
    return f"found {shown(value)} (allowed: {listed}){did_you_mean(value, allowed) if isinstance(value, str) else ''}"


def _description(fields: Iterable[FieldInfo]) -> str:
    found = next((info.description for info in fields if info.description), "")
    return f"{found[:1].lower()}{found[1:].removesuffix('.')}"
