"""The machines of a stage beyond the worker's own: on each a Ray task starts what the worker starts on its own (`model_zoo.launcher`).

The attempt holds a Ray placement group with a bundle for each machine, and is itself in the first.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from model_zoo.launcher import END_SECONDS, ProcessLost, launched


@contextlib.contextmanager
def launched_on(number: int, environment: Mapping[str, str]) -> Iterator[Callable[[], bool]]:
    """The launcher of a machine from 1 on, with all that is reserved there: what says whether it has ended. Dead at the end."""
    group = ray.util.get_current_placement_group()
    if group is None:
        raise RuntimeError("ABLATE_HOSTS names several machines, and the attempt has no placement group of Ray's that reserves them")
    asked = group.bundle_specs[number]
    options = {
        "num_cpus": asked.get("CPU", 0),
        "num_gpus": asked.get("GPU", 0),
        "memory": int(asked.get("memory", 0)) or None,
        "max_retries": 0,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
    }
    task = ray.remote(**options)(_launch).remote(number, dict(environment))

    def has_ended() -> bool:
        if not ray.wait([task], timeout=0)[0]:
            return False
        try:
            ray.get(task)
        except RayError as error:  # what kept it from starting is told nowhere else
            raise ProcessLost(f"machine {number + 1} started nothing: {error}") from error
        return True

    try:
        yield has_ended
        ray.wait([task], timeout=END_SECONDS)
    finally:
        ray.cancel(task, force=True)


def _launch(number: int, environment: Mapping[str, str]) -> None:
    with launched(number, environment) as process:
        process.wait()
