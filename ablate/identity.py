"""Ids become what they are made of: a trial or a job explained, two compared, a stale one set against the present plan.

A job's id is the fingerprint of its identity (trainer, stage, version, config, seed where it enters, the jobs it reads), so two ids
differ exactly where their identities do.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ablate.deviations import moment
from ablate.difference import Moved, differences
from ablate.errors import InputError
from ablate.planned import Plan, Trial, job_identity
from ablate.stores import StaleTrial, Store, TrialRecord

MAX_CANDIDATES = 2_000
"""Ids among which a mistyped one is looked for."""
MAX_LISTED = 6
MAX_REASONS = 3


class Place(NamedTuple):
    """A trial in a study."""

    study: str
    trial: TrialRecord | Trial
    """From the store, or only planned."""
    state: str
    stale_since: float | None


@dataclass(frozen=True)
class StageView:
    """One stage of a trial, and the job that executes it."""

    stage: str
    job: str
    state: str
    identity: Mapping[str, Any] | None
    """None where the store is from before identities were kept."""
    trials: int
    """How many trials use the job, over all studies."""

    def to_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "job": self.job, "state": self.state, "trials": self.trials, "identity": self.identity}


@dataclass(frozen=True)
class Subject:
    """What an id stands for."""

    kind: Literal["trial", "job"]
    id: str
    stages: tuple[StageView, ...]
    """A job is the only stage of itself."""
    places: tuple[Place, ...] = ()
    """Where the trial stands, or the trials that use the job: those of present plans first."""

    @property
    def place(self) -> Place:
        return self.places[0]

    @property
    def also_in(self) -> tuple[str, ...]:
        """Further studies that hold the trial."""
        return tuple(dict.fromkeys(place.study for place in self.places[1:] if place.study != self.place.study))

    @property
    def fields(self) -> dict[str, Any]:
        """What two trials are compared by; nothing for a job."""
        return {"seed": self.place.trial.seed, **self.place.trial.config} if self.kind == "trial" else {}

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.id, "kind": self.kind}
        if self.kind == "trial":
            trial = self.place.trial
            shown |= {"study": self.place.study, "also_in": list(self.also_in), "state": self.place.state}
            shown |= {"arm": trial.arm, "seed": trial.seed, "changes": dict(trial.changes)}
        else:
            shown["used_by"] = [{"study": place.study, "trial": place.trial.id, "state": place.state} for place in self.places]
        return shown | {"stages": [stage.to_json() for stage in self.stages]}


@dataclass(frozen=True)
class StagePair:
    """A stage of two subjects side by side."""

    stage: str
    first: StageView | None
    second: StageView | None
    moved: tuple[Moved, ...] | None
    """Where the identities differ; None where one of them is not known."""

    @property
    def shared(self) -> bool:
        return self.first is not None and self.second is not None and self.first.job == self.second.job

    def to_json(self) -> dict[str, Any]:
        jobs = {"first": self.first.job if self.first else None, "second": self.second.job if self.second else None}
        moved = None if self.moved is None else [one.to_json() for one in self.moved]
        return {"stage": self.stage, **jobs, "shared": self.shared, "moved": moved}


@dataclass(frozen=True)
class Comparison:
    first: Subject
    second: Subject
    fields: tuple[Moved, ...]
    """Fields of the trainer's config, and the seed, that differ between two trials; empty where one of them is a job."""
    stages: tuple[StagePair, ...]

    @property
    def same(self) -> bool:
        """Whether both stand for the same jobs."""
        return all(pair.shared for pair in self.stages)

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "same": self.same,
            "fields": [moved.to_json() for moved in self.fields],
            "stages": [pair.to_json() for pair in self.stages],
        }


@dataclass(frozen=True)
class Explanation:
    subject: Subject
    stale: str
    """Why the trial is in no plan any more, in words; empty where it is in one."""
    present: Comparison | None
    """A stale trial against the one of the same arm and seed in the present plan, where there is one."""

    def to_json(self) -> dict[str, Any]:
        stale = None
        if self.stale:
            since = moment(self.subject.place.stale_since or 0.0)
            stale = {"since": since, "why": self.stale, "present": self.present.to_json() if self.present else None}
        return {**self.subject.to_json(), "stale": stale}


