"""Runs made elsewhere become a study: which columns are its axes, which run is which trial, and the declaration that says so.

What the study said when it was imported before holds again, unless it is asked for otherwise; then it would be another study.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from ablate.errors import InputError, did_you_mean
from ablate.imports.choice import applied, choose
from ablate.imports.names import axis_name, nested
from ablate.imports.placed import MAX_CONFIG, SIZES, Trial, make_trials, metric_names, unpaired
from ablate.imports.runs import Asked, Found, Run, clean, levels_of, listed, number_of, said
from ablate.imports.seeding import Resolved, seeded
from ablate.marked_yaml import visible
from ablate.model import Level
from ablate.quantities import counted
from ablate.study import Study
from ablate.trainers import IMPORTED

OTHERWISE = "import under another name with --as, or in its place with --replace"
FAR = 10.0
"""Bounds so many times apart are spaced by ratio."""


@dataclass(frozen=True)
class Known:
    """The study as an earlier import left it."""

    spec: Mapping[str, Any]
    axes: Mapping[str, Sequence[Level]]
    seeds: Mapping[str, int]
    """Run -> the seed it was given."""
    seed_column: str
    """Empty where no column said the seeds."""
    metric: str
    """As its source calls it."""


@dataclass(frozen=True)
class Declared:
    study: Study
    axes: Mapping[str, Sequence[Level]]
    """Axis -> its levels, the baseline first; none where they were drawn between bounds."""
    trials: tuple[Trial, ...]
    columns: Mapping[str, str]
    """Axis -> the column it was."""
    metric: str
    """As its source calls it; the study's may have another name."""
    seed_column: str
    """Empty where no column says the seeds."""
    left_out: Mapping[str, str]
    """Column -> why it is no axis."""
    notes: tuple[str, ...]


def declare(found: Found, asked: Asked, *, known: Known | None) -> Declared:
    """Raises InputError with every problem."""
    wanted = asked.metric
    asked, problems = _as_before(asked, found, known)
    notes = list(found.notes)
    runs, dropped = _usable(found, asked)
    notes += dropped
    # of a table, metrics are read that were asked for: the one it had is there only where nothing else was wanted
    if wanted in ("", asked.metric) and not any(asked.metric in run.metrics for run in runs if run.state == "done"):
        problems.append(_nothing_usable(found, asked))
    columns = {name: levels_of([run.config.get(name) for run in runs]) for name in found.columns}
    problems += _unknown_columns(asked, columns)
    if problems:
        raise said(problems, about=found.source)
    numbered = seeded(runs, columns, asked=asked, known=known.seeds if known else {})
    own = {name: values for name, values in columns.items() if name and name != numbered.column}
    forced = [name for name in (asked.size, asked.rate) if name]
    choice, wrong = choose(
        own,
        named=_before(own, known) or asked.axes,
        forced=forced,
        settings=found.settings,
        bounded=found.bounded,
        seeds=numbered.given,
        broken=[run.state in ("failed", "lost") for run in runs],
    )
    problems += wrong + numbered.problems + _law_columns(asked, columns)
    if problems:
        raise said(problems, about=found.source)
    names = _axis_names(choice.axes)
    drawn = {names[column] for column in choice.drawn}
    levels, said_of_absent = applied({names[column]: own[column] for column in choice.axes}, drawn=drawn)
    ordered, wrong = _levels(levels, asked=asked, names=names, drawn=drawn, known=known)
    kept = numbered.resolved(levels, repeats=asked.repeats, columns=own)
    problems += wrong + kept.problems
    if problems:
        raise said(problems, about=found.source)
    baselines = {axis: found_levels[0] for axis, found_levels in ordered.items()}
    study = _study(found, asked, names=names, ordered=ordered, drawn=drawn, kept=kept, levels=levels, columns=own)
    trials = make_trials(study, asked, kept=kept, levels=levels, columns=columns, names=names, baselines=baselines)
    notes += _renamed(runs, axes=levels)
    notes += [*_case_only(ordered), *said_of_absent, *numbered.notes, *kept.notes, *_not_finite(trials, asked)]
    notes += unpaired(trials, metric=asked.metric, drawn=drawn) if study.law is None else []
    if len(columns) > MAX_CONFIG:
        notes.append(f"of {len(columns):,} columns {MAX_CONFIG:,} are kept with each run, the axes among them")
    axes = {axis: [] if axis in drawn else list(found_levels) for axis, found_levels in ordered.items()}
    return Declared(
        study=study,
        axes=axes,
        trials=trials,
        columns={axis: column for column, axis in names.items()},
        metric=asked.metric,
        seed_column=numbered.column,
        left_out=choice.left_out,
        notes=tuple(notes),
    )


