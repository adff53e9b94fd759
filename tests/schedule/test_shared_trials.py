"""A search and a planned study that are run at once and want the same trials: each trial is executed once."""

import functools
import threading
import time
from collections.abc import Callable, Collection, Iterator

import pytest

from ablate.errors import EnvironmentMissing
from ablate.holding import planned_elsewhere
from ablate.record import Summary
from ablate.run import run_study
from ablate.schedule import Scheduler
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.faults.conftest import until

pytestmark = pytest.mark.xdist_group("ray")
AXES = {"connector": ["avg_pool", "attention_pool", "c_abstractor"], "image_size": [224, 336]}
BASE = {"steps": 4, "step_seconds": 0.5}


@pytest.fixture(scope="module")
def ray_slots() -> Iterator[int]:
    from ablate.schedule.ray_tasks import start_ray, stop_ray

    yield start_ray(address="local", slots=2)
    stop_ray()


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    store = open_store(workspace.store_url, write=True)
    yield store
    store.close()


@pytest.fixture
def run(workspace: Workspace, store: Store, ray_slots: int) -> Callable[..., Summary]:
    from ablate.schedule.ray_tasks import RayTasks
    from ablate.schedule.ray_tune import RayTune

    def opened(study: Study) -> Scheduler:
        if study.search is None:
            return RayTasks(workspace, slots=1)
        elsewhere = functools.partial(planned_elsewhere, study=study.name, store=store)
        return RayTune(workspace, study=study, past=store.trials(study.name), slots=1, elsewhere=elsewhere)

    def run(study: Study, *, stop: threading.Event | None = None, say: Callable[[str], None] = print) -> Summary:
        return run_study(study, store=store, workspace=workspace, open_scheduler=opened, stop=stop or threading.Event(), say=say)

    return run


def searching(**search: object) -> Study:
    return make_study(name="search", axes=AXES, base=BASE, design={"kind": "search", "trials": 6, "sampler": "random", **search})


@pytest.fixture
def planned(run: Callable[..., Summary], store: Store) -> Iterator[tuple[threading.Thread, threading.Event]]:
    """The run of a study of the same six trials, one at a time, which has begun."""
    stop = threading.Event()
    study = make_study(name="planned", axes=AXES, base=BASE, design={"kind": "grid"})
    thread = threading.Thread(target=run, args=[study], kwargs={"stop": stop})
    thread.start()
    try:
        until(lambda: bool(store.jobs("planned", state="running")), seconds=60)
        yield thread, stop
    finally:
        stop.set()
        thread.join()


def executions(workspace: Workspace) -> list[int]:
    return [len(list(job.glob("attempt-*"))) for job in workspace.runs.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["none", "asha"])
def test_search_waits_for_what_a_planned_run_is_to_do(
    rule: str, planned: tuple[threading.Thread, threading.Event], run: Callable[..., Summary], store: Store, workspace: Workspace
) -> None:
    thread, _ = planned
    said: list[str] = []
    summary = run(searching(stop_early=rule, max_steps=4), say=said.append)
    thread.join()
    assert any("waits: 'planned', which is being run, is to do a job of it" in text for text in said)
    assert summary.executed == 0
    for name in ("planned", "search"):
        assert {trial.state for trial in store.trials(name)} <= {"done", "cached"}
    assert executions(workspace) == [1] * 6


@pytest.mark.slow
def test_population_starts_once_nobody_else_is_to_do_a_job_of_it(workspace: Workspace, store: Store, ray_slots: int) -> None:
    """PBT draws between bounds, so only an upstream stage can be shared, whose run is played here by its answers."""
    from ablate.schedule.ray_tune import RayTune

    asked: list[float] = []

    def elsewhere(jobs: Collection[str]) -> str:
        asked.append(time.time())
        return "planned" if len(asked) <= 8 else ""

    def opened(study: Study) -> Scheduler:
        return RayTune(workspace, study=study, past=[], slots=ray_slots, elsewhere=elsewhere)

    study = make_study(
        axes={"peak_lr": {"log": [1e-7, 1e-2]}},
        base={"steps": 9},
        design={"kind": "search", "trials": 4, "sampler": "random", "stop_early": "pbt", "max_steps": 9},
    )
    run_study(study, store=store, workspace=workspace, open_scheduler=opened, stop=threading.Event())
    assert min(attempt.started for attempt in store.attempts(job.id for job in store.jobs("small"))) > asked[8]
    assert len(store.trials("small")) >= 4
    assert {trial.state for trial in store.trials("small")} <= {"done", "pruned"}


@pytest.mark.slow
def test_search_does_itself_what_the_planned_run_left(
    planned: tuple[threading.Thread, threading.Event], run: Callable[..., Summary], store: Store, workspace: Workspace
) -> None:
    thread, stop = planned
    threading.Timer(2.0, stop.set).start()
    run(searching())
    thread.join()
    assert [trial.state for trial in store.trials("search")].count("done") == 6
    done = [attempt for attempt in store.attempts(job.id for job in store.jobs("search")) if attempt.state == "done"]
    assert len(done) == len({attempt.job for attempt in done}) == 6


@pytest.mark.slow
def test_planned_study_is_refused_while_a_search_is_to_do_a_trial_of_it(run: Callable[..., Summary], store: Store) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=[searching()], kwargs={"stop": stop})
    thread.start()
    try:
        until(lambda: bool(store.studies()) and bool(store.jobs("search", state="running")), seconds=60)
        with pytest.raises(EnvironmentMissing, match=r"'planned' shares .* with 'search', which is being run"):
            run(make_study(name="planned", axes=AXES, base=BASE, design={"kind": "grid"}))
    finally:
        stop.set()
        thread.join()