class Catalogue:
    """All ids that can be asked about: those of a store, and of a plan that need not be in it."""

    def __init__(self, store: Store | None, *, plans: Sequence[Plan] = ()) -> None:
        self._store, self._planned = store, {job.id: job for plan in plans for job in plan.jobs.values()}
        self._places: dict[str, list[Place]] = {}
        present, stale = _places(store)
        stored = {(place.study, place.trial.id) for place in present}
        planned = [Place(plan.study.name, trial, "planned", None) for plan in plans for trial in plan.trials]
        for place in (*present, *(place for place in planned if (place.study, place.trial.id) not in stored), *stale):
            self._places.setdefault(place.trial.id, []).append(place)
        self._jobs: dict[str, list[str]] = {}
        for trial, places in self._places.items():
            for job in places[0].trial.chain:
                self._jobs.setdefault(job, []).append(trial)
        self._uses = Counter({job: len(trials) for job, trials in self._jobs.items()})

    def find(self, text: str) -> Subject:
        """The trial or job of this id, or the only one whose id begins so. Raises InputError."""
        if text in self._places or text in self._jobs or (self._store and self._store.job_states([text])):
            return self._subject(text)
        ids = [known for known in (*self._places, *self._jobs) if text and known.startswith(text)]
        if len(ids) == 1:
            return self._subject(ids[0])
        raise InputError(_ambiguous(text, ids) if ids else _unknown(text, [*self._places, *self._jobs]))

    def trials(self, study: str) -> list[TrialRecord | Trial]:
        """The trials of a study's present plan."""
        return [place.trial for places in self._places.values() for place in places if place.study == study and place.stale_since is None]

    def present(self, subject: Subject) -> Subject | None:
        """For a stale trial, the one of the same arm and seed in its study's present plan."""
        study, old = subject.place.study, subject.place.trial
        found = (trial for trial in self.trials(study) if (trial.arm, trial.seed) == (old.arm, old.seed))
        trial = next(found, None)
        return self._subject(trial.id) if trial else None

    def _subject(self, known: str) -> Subject:
        if known in self._places:
            places = tuple(self._places[known])
            return Subject("trial", known, self._stages(places[0].trial.chain), places)
        users = (self._places[trial][0] for trial in self._jobs.get(known, ()))
        return Subject("job", known, self._stages([known]), tuple(users))

    def _stages(self, chain: Sequence[str]) -> tuple[StageView, ...]:
        states = self._store.job_states(chain) if self._store else {}
        identities = dict(self._store.identities(chain)) if self._store else {}
        for job in (self._planned[job] for job in chain if job in self._planned):
            identities[job.id] = job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs)
        return tuple(
            StageView(
                stage=job.rpartition("-")[0],
                job=job,
                state=states[job][0] if job in states else "planned",
                identity=identities.get(job),
                trials=self._uses[job],
            )
            for job in chain
        )


def explain(catalogue: Catalogue, text: str) -> Explanation:
    """Raises InputError for an id that is none, or the beginning of several."""
    subject = catalogue.find(text)
    if subject.kind == "job" or subject.place.stale_since is None:
        return Explanation(subject, stale="", present=None)
    present = catalogue.present(subject)
    if present:
        comparison = compare(subject, present)
        return Explanation(subject, stale=_moved_text(comparison.fields, comparison.stages), present=comparison)
    return Explanation(subject, stale=_left_out(subject.place.trial, catalogue.trials(subject.place.study)), present=None)


def compare(first: Subject, second: Subject) -> Comparison:
    """Field by field and stage by stage; two jobs are compared whatever their stages."""
    if first.kind == second.kind == "job":
        stages = [_pair(first.stages[0], second.stages[0])]
    else:
        ones, others = ({stage.stage: stage for stage in subject.stages} for subject in (first, second))
        wanted = ones if first.kind == "job" else others if second.kind == "job" else {**ones, **others}
        stages = [_pair(ones.get(name), others.get(name)) for name in wanted]
    both = first.kind == second.kind == "trial"
    return Comparison(first, second, differences(first.fields, second.fields) if both else (), tuple(stages))