def _as_before(asked: Asked, found: Found, known: Known | None) -> tuple[Asked, list[str]]:
    """What is asked, with what the source and an earlier import say filled in; and where they contradict each other."""
    problems = []
    asked = replace(asked, metric=asked.metric or found.metric, goal=asked.goal or found.goal)
    if known:
        goal = known.spec["metric"]["goal"]
        for key, now, before in (("metric", asked.metric, known.metric), ("goal", asked.goal, goal)):
            if now and now != before:
                problems.append(f"'{asked.study}' was imported with --{key} {before}, not {now}; {OTHERWISE}")
        asked = replace(asked, metric=known.metric, goal=goal, question=asked.question or known.spec["question"])
        asked = replace(asked, seed=asked.seed or (known.seed_column if known.seed_column in found.columns else ""))
        law = known.spec.get("law")
        if law:
            by_name = {axis_name(name): name for name in found.columns}
            size = by_name.get(law["size"], "") if law["size"] != "num_params" else ""
            asked = replace(asked, rate=asked.rate or by_name.get(law["hyperparameter"], ""), size=asked.size or size)
        axes = list(dict.fromkeys((*(asked.axes or _before(found.columns, known)), *filter(None, (asked.size, asked.rate)))))
        if set(_axis_names(axes).values()) != set(known.axes):
            problems.append(f"'{asked.study}' was imported with the axes {listed(known.axes)}, not {listed(axes)}; {OTHERWISE}")
    problems += goal_problems(asked.goal)
    return asked, problems


def goal_problems(goal: str) -> list[str]:
    """What is wrong with the goal; nothing where it is one."""
    if goal in ("min", "max"):
        return []
    if goal:
        return [f"--goal {visible(goal)}: min or max{did_you_mean(goal, ('min', 'max'))}"]
    return ["--goal is missing: is a lower value of the metric better (min) or a higher one (max)?"]


def _usable(found: Found, asked: Asked) -> tuple[list[Run], list[str]]:
    """The runs to import; one that finished without the metric has failed."""
    runs, notes, lacking = list[Run](), list[str](), 0
    parents = [run.name for run in found.runs if run.is_parent and asked.metric not in run.metrics]
    if parents:
        notes.append(f"left out, since they only hold others together: {listed(parents, most=5)}")
    for run in found.runs:
        if run.is_parent and asked.metric not in run.metrics:
            continue
        if run.state == "done" and asked.metric not in run.metrics:
            run, lacking = replace(run, state="failed", reason=f"it finished and has no {asked.metric}"), lacking + 1
        runs.append(run)
    if lacking:
        notes.append(f"{counted(lacking, 'run')} finished without {visible(asked.metric)}, which counts as failed")
    return runs, notes


def _nothing_usable(found: Found, asked: Asked) -> str:
    states: dict[str, int] = {}
    for run in found.runs:
        states[run.state] = states.get(run.state, 0) + 1
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"no usable run: none of {len(found.runs):,} is finished and has {visible(asked.metric)} ({counts})"


def _unknown_columns(asked: Asked, columns: Mapping[str, Sequence[Level]]) -> list[str]:
    problems = []
    for option, names in (("seed-column", [asked.seed]), ("size", [asked.size]), ("rate", [asked.rate]), ("base", list(asked.base))):
        for name in names:
            if name and name not in columns:
                hint = did_you_mean(name, columns) if len(columns) < 5_000 else ""
                problems.append(f"--{option}: no column '{visible(name)}' ({listed(columns)}){hint}")
    return problems


def _law_columns(asked: Asked, columns: Mapping[str, Sequence[Level]]) -> list[str]:
    problems = []
    for option, name in (("size", asked.size), ("rate", asked.rate)):
        if not name:
            continue
        values = [value for value in columns.get(name, ()) if value is not None]
        odd = next((value for value in values if isinstance(value, bool | str) or not 0 < float(value or 0) < math.inf), None)
        if odd is not None:
            problems.append(f"--{option} {visible(name)}: '{visible(str(odd))}' is not a number above 0")
    if asked.rate and not asked.size and not any(name in columns for name in SIZES):
        problems.append(f"--rate needs a size: name its column with --size ({listed(columns)})")
    if asked.rate and asked.rate == asked.size:
        problems.append("--rate and --size name the same column")
    return problems


def _before(columns: Iterable[str], known: Known | None) -> tuple[str, ...]:
    """The columns that were axes when the study was imported before."""
    if known is None:
        return ()
    by_name = {axis_name(column): column for column in columns}
    return tuple(by_name.get(axis, axis) for axis in known.axes)


def _axis_names(columns: Sequence[str]) -> dict[str, str]:
    """Column -> axis, no two alike and none inside another."""
    found: dict[str, str] = {}
    for column in columns:
        name = plain = axis_name(column)
        number = 2
        while any(name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in found.values()):
            name, number = f"{plain.replace('.', '_')}_{number}", number + 1
        found[column] = name
    return found


