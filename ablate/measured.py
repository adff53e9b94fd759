"""The store becomes what a plan would otherwise assume: throughput of each stage and noise between seeds. Reads only.

This study's own finished jobs come first; where it has none, those of other studies with the same trainer in the same store, unless both
name the device and it is another one.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ablate.cost import Throughput, devices_of
from ablate.detect import SeedNoise
from ablate.stores import Store, StudyRecord, TrialRecord
from ablate.study import Resources, Study


def measured_throughput(store: Store, study: Study) -> dict[str, Throughput]:
    """Stage -> FLOP/s of one device, all FLOPs over all seconds."""
    found: dict[str, Throughput] = {}
    for records in _groups(store, study):
        found = _throughput(store, records) | found  # the study's own stand
    return found


def measured_noise(store: Store, study: Study) -> SeedNoise | None:
    """SD over the seeds within an arm, pooled over all arms with two finished seeds; None where there is no such arm."""
    for records in _groups(store, study):
        if noise := _pooled(_arms(store, records, metric=study.metric.name)):
            return noise
    return None


def _groups(store: Store, study: Study) -> Iterator[list[StudyRecord]]:
    """This study's record, then those of the others."""
    alike = [record for record in store.studies() if record.spec.get("trainer") == study.trainer and _same_device(record, study)]
    yield [record for record in alike if record.name == study.name]
    yield [record for record in alike if record.name != study.name]


def _same_device(record: StudyRecord, study: Study) -> bool:
    written = record.spec.get("hardware") or {}
    ours = study.hardware.device if study.hardware else ""
    return not (ours and written.get("device")) or bool(ours == written["device"])


def _throughput(store: Store, records: Iterable[StudyRecord]) -> dict[str, Throughput]:
    seen: dict[str, tuple[float, float, int]] = {}
    jobs = {job.id: (job, _devices(record)) for record in records for job in store.jobs(record.name) if job.state == "done"}
    for job, devices in jobs.values():
        if job.seconds and job.train_flops > 0:
            flops, seconds, count = seen.get(job.stage, (0.0, 0.0, 0))
            seen[job.stage] = (flops + job.train_flops, seconds + job.seconds * devices, count + 1)
    return {stage: Throughput(flops / seconds, count) for stage, (flops, seconds, count) in seen.items()}


def _devices(record: StudyRecord) -> float:
    return devices_of(Resources.model_validate(record.spec.get("resources") or {}))


def _arms(store: Store, records: Iterable[StudyRecord], *, metric: str) -> Iterator[list[float]]:
    """The finite values of each arm's finished seeds."""
    for record in records:
        arms: dict[str, list[float]] = {}
        for trial in store.trials(record.name):
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
