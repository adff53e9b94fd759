"""A trial that goes on from the weights of another: population based training copies them, and what comes out is another trial.

Its last stage needs one stage more, the weights it starts from, named after the job that had them and the step. So its identity says
where it went on from, and a number reached by copied weights is never that of a trial trained from scratch, whose config it shares.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ablate.fingerprint import LENGTH, fingerprint, slug
from ablate.planned import Job, Plan, job_identity
from ablate.planner import wanted_trials
from ablate.weights import WEIGHTS

FROM = "from"
"""Among a trial's changes: `<trial>@<step>`, where it went on from."""


class Donor(NamedTuple):
    """Who had the weights, and when."""

    trial: str
    job: str
    step: int

    @property
    def label(self) -> str:
        """Short: a trial that went on from another one would carry the whole line of them in its name."""
        return f"{self.trial.rpartition('-')[2]}@{self.step}"


class _Taken(NamedTuple):
    """The stage that stands for another job's state at a step; fields as `ablate.trainers.Stage` says."""

    config: Mapping[str, Any]
    name: str = WEIGHTS
    needs: tuple[str, ...] = ()
    version: str = "1"
    seeded: bool = False
    num_params: int = 0
    embedding_params: int = 0
    active_params: int = 0
    total_params: int = 0
    train_flops: float = 1.0
    """Nothing is computed; 0 would say that nobody knows."""
    memory_bytes: float = 1.0


def continued(plan: Plan, donor: Donor) -> Plan:
    """The plan of one trial, as one that goes on from the donor."""
    (trial,) = plan.trials
    *upstream, last = trial.chain
    job, taken = plan.jobs[last], _Taken({"job": donor.job, "step": donor.step})
    weights = Job(_id(taken, job, needs={}), job.trainer, taken, 0, {}, job.resources, None)
    needs = {**job.needs, WEIGHTS: weights.id}
    final = replace(job, id=_id(job.spec, job, needs=needs), needs=needs)
    arm = f"{trial.arm},from {donor.label}"
    going_on = replace(
        trial,
        id=f"{slug(arm)}.s{trial.seed}-{final.id[-LENGTH:-4]}",
        arm=arm,
        changes={**trial.changes, FROM: f"{donor.trial}@{donor.step}"},
        chain=(*upstream, weights.id, final.id),
    )
    jobs = {name: plan.jobs[name] for name in upstream} | {weights.id: weights, final.id: final}
    return replace(plan, arms=(), trials=(going_on,), jobs=jobs)


def trials_to_choose(plan: Plan) -> int:
    """How many a search has still to decide on, none in a planned study: those that go on from others do not count."""
    if not plan.study.search:
        return 0
    return max(0, wanted_trials(plan.study) - sum(FROM not in trial.changes for trial in plan.trials))


def _id(stage: Any, job: Job, *, needs: Mapping[str, str]) -> str:
    return f"{stage.name}-{fingerprint(job_identity(stage, trainer=job.trainer, seed=job.seed, needs=needs))}"
