"""Arms and seeds become a `Plan`: trials, and the jobs they come down to once shared stages are counted once.

A job's identity is what the author wrote for its stage, the code and data version, the seed where it enters, and the identity of the
stages before it. Nothing about the machine enters, so the same plan has the same ids everywhere and growth only adds jobs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.collector import paused_collector
from ablate.design import search_space
from ablate.draft import Arm
from ablate.fingerprint import LENGTH, CanonicalTexts, canonical, fingerprint_of, slug
from ablate.model import Level
from ablate.study import Resources, Study
from ablate.trainers import Stage, trainer_of

KEPT_STAGES = 10_000
CONFIG_FIRST = '{"config":'


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to execute once, for every trial that agrees on it."""

    id: str
    """`<stage>-<fingerprint>`; also the name of its artefact and of its attempts' folder."""
    trainer: str
    spec: Stage
    seed: int
    needs: Mapping[str, str]
    """Stage name -> id of the job whose artefact this one reads."""
    resources: Resources
    metric: str | None
    """The study's metric where this is a trial's last stage: without a finite value the job has failed. Not identity."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm with one seed."""

    id: str
    arm: str
    seed: int
    levels: Mapping[str, Level]
    changes: Mapping[str, Any]
    config: Mapping[str, Any]
    chain: tuple[str, ...]
    """Ids of its jobs in order; the last one's metrics are the trial's."""


@dataclass(frozen=True)
class Plan:
    study: Study
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """Every job once, upstream stages first."""

    @property
    def train_flops(self) -> float | None:
        """Of all jobs; None where a trainer does not know it of one."""
        flops = [job.spec.train_flops for job in self.jobs.values()]
        return sum(flops) if all(flops) else None

    @property
    def unshared_jobs(self) -> int:
        """Jobs there would be if every trial ran all its stages itself."""
        return sum(len(trial.chain) for trial in self.trials)


@paused_collector()
def make_plan(study: Study, arms: Sequence[Arm]) -> Plan:
    """Every arm with every seed; an arm's stages are asked for once, and a stage that no seed enters is named once."""
    trainer, namer = trainer_of(study), _Namer(study)
    trials = tuple(trial for arm in arms for trial in namer.trials(arm, trainer.stages(arm.settings)))
    return Plan(study=study, arms=tuple(arms), trials=trials, jobs=namer.jobs)


def is_simulated(study: Study) -> bool:
    """Whether the trainer says its results are simulated."""
    return bool(getattr(trainer_of(study), "SIMULATED", False))


def job_identity(stage: Stage, *, trainer: str, seed: int, needs: Mapping[str, str]) -> dict[str, Any]:
    """What a job's id is the fingerprint of; the seed is part of it only where it enters."""
    return {
        "trainer": trainer,
        "stage": stage.name,
        "version": stage.version,
        "config": stage.config,
        "seed": seed if stage.seeded else None,
        "needs": dict(needs),
    }


def settled_badly(study: Study) -> tuple[str, ...]:
    """States of jobs that wait for somebody to ask for them. A job that a search ended early is only settled for searches: any other study
    trains it to its end."""
    return ("failed", "pruned") if study.search else ("failed",)


def unfinished(plan: Plan, *, states: Mapping[str, str], artefacts: frozenset[str]) -> tuple[Job, ...]:
    """The jobs to execute, upstream first: last stages neither done nor failed, and what they read unless its artefact is there.

    A failed job stays failed until somebody asks for it again, and so does every trial that needs it.
    """
    wanted, settled = set[str](), settled_badly(plan.study)
    for trial in plan.trials:
        if states.get(trial.chain[-1]) != "done" and not any(states.get(job) in settled for job in trial.chain):
            _want(trial.chain[-1], plan.jobs, wanted, artefacts)
    return tuple(job for job in plan.jobs.values() if job.id in wanted)


def trial_state(chain: Sequence[str]) -> str:
    """A trial's state from those of its jobs in order. It runs when its own last stage runs: a shared encoder is no trial."""
    *upstream, final = chain
    if final == "done":
        return final
    return next((state for state in upstream if state in ("failed", "lost", "pruned")), final)


