"""Which run has which seed, and what becomes of runs that share their levels and their seed.

Where no column says the seed, runs with the same levels are numbered in order of time, then name; a run that was imported before keeps
its number. Two finished runs with the same levels and seed contradict each other: which of them counts is for a person to say.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.imports.runs import Asked, Run, listed
from ablate.marked_yaml import visible
from ablate.model import MAX_SEED, Level
from ablate.quantities import counted

REPEATS = ("refuse", "last", "number")
"""What may be done about finished runs with the same levels and seed."""
HOW = (
    "what to do: --axis COLUMN tells runs apart where they differ in it, --repeats last keeps the last of each, "
    "--repeats number counts each as a seed of its own"
)


@dataclass(frozen=True)
class Resolved:
    """The runs that count, by their place among all."""

    runs: Sequence[Run]
    places: tuple[int, ...]
    seeds: Mapping[int, int]
    """Place -> seed."""
    problems: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Seeded:
    runs: Sequence[Run]
    column: str
    """The column of the seeds; empty where there is none."""
    given: Sequence[int] | None
    """Of each run; None where no column says it."""
    known: Mapping[str, int]
    """Run -> the seed it was given when it was imported before."""
    problems: list[str]
    notes: list[str]

    def resolved(self, levels: Mapping[str, Sequence[Level]], *, repeats: str, columns: Mapping[str, Sequence[Level]]) -> Resolved:
        """One run for each combination of levels and seed."""
        cells: dict[tuple[Level, ...], list[int]] = {}
        for place in range(len(self.runs)):
            cells.setdefault(tuple(values[place] for values in levels.values()), []).append(place)
        return self._numbered(cells) if self.given is None or repeats == "number" else self._by_seed(cells, repeats, columns)

    def _numbered(self, cells: Mapping[tuple[Level, ...], list[int]]) -> Resolved:
        seeds: dict[int, int] = {}
        for places in cells.values():
            taken = {self.known[self.runs[place].id] for place in places if self.runs[place].id in self.known}
            free = (number for number in range(len(places) + len(taken)) if number not in taken)
            for place in sorted(places, key=self._when):
                run = self.runs[place]
                seeds[place] = self.known[run.id] if run.id in self.known else next(free)
        most = max(map(len, cells.values()))
        how = "no column says the seed" if self.given is None else "--repeats number"
        numbered = f"runs with the same levels are numbered as seeds 0 to {most - 1}, in order of time and name"
        note = f"{how}: {numbered if most > 1 else 'each run is seed 0 of its levels'}"
        return Resolved(self.runs, tuple(sorted(seeds)), seeds, [], [note])

    def _by_seed(self, cells: Mapping[tuple[Level, ...], list[int]], repeats: str, columns: Mapping[str, Sequence[Level]]) -> Resolved:
        assert self.given is not None
        kept, problems, dropped, older = list[int](), list[str](), list[str](), list[str]()
        groups: dict[tuple[tuple[Level, ...], int], list[int]] = {}
        for cell, places in cells.items():
            for place in places:
                groups.setdefault((cell, self.given[place]), []).append(place)
        for (_, seed), places in groups.items():
            ordered = sorted(places, key=self._when)
            done = [place for place in ordered if self.runs[place].state == "done"]
            if len(done) > 1 and repeats == "refuse":
                problems.append(self._repeated(done, seed=seed, columns=columns))
            best = done[-1] if done else ordered[-1]
            kept.append(best)
            older += [self.runs[place].name for place in done[:-1]]
            dropped += [self.runs[place].name for place in ordered if place != best and place not in done]
        if problems:
            problems.append(HOW)
        said = {"that did not finish: dropped beside a repeat": dropped, "dropped for a later one with the same levels and seed": older}
        notes = [f"{counted(len(names), 'run')} {why}: {listed(names, most=5)}" for why, names in said.items() if names]
        return Resolved(self.runs, tuple(sorted(kept)), dict(enumerate(self.given)), problems, notes)

    def _repeated(self, places: Sequence[int], *, seed: int, columns: Mapping[str, Sequence[Level]]) -> str:
        differ = [name for name, values in columns.items() if len({repr(values[place]) for place in places}) > 1]
        how = f"; they differ in {listed(differ, most=5)}" if differ else "; no column tells them apart"
        return f"{listed((self.runs[place].name for place in places), most=6)} have the same levels and seed {seed}{how}"

    def _when(self, place: int) -> tuple[float, bool, str, int]:
        """Order of time where it is known, else of the source."""
        run = self.runs[place]
        return (run.started if run.started is not None else math.inf, False, "" if run.started is None else run.name, place)


def seeded(runs: Sequence[Run], columns: Mapping[str, Sequence[Level]], *, asked: Asked, known: Mapping[str, int]) -> Seeded:
    """The seeds as a column says them: the one asked for, `seed`, or the only one whose last part is that."""
    close = [name for name in columns if name.rpartition(".")[2].rpartition("/")[2].lower() == "seed"]
    column = asked.seed or ("seed" if "seed" in columns else close[0] if len(close) == 1 else "")
    problems, notes = list[str](), list[str]()
    if not column:
        if len(close) > 1:
            problems.append(f"--seed-column is missing: which of them is the seed? ({listed(close)})")
        return Seeded(runs, "", None, known, problems, notes)
    values = columns[column]
    if column != "seed" and not asked.seed:
        notes.append(f"the seed is the column {visible(column)}")
    absent = [run.name for run, value in zip(runs, values, strict=True) if value is None]
    if len(absent) == len(runs):
        return Seeded(runs, "", None, known, problems, notes)
    if absent:
        problems.append(
            f"{counted(len(absent), 'run')} without {visible(column)}: {listed(absent, most=5)}; give every run a seed, or none"
        )
    odd = [value for value in values if value is not None and not _is_seed(value)]
    if odd:
        problems.append(f"column {visible(column)}: '{visible(str(odd[0]))}' is no seed, a whole number from 0 to {MAX_SEED}")
    given = None if absent or odd else [int(value or 0) for value in values]
    return Seeded(runs, column, given, known, problems, notes)


def _is_seed(value: Level) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer() and 0 <= value <= MAX_SEED
