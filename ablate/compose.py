"""Files become the mapping of one study: what `extends` and `base` name is put in place, each value keeping where it stands.

What a child writes replaces what its parent wrote, key by key; `base` is merged field by field and `axes` axis by axis.
"""

import importlib.resources
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ablate.errors import InputError, Problem, did_you_mean
from ablate.marked_yaml import MAX_BYTES, MAX_DEPTH, Fault, Marks, dotted, read, shown, visible
from ablate.marked_yaml import Path as KeyPath

MAX_EXTENDS = 10
SUITE_KEYS = ("schema", "name", "question", "studies")
EVERY_LEVEL = 99
"""Of nesting; more than any file may have."""


@dataclass
class Composed:
    """One file as plain values, with what went wrong on the way."""

    values: dict[str, Any] | None
    """None where nothing could be understood."""
    marks: Marks
    problems: list[Problem] = field(default_factory=list)
    base_known: bool = True
    """Whether all that the base is made of could be read."""
    parents_known: bool = True
    """Whether every study that it extends could be read."""
    before_kind: dict[KeyPath, frozenset[str]] = field(default_factory=dict)
    """Group whose `kind` a file or an argument names above those that did not -> keys from there: they may be another kind's settings."""

    def note(self, path: KeyPath, message: str) -> None:
        """Says it, unless something is wrong at that place already."""
        problem = self.marks.problem(Fault(path, message))
        if not any((problem.file, problem.line, problem.column) == (other.file, other.line, other.column) for other in self.problems):
            self.problems.append(problem)


class _Source(NamedTuple):
    """A file that may name others beside it."""

    name: str
    """As messages show it."""
    data: bytes
    folder: Traversable
    """Where a file it names is looked for first."""
    shown_folder: Path
    """That folder in messages."""
    root: Traversable
    """Folder of the study: nothing outside it is read."""


_Trail = tuple[str, ...]
"""Files on the way to this one."""


def compose(reference: str | Path) -> Composed:
    """The study in a file, or the shipped one of that name. Raises InputError where there is no such file, or it is a suite."""
    source = _find(str(reference))
    found = _study(source, trail=(source.name,))
    if found.values and "studies" in found.values and "axes" not in found.values:
        raise InputError([found.marks.problem(Fault(("studies",), "a suite, which lists studies; name one of them here", at_key=True))])
    return found


def compose_values(values: Mapping[str, Any], *, folder: Path) -> Composed:
    """The same for a study written in Python; files it names are looked for in `folder`. Raises InputError for what no file could say."""
    return _with_parents(Composed(_plain(values, ()), Marks()), _Source("study", b"", folder, folder, folder), trail=())


