"""Arguments such as `seeds=5` or `connector.kind=avg_pool,c_abstractor` change what a study file says, before it is checked.

A key of the study sets that key; any other is a field of the trainer's config. One value goes into the base, several become the levels of
an axis, and a field that is an axis already gets the levels given. Values are YAML; problems are placed in the argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablate.compose import Composed
from ablate.errors import Problem
from ablate.forms import FORMS, nested_at
from ablate.reader import Document, Marks, Path, Place, dotted, read, shown, visible
from ablate.study import Study

STUDY_KEYS = tuple(info.alias or name for name, info in Study.model_fields.items())


def override(found: Composed, arguments: Sequence[str]) -> None:
    """Puts the arguments on top of a composed study; what cannot be read is noted as a problem."""
    seen: set[str] = set()
    for text in arguments:
        key, _, value = text.partition("=")
        file = f"argument {visible(text)}"
        if not all(key.split(".")):
            found.problems.append(Problem(file, 1, 1, "write KEY=VALUE, such as seeds=5 or train.steps=100"))
        elif not value.strip():
            found.problems.append(Problem(file, 1, len(key) + 2, "the value is missing; write KEY=VALUE"))
        elif key in seen:
            found.problems.append(Problem(file, 1, 1, f"'{visible(key)}' is given twice"))
        elif key == "extends":
            found.problems.append(Problem(file, 1, 1, "a study says in its file what it extends"))
        else:
            _set(found, key, _parsed(value, file=file, column=len(key) + 2), file=file)
        seen.add(key)


def _set(found: Composed, key: str, value: Document, *, file: str) -> None:
    found.problems += value.problems
    if found.values is None or value.values is None or value.problems:
        return
    path, parsed = _place(found.values, key, value.values["value"])
    marks = Marks(file, keys={(): Place(file, 1, 1)})
    # a value written alone that becomes a list of one stands where the list does
    start = Place(file, 1, len(key) + 2)
    marks.values = {inner[1:]: place for inner, place in value.marks.values.items() if inner[:1] == ("value",)} | {(): start}
    marks.offsets = {inner[1:]: offset for inner, offset in value.marks.offsets.items() if inner[:1] == ("value",)}
    try:
        _put(found.values, path, parsed)
    except ValueError as error:
        found.problems.append(Problem(file, 1, 1, str(error)))
        return
    found.marks.forget(path)
    found.marks.graft(path, marks)
    for end in range(1, len(path)):  # groups that only this argument speaks of
        found.marks.keys.setdefault(path[:end], Place(file, 1, 1))
        found.marks.values.setdefault(path[:end], start)


def _place(values: Mapping[str, Any], key: str, parsed: Any) -> tuple[Path, Any]:
    """Where in the study the argument's value belongs, and as what."""
    head, _, rest = key.partition(".")
    axes = values.get("axes")
    axis = nested_at(axes if isinstance(axes, Mapping) else {}, rest if head == "axes" and rest else key)
    if head == "axes" and rest:
        return ("axes", *(axis or (rest,))), parsed
    if head in STUDY_KEYS:
        return tuple(key.split(".")), [parsed] if key == "where" and isinstance(parsed, str) else parsed
    if isinstance(parsed, list) or (isinstance(parsed, Mapping) and (axis or set(parsed) & set(FORMS))):
        return ("axes", *(axis or (key,))), parsed
    return (("axes", *axis), [parsed]) if axis else (("base", *key.split(".")), parsed)


def _parsed(text: str, *, file: str, column: int) -> Document:
    """The text as YAML under the key `value`, `a,b` as a list; columns are those of the argument."""
    listed = _alone(f"value: [{text}]", file=file, to=column - len("value: [") - 1)
    values = (listed.values or {}).get("value")
    if isinstance(values, list) and len(values) > 1 and not listed.problems:
        return listed
    plain = _alone(f"value: {text}", file=file, to=column - len("value: ") - 1)
    return listed if plain.problems and not listed.problems else plain


def _alone(text: str, *, file: str, to: int) -> Document:
    """The document with its places moved by `to` columns; an argument is one value, whatever else its text would open."""
    document = read(text.encode(), file=file)
    for path, place in document.marks.values.items():
        document.marks.values[path] = place._replace(column=max(place.column + to, 1))
    problems = [replace(problem, column=max(problem.column + to, 1)) for problem in document.problems]
    if "\n" in text or set(document.values or {}) - {"value"}:
        problems.append(Problem(file, 1, max(to, 1), "an argument is one value on one line"))
    return Document(document.values, document.marks, tuple(problems))


def _put(values: dict[str, Any], path: Path, value: Any) -> None:
    """Sets a value, keeping what stands beside it. Raises ValueError where the path leads into something that is no group."""
    *groups, last = path
    here: dict[Any, Any] = values
    for depth, group in enumerate(groups, start=1):
        inner = here.get(group)
        if path[:depth] == ("design",) and isinstance(inner, str | None):
            inner = {"kind": inner or "grid"}
        if not isinstance(inner, Mapping | None):
            raise ValueError(
                f"{dotted(path[:depth])} is {shown(inner)} in the study, and has no {last}; write {dotted(path[:depth])}=... whole"
            )
        here[group] = dict(inner or {})
        here = here[group]
    here[last] = value