def stale_reasons(stale: Sequence[StaleTrial], *, present: Sequence[TrialRecord], store: Store) -> dict[str, str]:
    """Stale trial -> why it is in its study's present plan no more, in words."""
    plan = {(trial.arm, trial.seed): trial for trial in present}
    old_and_new = [(one.trial, plan.get((one.trial.arm, one.trial.seed))) for one in stale]
    identities = store.identities(job for pair in old_and_new for trial in pair if trial for job in trial.chain)
    return {old.id: _reason(old, new, identities) if new else _left_out(old, present) for old, new in old_and_new}


def _places(store: Store | None) -> tuple[list[Place], list[Place]]:
    """The trials of all studies: those of present plans, and the stale ones."""
    if store is None:
        return [], []
    studies = [record.name for record in store.studies()]
    present = [Place(name, trial, trial.state, None) for name in studies for trial in store.trials(name)]
    stale = [Place(name, one.trial, "stale", one.since) for name in studies for one in store.stale_trials(name)]
    return present, stale


def _pair(first: StageView | None, second: StageView | None) -> StagePair:
    stage = first or second
    assert stage
    moved: tuple[Moved, ...] | None = None
    if first and second and first.job == second.job:
        moved = ()
    elif first and second and first.identity is not None and second.identity is not None:
        moved = differences(first.identity, second.identity)
    return StagePair(stage.stage, first, second, moved)


def _reason(old: TrialRecord, new: TrialRecord, identities: Mapping[str, Mapping[str, Any]]) -> str:
    def views(trial: TrialRecord) -> dict[str, StageView]:
        found = (StageView(job.rpartition("-")[0], job, "", identities.get(job), 0) for job in trial.chain)
        return {view.stage: view for view in found}

    ones, others = views(old), views(new)
    return _moved_text(differences(old.config, new.config), [_pair(ones.get(name), others.get(name)) for name in {**ones, **others}])


def _moved_text(fields: Sequence[Moved], stages: Sequence[StagePair]) -> str:
    """The fields of the config that moved, or else what moved in the stages apart from it."""
    said = [str(moved) for moved in fields]
    for pair in () if said else stages:
        if pair.first is None or pair.second is None:
            said.append(f"stage {pair.stage} {'is new' if pair.first is None else 'is gone'}")
        moved = [one for one in pair.moved or () if not one.path.startswith("needs")]  # they follow from the stages before
        said += [f"{pair.stage}: {one}" for one in moved]
    if not said:
        return "what moved is not known: its identity was recorded by an older version"
    more = f", and {len(said) - MAX_REASONS} more" if len(said) > MAX_REASONS else ""
    return ", ".join(said[:MAX_REASONS]) + more


def _left_out(old: TrialRecord | Trial, present: Iterable[TrialRecord | Trial]) -> str:
    """Why no trial of the plan has this arm and seed."""
    plan = list(present)
    if seeds := sorted({trial.seed for trial in plan if trial.arm == old.arm}):
        return f"seed {old.seed} is not in the plan any more ({', '.join(map(str, seeds))})"
    for axis, level in old.levels.items():
        levels = [trial.levels[axis] for trial in plan if axis in trial.levels]
        if plan and not levels:
            return f"axis {axis} is not in the plan any more"
        if levels and level not in levels:
            return f"level {level} of {axis} is not in the plan any more"
    return f"the plan has no arm '{old.arm}' any more"


def _ambiguous(text: str, ids: Sequence[str]) -> str:
    listed = ", ".join(ids[:MAX_LISTED]) + (", ..." if len(ids) > MAX_LISTED else "")
    return f"'{text}' is the beginning of {len(ids)} ids ({listed}); write more of it"


def _unknown(text: str, ids: Sequence[str]) -> str:
    near = [known for known in ids if known[:2] == text[:2]] or ids
    close = difflib.get_close_matches(text, near[:MAX_CANDIDATES], n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        f"no trial or job '{text}'{hint}; `ablate status STUDY` lists a study's trials, and --study FILE adds those that are only planned"
    )