def _plain(value: Any, path: KeyPath) -> Any:
    """As a file has it: tuples and arrays are lists there, and numbers of numpy plain ones."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    here = f"study: {dotted(path)[:60]}" if path else "study"
    if len(path) > MAX_DEPTH:
        raise InputError(f"{here}...: nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise InputError(f"{here}: keys are text, found {shown(odd[0])}")
        return {key: _plain(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(inner, (*path, place)) for place, inner in enumerate(value)]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InputError(f"{here}: found {visible(repr(value))}; write numbers, texts, lists and mappings")
    return value


def suite_members(reference: str) -> tuple[str, ...] | None:
    """The studies a suite file lists, as references; None where the file is no suite. Raises InputError with every problem."""
    source = _find(reference)
    document = read(source.data, file=source.name)
    if not document.values or "studies" not in document.values:
        return None
    values, marks, problems = document.values, document.marks, list(document.problems)
    for key in values:
        if key not in SUITE_KEYS:
            message = f"unknown key '{visible(key)}' (allowed in a suite: {', '.join(SUITE_KEYS)}){did_you_mean(key, SUITE_KEYS)}"
            problems.append(marks.problem(Fault((key,), message, at_key=True)))
    if values.get("schema") != 1:
        problems.append(marks.problem(Fault(("schema",), "a suite begins with schema: 1")))
    listed = values["studies"]
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        problems.append(marks.problem(Fault(("studies",), "expected a list of study files, or names of shipped studies")))
        raise InputError(problems)
    members = []
    for place, name in enumerate(listed):
        try:
            members.append(_member(name, source))
        except ValueError as error:
            problems.append(marks.problem(Fault(("studies", place), str(error))))
    if len(set(members)) < len(members):
        problems.append(marks.problem(Fault(("studies",), "a study is listed twice")))
    if problems:
        raise InputError(problems)
    return tuple(members)


def _member(name: str, source: _Source) -> str:
    near = source.folder.joinpath(name)
    if _is_inside(name, source) and near.is_file():
        return str(near)
    shipped = shipped_studies()
    if name in shipped:
        return name
    listed = ", ".join(shipped)
    raise ValueError(f"'{visible(name)}' is no file beside the suite and no shipped study ({listed}){did_you_mean(name, shipped)}")


def shipped_studies() -> dict[str, Traversable]:
    """Name -> file, suites included."""
    return dict(_shipped(importlib.resources.files("studies")))


def _shipped(folder: Traversable, *, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml") and entry.name != "template.yaml":
            yield f"{prefix}{entry.name.removesuffix('.yaml')}", entry
        elif entry.is_dir() and entry.name != "bases" and not entry.name.startswith("__"):
            yield from _shipped(entry, prefix=f"{prefix}{entry.name}/")


def _find(reference: str) -> _Source:
    path = Path(reference)
    if path.is_file():
        return _Source(reference, _bytes(path), path.parent, path.parent, path.parent)
    studies, shipped = importlib.resources.files("studies"), shipped_studies()
    if reference in shipped:
        inner = reference.rpartition("/")[0]
        folder = studies.joinpath(inner) if inner else studies
        return _Source(reference, shipped[reference].read_bytes(), folder, Path("studies") / inner, studies)
    what = "is a folder, not a study file" if path.is_dir() else "is not a regular file" if path.exists() else "is no file here"
    listed = ", ".join(shipped)
    raise InputError(
        f"'{visible(reference)}' {what} and no shipped study ({listed}){did_you_mean(reference, shipped)}; name a file or one of these"
    )


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _study(source: _Source, *, trail: _Trail) -> Composed:
    return _with_parents(_read(source), source, trail=trail)


def _with_parents(found: Composed, source: _Source, *, trail: _Trail) -> Composed:
    """A study with its own base, and under all it says what its parent says."""
    _put_base(found, source)
    # two studies of one name would be one in the store, so that is never inherited
    return _extended(
        found, source, trail=trail, read_parent=_study, depth=lambda key: {"base": EVERY_LEVEL, "axes": 1, "name": -1}.get(key, 0)
    )


def _base(source: _Source, *, trail: _Trail) -> Composed:
    return _extended(_read(source), source, trail=trail, read_parent=_base, depth=lambda _: EVERY_LEVEL)


def _read(source: _Source) -> Composed:
    document = read(source.data, file=source.name)
    values = None if document.values is None else dict(document.values)
    return Composed(values, document.marks, list(document.problems), base_known=values is not None)


def _put_base(found: Composed, source: _Source) -> None:
    """Puts a base file in the place of its name, and under an inline base what it extends."""
    written = (found.values or {}).get("base")
    if isinstance(written, Mapping):
        inline = Composed(dict(written), found.marks.under(("base",)))
        base = _extended(inline, source, trail=(source.name,), read_parent=_base, depth=lambda _: EVERY_LEVEL)
    elif isinstance(written, str):
        try:
            opened = _open(written, source, among=_shipped_bases())
            if opened.name == source.name:
                raise ValueError(
                    f"a study is no base for itself: {source.name} -> {opened.name}; write the fields here, or name a base file"
                )
            base = _base(opened, trail=(source.name, opened.name))
        except ValueError as error:
            found.note(("base",), str(error))
            base = Composed({}, Marks(found.marks.file), base_known=False)
    else:
        return
    assert found.values is not None
    found.values["base"] = base.values or {}
    found.marks.graft(("base",), base.marks)
    found.before_kind |= {("base", *group): keys for group, keys in base.before_kind.items()}
    found.problems += base.problems
    found.base_known = base.base_known and base.parents_known


def _extended(
    found: Composed, source: _Source, *, trail: _Trail, read_parent: Callable[..., Composed], depth: Callable[[str], int]
) -> Composed:
    """The values with those of the file they extend under them. `depth`: levels of mappings merged below a key; none, and the child's
    value replaces the parent's; negative, and the key is not inherited."""
    if found.values is None or "extends" not in found.values:
        return found
    written = found.values.pop("extends")
    try:
        if not isinstance(written, str):
            raise ValueError("expected the name of a file to extend")
        opened = _open(written, source, among=_shipped_files() if read_parent is _study else _shipped_bases())
        if opened.name in trail:
            raise ValueError(f"files extend one another in a circle: {' -> '.join((*trail[trail.index(opened.name) :], opened.name))}")
        if len(trail) >= MAX_EXTENDS:
            raise ValueError(f"extends is more than {MAX_EXTENDS} files deep: {' -> '.join((*trail, opened.name))}")
    except ValueError as error:
        found.note(("extends",), str(error))
        found.base_known = found.parents_known = False
        return found
    parent = read_parent(opened, trail=(*trail, opened.name))
    if read_parent is _study and parent.values and "studies" in parent.values and "axes" not in parent.values:
        found.note(("extends",), f"{opened.name} is a suite, which lists studies; extend one of them")
        found.base_known = found.parents_known = False
        return found
    found.problems += parent.problems
    found.base_known = found.base_known and parent.base_known
    found.parents_known = parent.parents_known and parent.values is not None
    for key, value in (parent.values or {}).items():
        if depth(key) >= 0:
            _merge(found, found.values, (key,), value, parent.marks, depth=depth(key))
    for group, keys in parent.before_kind.items():
        places = parent.marks.under(group).values
        if inherited := {key for key in keys if found.marks.values.get((*group, key)) == places.get((key,))}:
            found.before_kind[group] = found.before_kind.get(group, frozenset()) | inherited
    return found


