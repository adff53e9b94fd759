"""Text of docs/zoo-fields.md: every field of the zoo's config, from its JSON Schema; the words are the docstrings below the fields."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel

from ablate.explain import models_in_fields
from model_zoo.config import Config

GUIDE = Path(__file__).parent.parent / "docs" / "zoo-fields.md"
HEAD = """\
# The fields of the zoo

Every field of a study with `trainer: model_zoo`, with its default. A path such as `decoder.width` is written so in `axes` and as an
argument (`decoder.width=96`), and nested in `base` (`decoder: {width: 96}`); what is left out has its default. Limits between two fields,
such as heads that divide a width, are checked by `ablate validate`, which names the nearest value that would do. [zoo.md](zoo.md) says what
the kinds and stages are. This page is made from the code by `python -m tests.test_docs`, and a test compares them.
"""
_SCHEMA = Config.model_json_schema()
_DEFINITIONS: dict[str, Any] = _SCHEMA["$defs"]
_KIND = "kind"
Row = tuple[str, str, str, str]
"""Cells: field, may be, default, is."""


def fields_guide() -> str:
    """A table for each group of fields; a group that stands at several places is described at the first."""
    places: dict[tuple[str, ...], list[str]] = {}
    _find_groups(_SCHEMA["properties"], prefix="", places=places)
    _add_bounds(Config)
    top = _table(_row(name, about, places=places) for name, about in _SCHEMA["properties"].items())
    return "\n".join([HEAD, top, *(_section(models, places=places) for models in places)])


def _add_bounds(model: type[BaseModel]) -> None:
    """Those of numbers, which pydantic leaves out of the schema where something is checked before them."""
    for name, info in model.model_fields.items():
        about = _DEFINITIONS.get(model.__name__, _SCHEMA)["properties"][name]
        for bound in info.metadata:
            match bound:
                case Gt():
                    about["exclusiveMinimum"] = bound.gt
                case Ge():
                    about["minimum"] = bound.ge
                case Le():
                    about["maximum"] = bound.le
        for inner in models_in_fields([info]):
            _add_bounds(inner)


def _find_groups(fields: dict[str, Any], *, prefix: str, places: dict[tuple[str, ...], list[str]]) -> None:
    """Adds the models of each group and the paths at which it stands, parents first."""
    for name, about in fields.items():
        models, path = _models(about), f"{prefix}{name}"
        if not models or path in places.get(models, ()):  # kinds of one union share groups
            continue
        places.setdefault(models, []).append(path)
        if len(places[models]) == 1:
            for model in models:
                _find_groups(_DEFINITIONS[model]["properties"], prefix=f"{path}.", places=places)


def _models(about: dict[str, Any]) -> tuple[str, ...]:
    """Those whose fields stand below this one; none for a value."""
    names = [option["$ref"].rpartition("/")[2] for option in _options(about) if "$ref" in option]
    return tuple(name for name in names if _DEFINITIONS[name]["type"] == "object")


def _options(about: dict[str, Any]) -> list[dict[str, Any]]:
    options: list[dict[str, Any]] = about.get("oneOf") or about.get("anyOf") or [about]
    return [option for option in options if option.get("type") != "null"]


def _section(models: tuple[str, ...], *, places: dict[tuple[str, ...], list[str]]) -> str:
    path, *others = places[models]
    said = [] if len(models) > 1 else [_line(_DEFINITIONS[models[0]]["description"].partition("\n\n")[0])]
    if others:
        said.append(f"The same fields stand under {_listed(others)}.")
    rows: dict[Row, list[str]] = {}  # each with the kinds that have it
    for model in models:
        fields = _DEFINITIONS[model]["properties"]
        for name, about in fields.items():
            if name != _KIND:
                row = _row(f"{path}.{name}", about, places=places, required=name in _DEFINITIONS[model].get("required", ()))
                rows.setdefault(row, []).append(fields[_KIND]["default"] if _KIND in fields else "")
    table = _table(rows) if len(models) == 1 else _union_table(path, rows)
    return "\n".join([f"## `{path}`", "", *said, *([""] if said else []), table])


def _union_table(path: str, rows: dict[Row, list[str]]) -> str:
    kinds = list(dict.fromkeys(kind for own in rows.values() for kind in own))
    default = getattr(Config.model_fields[path].default, _KIND)
    first: Row = (f"`{path}.{_KIND}`", _listed(kinds), f"`{default}`", "Which one.")
    if all(own == kinds for own in rows.values()):
        return _table([first, *rows])
    cells = {row: "" if own == kinds else _listed(own) for row, own in rows.items()}
    return _table([(*first[:1], "", *first[1:]), *((*row[:1], own, *row[1:]) for row, own in cells.items())])


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    columns = ("field", *(("only of",) if len(rows[0]) == 5 else ()), "may be", "default", "is")
    return "".join(f"| {' | '.join(row)} |\n" for row in (columns, ("---",) * len(columns), *rows))


def _row(path: str, about: dict[str, Any], *, places: dict[tuple[str, ...], list[str]], required: bool = False) -> Row:
    models = _models(about)
    allowed = f"[fields of its own](#{places[models][0].replace('.', '')})" if models else _allowed(about)
    return (f"`{path}`", allowed, "required" if required else _default(about), _line(about["description"]))


def _default(about: dict[str, Any]) -> str:
    value, models = about["default"], _models(about)
    if value is None:
        return "none"
    if not models:
        return f"`{_written(value)}`"
    inner = _DEFINITIONS[models[0]]["properties"]
    changed = {name: part for name, part in value.items() if name != _KIND and part != inner.get(name, {}).get("default")}
    return f"`{{{', '.join(f'{name}: {_written(part)}' for name, part in changed.items())}}}`" if changed else ""


def _written(value: Any) -> str:
    """As in a study file."""
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _allowed(about: dict[str, Any]) -> str:
    """Values that are no group."""
    (option,) = _options(about)
    if "$ref" in option:
        option = _DEFINITIONS[option["$ref"].rpartition("/")[2]]
    if "enum" in option:
        return _listed(option["enum"])
    match option["type"]:
        case "boolean":
            return _listed(["true", "false"])
        case "array":
            return f"a list, {'one or more of' if 'minItems' in option else 'any of'}: {_allowed(option['items'])}"
        case "string":
            return "text"
        case "integer":
            return " ".join(["a whole number", *_bounds(option, whole=True)])
        case _:
            return " ".join(["a number", *_bounds(option, whole=False)])


def _bounds(option: dict[str, Any], *, whole: bool) -> Iterator[str]:
    lowest = option.get("multipleOf") or option.get("minimum", 1 if whole and "exclusiveMinimum" in option else None)
    if lowest is not None:
        yield f"from {lowest}"
    elif "exclusiveMinimum" in option:
        yield f"above {option['exclusiveMinimum']}"
    if "maximum" in option:
        yield f"to {option['maximum']}"
    if "multipleOf" in option:
        yield f"in steps of {option['multipleOf']}"


def _listed(values: list[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