def _levels(
    levels: Mapping[str, Sequence[Level]],
    *,
    asked: Asked,
    names: Mapping[str, str],
    drawn: set[str],
    known: Known | None,
) -> tuple[dict[str, list[Level]], list[str]]:
    """Axis -> its levels, the baseline first: the one asked for, the one it had, or that of most runs."""
    found, problems = dict[str, list[Level]](), list[str]()
    wanted = {names[column]: text for column, text in asked.base.items() if column in names}
    problems += [f"--base {visible(column)}: it is no axis ({listed(names)})" for column in asked.base if column not in names]
    for axis, values in levels.items():
        counts: dict[Level, int] = {}
        for value in values:
            if value is not None:
                counts[value] = counts.get(value, 0) + 1
        before = list(known.axes.get(axis, ())) if known else []
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in counts)
        ordered = sorted(counts, key=_as_number) if numeric else list(counts)
        first = before[0] if before else max(counts, key=counts.__getitem__)
        if axis in wanted:
            text = wanted[axis]
            match = next((value for value in counts if _is(value, text)), None)
            if match is None:
                problems.append(f"--base {axis}: no level '{visible(text)}' ({listed(ordered)}){did_you_mean(text, map(str, ordered))}")
            elif before and match != first:
                problems.append(f"--base {axis}: '{asked.study}' was imported with the baseline {first}; {OTHERWISE}")
            first = match if match is not None else first
        found[axis] = list(dict.fromkeys((first, *(value for value in before if value != first), *ordered)))
    return found, problems


def _is(value: Level, text: str) -> bool:
    number = number_of(text)
    if isinstance(value, bool):
        return str(value).lower() == text.strip().lower()
    return float(value) == number if isinstance(value, int | float) and number is not None else str(value) == text


def _as_number(value: Level) -> float:
    return float(value or 0)


def _study(
    found: Found,
    asked: Asked,
    *,
    names: Mapping[str, str],
    ordered: Mapping[str, Sequence[Level]],
    drawn: set[str],
    kept: Resolved,
    levels: Mapping[str, Sequence[Level]],
    columns: Mapping[str, Sequence[Level]],
) -> Study:
    """The declaration. Its design says how the arms lie: all combinations, some of them, or values that were drawn."""
    arms = {tuple(levels[axis][place] for axis in levels) for place in kept.places}
    complete = len(arms) == math.prod(len(found_levels) for found_levels in ordered.values())
    constant = {
        name: values[0] for name, values in list(columns.items())[:MAX_CONFIG] if name not in names and len(set(map(repr, values))) == 1
    }
    base = {name: value for name, value in constant.items() if value is not None} | {axis: each[0] for axis, each in ordered.items()}
    spec: dict[str, Any] = {
        "schema": 1,
        "name": asked.study,
        "question": clean(asked.question) or f"Imported: runs made elsewhere ({found.kind}: {found.source})",
        "trainer": IMPORTED,
        "base": nested(base),
        "axes": {axis: _bounds(levels[axis]) if axis in drawn else list(each) for axis, each in ordered.items()},
        "design": _design(drawn=bool(drawn), complete=complete, arms=len(arms)),
        "seeds": sorted({kept.seeds[place] for place in kept.places}),
        "metric": {"name": metric_names(levels)(asked.metric), "goal": asked.goal},
    }
    if asked.rate:
        spec["law"] = {"hyperparameter": names[asked.rate], "size": names[asked.size] if asked.size else "num_params"}
    try:
        return Study.model_validate(spec)
    except ValidationError as error:
        raise InputError("\n".join(_plainly(each["loc"], each["msg"], asked) for each in error.errors())) from None


def _plainly(place: tuple[int | str, ...], problem: str, asked: Asked) -> str:
    rule = "letters, digits, - _ . , up to 64; starts with a letter or digit and does not end with a dot"
    if place == ("name",):
        return f"--as {visible(asked.study)}: no name of a study ({rule})"
    return f"{'.'.join(map(str, place))}: {visible(problem, limit=300)}"


def _design(*, drawn: bool, complete: bool, arms: int) -> dict[str, Any]:
    if drawn:
        return {"kind": "search", "trials": min(arms, 100_000), "sampler": "random"}
    return {"kind": "grid"} if complete else {"kind": "grid", "sample": arms}


def _bounds(values: Sequence[Level]) -> dict[str, list[float]]:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    low, high = min(numbers), max(numbers)
    return {"log" if low > 0 and high / low >= FAR else "linspace": [low, high]}


def _case_only(ordered: Mapping[str, Sequence[Level]]) -> list[str]:
    found = []
    for axis, levels in ordered.items():
        seen: dict[str, Level] = {}
        for level in levels:
            first = seen.setdefault(str(level).casefold(), level)
            if first is not level and isinstance(level, str):
                found.append(f"{axis}: '{first}' and '{level}' differ in case only, and count as two levels")
    return found


def _renamed(runs: Sequence[Run], *, axes: Collection[str]) -> list[str]:
    rename = metric_names(axes)
    found = sorted({key for run in runs for key in run.metrics if rename(key) != clean(key)})
    return [
        f"the metric {visible(key)} is called {rename(key)} here, since an axis or a column of the results has its name" for key in found
    ]


def _not_finite(trials: Sequence[Trial], asked: Asked) -> list[str]:
    odd = sum(not math.isfinite(trial.run.metrics.get(asked.metric, 0.0)) for trial in trials)
    return [f"{counted(odd, 'run')} without a finite {visible(asked.metric)}: kept as it is, and part of no mean"] if odd else []
