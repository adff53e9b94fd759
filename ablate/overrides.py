"""Arguments such as `seeds=5` or `connector.kind=avg_pool,c_abstractor` change what a study file says, before it is checked.

A key of the study sets that key; any other is a field of the trainer's config. One value goes into the base, several become the levels of
an axis, and a field that is an axis already gets the levels given. Values are YAML; problems are placed in the argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablate.compose import Composed
from ablate.errors import Problem, did_you_mean
from ablate.forms import FORMS, nested_at
from ablate.levels import same
from ablate.marked_yaml import ARGUMENT, Document, Marks, Path, Place, dotted, read, shown, visible
from ablate.study import Study

KEPT = ("when", "simplex", "min", "repeats")
"""What an axis keeps when an argument gives it other levels."""
STUDY_KEYS = tuple(info.alias or name for name, info in Study.model_fields.items())


def override(found: Composed, arguments: Sequence[str]) -> None:
    """Puts the arguments on top of a composed study; what cannot be read is noted as a problem."""
    seen: set[str] = set()
    for text in arguments:
        key, _, value = text.partition("=")
        file = f"{ARGUMENT}{visible(text)}"
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
    named = [path[:-1] for path in found.marks.values if path[:1] == ("base",) and path[-1] == "kind" and _by_argument(path, found)]
    found.before_kind |= {group: frozenset(_at(found.values, group)) for group in named}
    for group, keys in found.before_kind.items():
        found.before_kind[group] = frozenset(key for key in keys if not _by_argument((*group, key), found))


def _by_argument(path: Path, found: Composed) -> bool:
    """Whether an argument says it, or something inside it."""
    places = (place for inner, place in found.marks.values.items() if inner[: len(path)] == path)
    return any(place.file.startswith(ARGUMENT) for place in places)


def _set(found: Composed, key: str, value: Document, *, file: str) -> None:
    found.problems += value.problems
    if found.values is None or value.values is None or value.problems:
        return
    path, parsed = _place(found.values, key, value.values["value"])
    axis = _at(found.values, path) if path[0] == "axes" and isinstance(parsed, list) else None
    marks = Marks(file, keys={(): Place(file, 1, 1)})
    # a value written alone that becomes a list of one stands where the list does
    start = Place(file, 1, len(key) + 2)
    marks.values = {inner[1:]: place for inner, place in value.marks.values.items() if inner[:1] == ("value",)} | {(): start}
    marks.offsets = {inner[1:]: offset for inner, offset in value.marks.offsets.items() if inner[:1] == ("value",)}
    try:
        form, levels = _kept(axis, parsed, name=key) if isinstance(axis, Mapping) else ("", parsed)
        rest = {part: below for part, below in axis.items() if part in KEPT} if isinstance(axis, Mapping) and form else {}
        _put(found.values, path, rest | {form: levels} if form else levels)
    except ValueError as error:
        found.problems.append(Problem(file, 1, 1, str(error)))
        return
    path = (*path, form) if form else path
    found.marks.forget(path)
    found.marks.graft(path, marks)
    if form == "choices":  # a kind stands where the argument names it
        found.marks.values |= {(*path, kind): marks.value((place,)) for place, kind in enumerate(parsed) if isinstance(kind, str)}
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
    mix = axis and "simplex" in (_at(axes, axis) or {})
    if isinstance(parsed, list) or (isinstance(parsed, Mapping) and (set(parsed) & set(FORMS) or (axis and not mix))):
        return ("axes", *(axis or (key,))), parsed
    return (("axes", *axis), [parsed]) if axis else (("base", *key.split(".")), parsed)


def _at(values: Any, path: Path) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _kept(axis: Mapping[str, Any], levels: list[Any], *, name: str) -> tuple[str, Any]:
    """The key of an axis's form and what stands there when it has these levels; no key where a plain list says it all.

    Sources of mixes keep their order, kinds the axes under them, names the fields they set, and conditions hold on. Raises ValueError.
    """
    form = next((key for key in ("simplex", "choices", "levels", "zip", "when") if key in axis), "")
    below = axis.get(form)
    if form in ("choices", "levels") and (twice := [level for place, level in enumerate(levels) if level in levels[:place]]):
        raise ValueError(f"the level {shown(twice[0])} of {name} is given twice")
    if form == "choices" and isinstance(below, Mapping) and all(isinstance(kind, str) for kind in levels):
        return form, {kind: below.get(kind, {}) for kind in levels}
    if form == "levels" and isinstance(below, Mapping):
        return form, {level: below[level] for level in _known(levels, list(below), name=name)}
    if form == "zip" and isinstance(below, Mapping) and below and all(isinstance(values, list) for values in below.values()):
        first = next(iter(below.values()))
        places = [first.index(level) for level in _known(levels, first, name=name)]
        return form, {path: [values[place] for place in places if place < len(values)] for path, values in below.items()}
    return ("list" if form in ("simplex", "when") else ""), levels


def _known(levels: list[Any], names: list[Any], *, name: str) -> list[Any]:
    if unknown := [level for level in levels if not any(same(level, other) for other in names)]:
        listed = ", ".join(map(str, names))
        hint = did_you_mean(str(unknown[0]), [str(other) for other in names])
        raise ValueError(f"no level {shown(unknown[0])} on {name} ({listed}), whose levels set several fields{hint}")
    return levels


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
    end = len(text) + 1
    problems = [
        replace(problem, line=1, column=max((problem.column if problem.line == 1 else end) + to, 1)) for problem in document.problems
    ]
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