def plan_json(plan: Plan, *, states: Mapping[str, str], jobs: Mapping[str, str]) -> dict[str, Any]:
    """The plan as `ablate plan --json` answers it. `states`: trial id -> state; `jobs`: job -> state, for those the store knows."""
    cached = [job for job in plan.jobs if jobs.get(job) == "done"]
    return {
        "study": plan.study.name,
        "arms": [{"name": arm.name, "levels": dict(arm.levels), "changes": dict(arm.changes)} for arm in plan.arms],
        "trials": [
            {
                "id": trial.id,
                "arm": trial.arm,
                "seed": trial.seed,
                "changes": dict(trial.changes),
                "state": states[trial.id],
                "jobs": list(trial.chain),
            }
            for trial in plan.trials
        ],
        "jobs": [
            {
                "id": job.id,
                "stage": job.spec.name,
                "needs": list(job.needs.values()),
                "state": "cached" if jobs.get(job.id) == "done" else jobs.get(job.id, "queued"),
                # a stage without a language model has 0 parameters of one; of somebody else's nothing may be known
                "num_params": job.spec.num_params if job.spec.num_params or job.spec.total_params else None,
                "train_flops": job.spec.train_flops or None,
                "memory_bytes": job.spec.memory_bytes or None,
            }
            for job in plan.jobs.values()
        ],
        "totals": {
            "arms": len(plan.arms),
            "trials": len(plan.trials),
            "jobs": len(plan.jobs),
            "shared_jobs": plan.unshared_jobs - len(plan.jobs),
            "cached_jobs": len(cached),
            "train_flops": plan.train_flops,
        },
    }


def _want(job_id: str, jobs: Mapping[str, Job], wanted: set[str], present: frozenset[str]) -> None:
    wanted.add(job_id)
    for upstream in jobs[job_id].needs.values():
        if upstream not in present and upstream not in wanted:
            _want(upstream, jobs, wanted, present)


class _Namer:
    """Trials and their jobs while a plan is made; each job is kept once."""

    def __init__(self, study: Study) -> None:
        self.jobs: dict[str, Job] = {}
        self._study = study
        self._texts = CanonicalTexts()
        self._rests: dict[tuple[str, str], str] = {}
        self._unseeded: dict[int, tuple[Stage, str]] = {}
        """Jobs of stages that neither seeds nor other stages enter, by the stage's `id`: a trainer may name one stage for many arms."""

    def trials(self, arm: Arm, stages: Sequence[Stage]) -> Iterator[Trial]:
        label, metric = slug(arm.name), self._study.metric.name
        # canonical configs of the stages, written once for all seeds
        texts = [None if id(stage) in self._unseeded else self._texts.text(stage.config) for stage in stages]
        for seed in self._study.seeds:
            chain: dict[str, str] = {}
            for stage, text in zip(stages, texts, strict=True):
                chain[stage.name] = self._job(stage, text, seed, chain, metric if stage is stages[-1] else None)
            jobs = tuple(chain.values())
            yield Trial(f"{label}.s{seed}-{jobs[-1][-LENGTH:-4]}", arm.name, seed, arm.levels, arm.changes, arm.config, jobs)

    def _job(self, stage: Stage, text: str | None, seed: int, chain: Mapping[str, str], metric: str | None) -> str:
        """The id of the stage's job, which is new or known. `text`: the stage's config, written; None where the job is known."""
        if known := self._unseeded.get(id(stage)):
            return known[1]
        assert text is not None
        needs = {name: chain[name] for name in stage.needs}
        found = self._id(stage, text, seed=seed, needs=needs)
        if found not in self.jobs:
            own_seed = seed if stage.seeded else 0
            self.jobs[found] = Job(found, self._study.trainer, stage, own_seed, needs, self._study.resources, metric)
        if not (stage.seeded or stage.needs) and len(self._unseeded) < KEPT_STAGES:
            self._unseeded[id(stage)] = stage, found  # the stage is kept, so that its id stays its own
        return found

    def _id(self, stage: Stage, text: str, *, seed: int, needs: Mapping[str, str]) -> str:
        # the canonical text of `job_identity`, without writing the same things again for every seed and every arm
        names = ",".join([f'"{name}":"{job}"' for name, job in sorted(needs.items())])
        middle = f'"needs":{{{names}}},"seed":{seed if stage.seeded else "null"}'
        return f"{stage.name}-{fingerprint_of(f'{CONFIG_FIRST}{text},{middle},{self._rest(stage.name, stage.version)}')}"

    def _rest(self, name: str, version: str) -> str:
        if (name, version) not in self._rests:
            self._rests[name, version] = canonical({"stage": name, "trainer": self._study.trainer, "version": version})[1:]
        return self._rests[name, version]


def wanted_trials(study: Study) -> int:
    """Trials a search is to have in the end: as many as it asks for, or every arm there is."""
    assert study.search
    axes = search_space(study)
    arms = math.inf if any(axis.bounds for axis in axes) else math.prod(len(axis.levels) for axis in axes)
    return int(min(study.search.trials, arms))