def _merge(found: Composed, into: dict[str, Any], path: KeyPath, value: Any, theirs: Marks, *, depth: int) -> None:
    """Gives `into` the parent's value where it has none; two mappings are merged `depth` levels down, unless their `kind` differs."""
    key = str(path[-1])
    if key not in into:
        into[key] = value
        found.marks.graft(path, theirs.under(path))
        return
    mine = into[key]
    if depth and isinstance(mine, Mapping) and isinstance(value, Mapping) and not _another_kind(mine, value):
        if "kind" in mine and "kind" not in value:
            found.before_kind[path] = frozenset(value) - frozenset(mine)
        merged = dict(mine)
        for inner, below in value.items():
            _merge(found, merged, (*path, inner), below, theirs, depth=depth - 1)
        # in the parent's order, so that axes stay where the parent has them
        into[key] = {name: merged[name] for name in dict.fromkeys((*value, *merged))}


def _another_kind(mine: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    kinds = mine.get("kind"), value.get("kind")
    return all(isinstance(kind, str) for kind in kinds) and kinds[0] != kinds[1]


def _is_inside(written: str, source: _Source) -> bool:
    parts = PurePosixPath(written).parts
    inside = bool(parts) and not os.path.isabs(written) and ".." not in parts and "\\" not in written and "\0" not in written
    if inside and isinstance(source.folder, Path) and isinstance(source.root, Path):
        return (source.folder / written).resolve().is_relative_to(source.root.resolve())  # a link may lead out
    return inside


def _shipped_bases() -> list[str]:
    entries = importlib.resources.files("studies").joinpath("bases").iterdir()
    return sorted(f"bases/{entry.name}" for entry in entries if entry.name.endswith(".yaml"))


def _shipped_files() -> list[str]:
    return [f"{name}.yaml" for name in shipped_studies()]


def _open(written: str, source: _Source, *, among: Sequence[str]) -> _Source:
    """A file beside the one that names it, or `among` the shipped ones. Raises ValueError."""
    if not _is_inside(written, source):
        raise ValueError(f"'{visible(written)}' lies outside the study's folder; put the file beside the study")
    near = source.folder.joinpath(written)
    inner, shown_folder = PurePosixPath(written).parent, source.shown_folder
    if near.is_file():
        data = _bytes(near) if isinstance(near, Path) else near.read_bytes()
        folder = source.folder.joinpath(str(inner))
        return _Source(str(shown_folder / written), data, folder, shown_folder / inner, source.root)
    if written in among:
        shipped = importlib.resources.files("studies")
        folder = shipped.joinpath(str(inner))
        return _Source(f"shipped studies/{written}", shipped.joinpath(written).read_bytes(), folder, Path("studies") / inner, shipped)
    what = "bases" if among == _shipped_bases() else "studies"
    looked = f"looked for {visible(str(shown_folder / written), limit=200)} and among the shipped {what} ({', '.join(among)})"
    raise ValueError(f"no file '{visible(written)}': {looked}{did_you_mean(written, among)}")
