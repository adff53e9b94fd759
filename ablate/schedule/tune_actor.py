"""What a Tune actor does for one trial of a search: the stages nobody has run yet, then its own, telling Tune what it reports.

Tune hears of a report once the trainer has kept the checkpoint that follows it, so that a trial which is paused there goes on from there.
The last report comes after `done.json`: a trial that ran to its end is not ended early.
"""

import fcntl
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ray import tune

from ablate.artefacts import damage, set_aside
from ablate.attempt import AttemptContext, Origin, Outcome, read_outcome, write_outcome
from ablate.continued import Donor, continued
from ablate.design import arm_for
from ablate.planned import Job, Plan
from ablate.planner import make_plan
from ablate.schedule.early_stopping import ENDED, PROGRESS, ninth, reported
from ablate.schedule.worker import execute_watched
from ablate.search import goals
from ablate.study import Study
from ablate.weights import STATE, WEIGHTS, keep_weights
from ablate.workspace import Workspace

THREAD_SECONDS = 30
"""What a trial that Tune has ended gets to clean up in; after Ray's two seconds the next trial on this actor would be lost."""
CARRIED = "carried.json"


class Carried(NamedTuple):
    """What Tune's checkpoint of a trial says beside the state, so that the copy of it is known for one."""

    tune_id: str
    trial: str
    job: str
    step: int
    round: int
    """How often this trial, and what it went on from, was compared with others."""
    donor: tuple[str, str, int] | None
    """Where this trial went on from itself."""


class _EndedByTune(BaseException):
    """No failure of the trainer, which must not catch it, and no exit of its own."""


def run_trial(config: dict[str, Any], *, study: dict[str, Any], workspace: Workspace, origin: Origin) -> None:
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(THREAD_SECONDS)
    declared, checkpoint = Study.model_validate(study), tune.get_checkpoint()
    donor = donor_of(checkpoint, tune_id=_tune_id())
    plan = trial_plan(declared, config, donor=donor)
    *upstream, final = (plan.jobs[job] for job in plan.trials[0].chain)
    for job in upstream:
        with _one_at_a_time(workspace, job):
            if damage(workspace.artifacts / job.id) is not None:
                set_aside(workspace.artifacts / job.id)
                _build(job, checkpoint=checkpoint, workspace=workspace, origin=origin)
    number = workspace.newest_attempt(final.id)
    outcome = read_outcome(workspace.attempt(final.id, number))
    if outcome is None or outcome.state != "done":  # as another study may have done it before
        carried = _carried(checkpoint) if checkpoint else None
        told = {"study": declared, "trial": plan.trials[0].id, "donor": donor, "carried": carried}
        context: type[AttemptContext] = type("TuneContext", (_TuneContext,), told)
        outcome = execute_watched(final, workspace=workspace, number=number + 1, origin=origin, context_type=context)
    _or_raise(outcome)
    last = {point.key: point for point in outcome.metrics}
    values = {name: last[name].value for name in goals(declared) if name in last}
    step = max((point.step for point in outcome.metrics), default=0)
    tune.report(reported(values, step=step, study=declared) | {ENDED: True, "done": True})


def trial_plan(study: Study, config: Mapping[str, Any], *, donor: Donor | None) -> Plan:
    """The one trial that a suggestion, or a copy of another trial's weights, comes to."""
    plan = make_plan(study, [arm_for(study, config)])
    return plan if donor is None else continued(plan, donor)


def donor_of(checkpoint: tune.Checkpoint | None, *, tune_id: str) -> Donor | None:
    """Whose weights a trial of Tune's starts from: another one's where PBT has put its checkpoint in the place of the trial's own."""
    if checkpoint is None:
        return None
    carried = _carried(checkpoint)
    if carried.tune_id != tune_id:
        return Donor(carried.trial, carried.job, carried.step)
    return None if carried.donor is None else Donor(*carried.donor)


