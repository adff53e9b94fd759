"""What Tune calls while it runs: its searcher, its callbacks and its stopper, each of which finds the driver by the study's name."""

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ray.tune import Callback, Stopper
from ray.tune.search.optuna import OptunaSearch

from ablate.continued import Donor
from ablate.schedule.early_stopping import ENDED
from ablate.schedule.tune_actor import donor_of

MAX_DRAWS = 100
"""Of a trial that the study has not, before what is left is looked through."""
ITERATION = "training_iteration"
"""Under which Tune counts reports."""


class Driver(Protocol):
    stop: threading.Event

    def is_known(self, config: Mapping[str, Any]) -> bool: ...

    def started(self, name: str, config: Mapping[str, Any], donor: Donor | None) -> None: ...

    def reported(self, name: str, result: Mapping[str, Any]) -> None: ...

    def looked(self, trials: Sequence[Any]) -> None: ...

    def ended(self, name: str, *, failure: str | None = None) -> None: ...


# Tune pickles its callbacks, and a queue does not pickle: they hold a name and find the rest here, in the driver's process
driving: dict[str, Driver] = {}


class Suggestions(OptunaSearch):
    """Tells Optuna the values of trials that ran to their end, if they have every metric; Ray's own would tell half of them, and the
    last value of a trial that was ended early as if it were its final one."""

    def __init__(self, space: dict[str, Any], *, study: str, listed: Mapping[str, Sequence[Any]], **settings: Any) -> None:
        super().__init__(space, **settings)
        self._study, self._listed = study, listed
        self._given: list[Mapping[str, Any]] = []
        self._steps: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """No trial that the study has: what the sampler draws next, or the first that is left of a space of listed levels."""
        for _ in range(MAX_DRAWS):
            found = super().suggest(trial_id) or {}
            if self._is_new(found):
                self._given.append(found)
                return found
            self._forget(trial_id)
        for levels in itertools.product(*self._listed.values()) if self._listed else ():
            left = dict(zip(self._listed, levels, strict=True))
            if self._is_new(left):
                memory: Any = self._ot_study
                memory.enqueue_trial(left)
                self._given.append(left)
                return super().suggest(trial_id)
        return self.FINISHED

    def _is_new(self, config: Mapping[str, Any]) -> bool:
        return config not in self._given and not driving[self._study].is_known(config)

    def _forget(self, trial_id: str) -> None:
        """Optuna asked for this one, and it is not run."""
        super().on_trial_complete(trial_id, error=True)
        self._completed_trials.discard(trial_id)
        del self._ot_trials[trial_id]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        # by the trainer's steps: Tune's count starts anew where a trial that was paused goes on, maybe from a little before
        if result["step"] > self._steps.get(trial_id, -1):
            self._steps[trial_id] = result["step"]
            super().on_trial_result(trial_id, result | {ITERATION: result["step"]})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        several = isinstance(self.metric, list)
        values = [(result or {}).get(name) for name in (self.metric if several else [self.metric])]
        if any(value is None or not math.isfinite(value) for value in values):
            result, error = None, True
        elif result and not result.get(ENDED):
            result, error = None, error or several  # ended early, which Optuna knows of searches for one metric only
        super().on_trial_complete(trial_id, result=result, error=error)


class Reporter(Callback):
    def __init__(self, study: str) -> None:
        self._study = study

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        donor = donor_of(trial.checkpoint, tune_id=trial.trial_id)
        driving[self._study].started(trial.trial_id, trial.config, donor)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        driving[self._study].reported(trial.trial_id, result)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        driving[self._study].looked(trials)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        driving[self._study].ended(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        driving[self._study].ended(trial.trial_id, failure="its worker process died")


class StopWithRun(Stopper):
    def __init__(self, study: str) -> None:
        self._study = study

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.stop_all()

    def stop_all(self) -> bool:
        return self._study in driving and driving[self._study].stop.is_set()
