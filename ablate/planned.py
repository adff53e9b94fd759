"""What a plan is: trials, and the jobs they come down to once shared stages are counted once (`ablate.planner` makes it).

Light to import: whoever reads a store needs no study language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ablate.model import Level

if TYPE_CHECKING:
    from ablate.draft import Arm
    from ablate.study import Resources, Study
    from ablate.trainers import Stage


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to execute once, for every trial that agrees on it."""

    id: str
    """`<stage>-<fingerprint>`; also the name of its artefact and of its attempts' folder."""
    trainer: str
    spec: "Stage"
    seed: int
    needs: Mapping[str, str]
    """Stage name -> id of the job whose artefact this one reads."""
    resources: "Resources"
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
    study: "Study"
    arms: "tuple[Arm, ...]"
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


def job_identity(stage: "Stage", *, trainer: str, seed: int, needs: Mapping[str, str]) -> dict[str, Any]:
    """What a job's id is the fingerprint of; the seed is part of it only where it enters."""
    return {
        "trainer": trainer,
        "stage": stage.name,
        "version": stage.version,
        "config": stage.config,
        "seed": seed if stage.seeded else None,
        "needs": dict(needs),
    }


def settled_badly(study: "Study") -> tuple[str, ...]:
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