class _TuneContext(AttemptContext):
    """Tells Tune what the search looks at, and Tune may end the trial there."""

    study: Study
    trial: str
    donor: Donor | None
    carried: Carried | None
    """What was told last, by this trial or the one it goes on from."""
    _due: dict[str, Any] | None = None
    _asked = False

    def report(self, step: int, **metrics: float) -> None:
        if self._due and step > self._due["step"]:
            self._tell()
        super().report(step, **metrics)
        assert self.study.search
        wanted = goals(self.study)
        if any(name in metrics for name in wanted) and step < (self.study.search.max_steps or math.inf):
            # all of them each time: Tune keeps the last report only, and they may come at different steps
            last = self.journal.last
            values = {name: last[name].value for name in wanted if name in last}
            self._due, self._asked = reported(values, step=step, study=self.study), False

    def checkpoint(self, state: bytes) -> None:
        super().checkpoint(state)
        self._tell(state)

    def should_stop(self) -> bool:
        if self._asked:  # for the second time since its report: this trainer keeps no checkpoint after it
            self._tell()
        self._asked = self._due is not None
        return super().should_stop()

    def _tell(self, state: bytes | None = None) -> None:
        due, self._due, self._asked = self._due, None, False
        assert self.study.search
        if due is None:
            return
        try:
            if self.study.search.stop_early == "pbt":
                self._offer(due, state)
            else:
                tune.report(due)
        except SystemExit as end:
            raise _EndedByTune from end

    def _offer(self, due: dict[str, Any], state: bytes | None) -> None:
        """A report with its weights, for others to go on from, at the first checkpoint in each ninth of the trial. Its time is a count: PBT
        lets all wait for ever where its next round falls on a step that they have behind them."""
        assert self.study.search
        before = (self.carried.step, self.carried.round) if self.carried else (0, 0)
        if state is None or ninth(due["step"], study=self.study) == ninth(before[0], study=self.study):
            return
        self.carried = Carried(_tune_id(), self.trial, self._job.id, due["step"], before[1] + 1, self.donor)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CARRIED).write_text(json.dumps(self.carried._asdict()), encoding="utf-8")
            (Path(folder) / STATE).write_bytes(state)
            tune.report(due | {PROGRESS: self.carried.round}, checkpoint=tune.Checkpoint.from_directory(folder))


def _build(job: Job, *, checkpoint: tune.Checkpoint | None, workspace: Workspace, origin: Origin) -> None:
    if job.spec.name != WEIGHTS:
        _or_raise(execute_watched(job, workspace=workspace, number=workspace.newest_attempt(job.id) + 1, origin=origin))
        return
    wanted = job.spec.config
    if checkpoint is None or _carried(checkpoint).job != wanted["job"]:  # its own state by now
        raise RuntimeError(f"the weights of {wanted['job']} at step {wanted['step']}, which it went on from, are damaged")
    with checkpoint.as_directory() as folder:
        keep_weights(job, (Path(folder) / STATE).read_bytes(), workspace=workspace)
    record, outcome = workspace.attempt(job.id, 1), Outcome(job.id, 1, "done", started=time.time())
    record.mkdir(parents=True, exist_ok=True)
    write_outcome(record, outcome)


def _carried(checkpoint: tune.Checkpoint) -> Carried:
    with checkpoint.as_directory() as folder:
        return Carried(**json.loads((Path(folder) / CARRIED).read_bytes()))


@contextmanager
def _one_at_a_time(workspace: Workspace, job: Job) -> Iterator[None]:
    """Trials that share a stage start together: the first builds it, the others wait for it."""
    (workspace.runs / job.id).mkdir(exist_ok=True)
    with open(workspace.runs / job.id / "building.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tune_id() -> str:
    return str(tune.get_context().get_trial_id())


def _or_raise(outcome: Outcome) -> None:
    if outcome.state != "done":
        raise RuntimeError(outcome.reason)
