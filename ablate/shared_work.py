"""Two studies that are run at once in one workspace want no job in common: both would execute it, in one folder."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.design import arm_for, search_space
from ablate.errors import EnvironmentMissing, InputError
from ablate.planned import Plan, job_identity
from ablate.planner import make_plan
from ablate.stores import Store, StudyRecord
from ablate.study import Study

_NOTHING = object()
"""In the place of a value that a config has not."""


def refuse_shared_work(plan: Plan, store: Store) -> None:
    """Raises EnvironmentMissing where another study that is being run is to do a job of this plan, or where one of the two is a search that
    may come upon a trial of the other. Two searches may share the stages before their last one: they take turns at those."""
    for other in store.studies():
        if other.active and other.name != plan.study.name:
            if shared := _shared(plan, other, store=store):
                raise EnvironmentMissing(
                    f"'{plan.study.name}' shares {len(shared)} unfinished jobs, such as {shared[0]}, with '{other.name}', which is being "
                    f"run: start it when that has ended (`ablate status {other.name}`), or let one run do both: ablate run {other.name} "
                    f"{plan.study.name}"
                )
            if met := _may_meet(plan, other, store=store):
                raise EnvironmentMissing(
                    f"a search may come upon a trial of the other study: '{plan.study.name}' and '{other.name}', which is being run, have "
                    f"{met}; start it when that has ended (`ablate status {other.name}`), or keep it in a workspace of its own: --workspace"
                )


def _shared(plan: Plan, other: StudyRecord, *, store: Store) -> list[str]:
    return [job.id for job in store.jobs(other.name) if job.id in plan.jobs and job.state in _to_do(other)]


def _to_do(study: StudyRecord) -> tuple[str, ...]:
    """States of jobs that its run executes; what a search has ended early, another study trains to its end."""
    return ("queued", "running") if _searches(study) else ("queued", "running", "pruned")


def _searches(study: StudyRecord) -> bool:
    return any(block["kind"] == "search" for block in study.spec["design"])


def _may_meet(plan: Plan, other: StudyRecord, *, store: Store) -> str:
    """What a search and the other study have in common; empty where neither is a search, or they cannot meet."""
    if not (plan.study.search or _searches(other)) or plan.study.trainer != other.spec["trainer"]:
        return ""
    if plan.study.search and _searches(other):
        return "trials in common that either may suggest" if _same_trials(plan.study, Study.model_validate(other.spec)) else ""
    if plan.study.search:
        unfinished = [job.id for job in store.jobs(other.name) if job.state in _to_do(other)]
        met = list(within_reach(plan.study, store.identities(unfinished)))
    else:
        states = store.job_states(plan.jobs)
        todo = {
            name: job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs)
            for name, job in plan.jobs.items()
            if states.get(name, ("queued", 0))[0] in ("queued", "running", "pruned")
        }
        met = list(within_reach(Study.model_validate(other.spec), todo))
    return f"{len(met)} such jobs, {met[0]} for one" if met else ""


def _same_trials(one: Study, other: Study) -> bool:
    """Whether two searches may come upon the same job, with which a trial of one of them ends, whatever comes after it in the other."""
    if not set(one.seeds) & set(other.seeds):
        return False
    mine, theirs = _reach(one), _reach(other)
    pairs = [(mine[stage], theirs[stage]) for stage in mine.keys() & theirs.keys() if mine[stage].is_last or theirs[stage].is_last]
    return any(a.anything or b.anything or _differing(a.config, b.config) <= a.varied | b.varied for a, b in pairs)


def within_reach(search: Study, identities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The jobs among these (id -> what it is the fingerprint of) that the search may come to: those that differ from a job of its base in
    nothing but what its axes change, one at a time. One that lies between the levels, or beyond the bounds, is not told apart."""
    reach = _reach(search)
    for name, identity in identities.items():
        stage = reach.get((identity["stage"], identity["version"]))
        if stage and identity["trainer"] == search.trainer and identity["seed"] in (None, *search.seeds):
            if stage.anything or _differing(dict(_leaves(identity["config"])), stage.config) <= stage.varied:
                yield name


@dataclass
class _Reach:
    """What the configs of one stage may be in a search."""

    config: Mapping[str, Any]
    """In one of its arms, by leaf."""
    varied: set[str] = field(default_factory=set)
    """Leaves that some level of some axis changes."""
    anything: bool = False
    is_last: bool = False
    """Some trial ends with this stage."""


def _reach(search: Study) -> dict[tuple[str, str], _Reach]:
    """By name and version of the stage."""
    found, alone = dict[tuple[str, str], _Reach](), True
    for levels in ({}, *({axis.name: level} for axis in search_space(search) for level in axis.bounds or axis.labels)):
        try:
            arm = arm_for(search, levels)
        except InputError:  # this level is only there together with another axis's, and nobody knows what it changes
            alone = False
            continue
        plan = make_plan(search, [arm])
        for job in plan.jobs.values():
            config = dict(_leaves(job.spec.config))
            reach = found.setdefault((job.spec.name, job.spec.version), _Reach(config))
            reach.varied |= _differing(config, reach.config)
            reach.is_last |= job.id == plan.trials[0].chain[-1]
    for reach in found.values():
        reach.anything = not alone
    return found


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {path for path in one.keys() | other.keys() if one.get(path, _NOTHING) != other.get(path, _NOTHING)}


def _leaves(config: Any, *, at: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted path -> value; a list is one value."""
    if not isinstance(config, Mapping):
        return [(at, config)]
    return [leaf for name, value in config.items() for leaf in _leaves(value, at=f"{at}.{name}" if at else str(name))]
