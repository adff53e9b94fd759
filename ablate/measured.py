"""A study's own finished trials replace what its plan would otherwise assume: throughput of each stage, noise between seeds. Reads only.

Nothing is borrowed from other studies: another model size, device or training length has another throughput and another noise.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ablate.cost import Throughput, devices_of
from ablate.detect import SeedNoise
from ablate.stores import AttemptRecord, Store, StudyRecord, TrialRecord
from ablate.study import Resources, Study

MODEL_NUMBER = re.compile(r"[a-z]+\d+\w*|\d{3,}\w*")
"""What tells one device from another in a name that a person gave it: the H100 in `one H100`."""
CPU = "CPU"
"""Stands in what an attempt has recorded of a processor."""


def measured_throughput(store: Store, study: Study) -> dict[str, Throughput]:
    """Stage -> FLOP/s of one device, all FLOPs over all seconds on the device that the study ran on last.

    Nothing where that cannot be the one that the study is to run on now: by the name it is declared under, then and now, or by what the
    attempts found there. Where the trainer does not know its FLOPs, what a job took on average stands for it.
    """
    record = store.study(study.name)
    if record is None or _device(record) != (study.hardware.device if study.hardware else ""):
        return {}
    jobs = {job.id: job for job in store.jobs(study.name) if job.state == "done" and job.seconds}
    ran_on = {attempt.job: (attempt.started, _found_device(attempt)) for attempt in store.attempts(jobs) if attempt.state == "done"}
    _, last = max(ran_on.values(), default=(0.0, ""))
    if last and not _may_be(last, study):
        return {}
    devices, seen = _devices(record), dict[str, tuple[float, float, int]]()
    for job in jobs.values():
        if ran_on.get(job.id, (0.0, ""))[1] == last:
            flops, seconds, count = seen.get(job.stage, (0.0, 0.0, 0))
            seen[job.stage] = (flops + job.train_flops, seconds + (job.seconds or 0.0) * devices, count + 1)
    return {stage: Throughput(flops / seconds or None, count, seconds / count) for stage, (flops, seconds, count) in seen.items()}


def measured_noise(store: Store, study: str, *, metric: str) -> SeedNoise | None:
    """SD over the seeds within an arm, pooled over all arms with two finished seeds; None where there is no such arm."""
    return _pooled(_arms(store, study, metric=metric))


def _device(record: StudyRecord) -> str:
    device: str = (record.spec.get("hardware") or {}).get("device", "")
    return device


def _found_device(attempt: AttemptRecord) -> str:
    """The device that the attempt ran on, as it found it; empty where that was not kept."""
    found = (attempt.details or {}).get("devices") or [""]
    return str(found[0])


def _may_be(found: str, study: Study) -> bool:
    """Whether a device that was found is what the study asks for now and declares."""
    if (CPU in found) == bool(study.resources.gpus):
        return False
    declared, known = (study.hardware.device if study.hardware else "").casefold(), re.sub(r"\W", "", found.casefold())
    return all(number in known for number in MODEL_NUMBER.findall(declared))


def _devices(record: StudyRecord) -> float:
    return devices_of(Resources.model_validate(record.spec.get("resources") or {}))


def _arms(store: Store, study: str, *, metric: str) -> Iterator[list[float]]:
    """The finite values of each arm's finished seeds."""
    arms: dict[str, list[float]] = {}
    for trial in store.trials(study):
        value = _final(trial, metric)
        if value is not None:
            arms.setdefault(trial.arm, []).append(value)
    yield from arms.values()


def _final(trial: TrialRecord, metric: str) -> float | None:
    value: Any = _metrics_of(trial).get(metric)
    return value if value is not None and math.isfinite(value) else None


def _metrics_of(trial: TrialRecord) -> Mapping[str, float | None]:
    return trial.metrics if trial.state in ("done", "cached") else {}


def _pooled(arms: Iterable[list[float]]) -> SeedNoise | None:
    squares, df, count = 0.0, 0, 0
    for values in arms:
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            df, count = df + len(values) - 1, count + 1
    if not squares:
        return None  # seeds that all agree are no measurement of noise
    return SeedNoise(math.sqrt(squares / df), "measured", count, df)
