"""Stores filled by the synthetic trainer, in this process: what the pages are tested on. Every study is simulated."""

import itertools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.draft import Arm
from ablate.planned import Job
from ablate.planner import make_plan
from ablate.record import Recorder
from ablate.schedule import Started
from ablate.schedule.local import LocalScheduler
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.trainers import trainer_of
from ablate.workspace import Workspace

EVIL = "<img src=x onerror=alert(1)>"

MIX = {
    "name": "mix",
    "question": "Which data mix helps few-shot most?",
    "axes": {"mix": ["45:45:10", "90:0:10", "0:90:10", "30:60:10"], "connector": ["avg_pool", "c_abstractor"]},
    "metric": {"name": "score/4", "goal": "max"},
    "claims": [
        {"axis": "mix", "level": "90:0:10", "expect": "decreases"},
        {"axis": "connector", "expect": "equivalent", "within": 1.0},
        {"axis": "mix", "level": "45:45:10", "against": "90:0:10", "metric": "score/0", "expect": "increases"},
    ],
    "seeds": [0, 1, 2],
}
LAW = {
    "name": "rates",
    "question": "How does the best learning rate fall with size?",
    "axes": {"num_params": [1e7, 3e7, 1e8, 3e8], "peak_lr": [1.2e-4, 2.4e-4, 4.8e-4, 9.6e-4, 1.92e-3]},
    "metric": {"name": "loss", "goal": "min"},
    "law": {"hyperparameter": "peak_lr", "size": "num_params", "target": 30e9},
    "seeds": [0, 1],
}
LIVE = {
    "name": "live",
    "question": f"Is {EVIL} harmless?",
    "axes": {"image_size": [224, 336, 448]},
    "metric": {"name": "score/8", "goal": "max"},
    "claims": [{"axis": "image_size", "expect": "increases"}],
    "seeds": [0, 1],
}


class Writer:
    """One study's run, a job at a time, so that a test decides when the next one ends."""

    def __init__(self, spec: Mapping[str, Any], *, workspace: Workspace, base: Mapping[str, Any] | None = None) -> None:
        study = Study.model_validate({"schema": 1, "trainer": "synthetic", **spec})
        workspace.create()
        self.store = open_store(workspace.store_url, write=True)
        self.name = study.name
        self._workspace = workspace
        plan = make_plan(study, arms_of(study, base=base or {}))
        self._recorder = Recorder(plan, store=self.store, workspace=workspace, axes=study.axes, simulated=True)
        self._left = list(self._recorder.missing())

    def start(self) -> Job:
        """The next job is running, nothing more."""
        self._recorder.apply(Started(self._left[0].id, 1))
        return self._left[0]

    def finish(self, count: int | None = None) -> "Writer":
        """Runs the next `count` jobs to their end, or all."""
        now = self._left if count is None else self._left[:count]
        self._left = self._left[len(now) :]
        for event in LocalScheduler(self._workspace).run(now, attempts={}, stop=threading.Event()):
            self._recorder.apply(event)
        return self


def arms_of(study: Study, *, base: Mapping[str, Any]) -> Sequence[Arm]:
    trainer, first = trainer_of(study), {axis: levels[0] for axis, levels in study.axes.items()}
    arms = []
    for values in itertools.product(*study.axes.values()):
        levels = dict(zip(study.axes, values, strict=True))
        changes = {axis: level for axis, level in levels.items() if level != first[axis]}
        name = ",".join(f"{axis}={level}" for axis, level in changes.items()) or "base"
        settings = trainer.Config.model_validate({**base, **levels})
        arms.append(Arm(name=name, levels=levels, changes=changes, config=settings.model_dump(mode="json"), settings=settings))
    return arms


def fill(folder: Path) -> Store:
    """Three studies: one with verdicts and some failures, one with a law, one in the middle of its run."""
    workspace = Workspace(folder)
    Writer(MIX, workspace=workspace, base={"fail": "raise:0.12"}).finish()
    Writer(LAW, workspace=workspace, base={"noise_sd": 0.004}).finish()
    live = Writer(LIVE, workspace=workspace).finish(3)
    live.start()
    live.store.add_event(live.name, "run started")
    return live.store
