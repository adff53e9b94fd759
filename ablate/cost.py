"""A plan and its hardware become a `Cost`: jobs, FLOPs, hours, money and memory, of the whole and of what is left; nothing is executed.

A job of F FLOPs on g devices takes F / (rate g) seconds, where `rate` is the FLOP/s of one device: measured over finished jobs of that
stage where there are any (start and evaluation included, as they were), else peak times utilisation. A job without GPUs occupies one
device, a fraction shares one. Where a trainer does not know its FLOPs, a job takes what finished jobs of that stage took, on average.
What is not known is None, never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ablate.collector import paused_collector
from ablate.planned import Plan, settled_badly
from ablate.quantities import GIB
from ablate.study import Budget, Hardware, Resources
from ablate.trainers import Stage


@dataclass(frozen=True)
class Throughput:
    """What one device does in one stage, over all the jobs together."""

    flops_per_second: float | None
    """None where the FLOPs are not known."""
    num_jobs: int
    device_seconds: float = 0.0
    """Of one job, on average; 0 where none was measured."""

    def seconds_of(self, flops: float | None) -> float | None:
        """Device-seconds of a job with so many FLOPs, as far as anybody knows."""
        if flops and self.flops_per_second:
            return flops / self.flops_per_second
        return self.device_seconds or None


@dataclass(frozen=True)
class Span:
    """Smallest and largest over the jobs of a stage."""

    low: int
    high: int


@dataclass(frozen=True)
class StageCost:
    """All jobs of one stage."""

    stage: str
    jobs: int
    to_run: int
    num_params: Span
    embedding_params: Span
    active_params: Span
    total_params: Span
    train_flops: float | None
    flops_to_run: float | None
    memory_bytes: float | None
    """Peak of the largest job, on each of its devices."""
    throughput: float | None
    """FLOP/s of one device."""
    origin: Literal["measured", "assumed", "unknown"]
    measured_over: int
    """Jobs the throughput was measured over; 0 where it is not."""
    seconds_per_job: float | None
    """Mean over the jobs."""
    device_hours: float | None
    device_hours_to_run: float | None


@dataclass(frozen=True)
class Cost:
    """Of the whole plan; `left` counts only what is not done yet."""

    arms: int
    trials: int
    trials_done: int
    jobs: int
    unshared_jobs: int
    """Jobs there would be if every trial ran all its stages itself."""
    estimated: bool
    """Whether trials are yet to be chosen (a search): then each is taken to be like the base."""
    begun: bool
    """Whether the study has run before, so that a run would go on with it."""
    stages: tuple[StageCost, ...]
    train_flops: float | None
    flops_left: float | None
    device_hours: float | None
    device_hours_left: float | None
    wall_hours_left: float | None
    """At least: the longest chain of jobs, or all of them over the places for jobs, whichever is longer."""
    hardware: Hardware | None
    devices_per_job: float
    money: float | None
    money_left: float | None
    memory_limit_bytes: float | None
    """What a job has: the device's memory, or its share of one."""

    @property
    def places(self) -> int | None:
        """Jobs at a time; 0 where one job needs more devices than there are."""
        return places_on(self.hardware, self.devices_per_job)

    @property
    def too_large(self) -> tuple[StageCost, ...]:
        """Stages whose largest job needs more memory than it has."""
        limit = self.memory_limit_bytes
        return () if limit is None else tuple(stage for stage in self.stages if stage.memory_bytes and stage.memory_bytes > limit)

    @property
    def _memory_known(self) -> bool:
        return all(stage.memory_bytes is not None for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        return {
            "estimated": self.estimated,
            "stages": [_stage_json(stage) for stage in self.stages],
            "train_flops": self.train_flops,
            "train_flops_left": self.flops_left,
            "device_hours": self.device_hours,
            "device_hours_left": self.device_hours_left,
            "wall_hours_left": self.wall_hours_left,
            "money": self.money,
            "money_left": self.money_left,
            "currency": self.hardware.currency if self.hardware else None,
            "peak_memory_bytes": max((stage.memory_bytes for stage in self.stages if stage.memory_bytes), default=None),
            "memory_limit_bytes": self.memory_limit_bytes,
            "exceeds_memory": None if self.memory_limit_bytes is None or not self._memory_known else bool(self.too_large),
        }


@dataclass(frozen=True)
class ToChoose:
    """Trials a search has yet to decide on, each taken to be like the base."""

    base: Plan
    """The base's one trial."""
    trials: int


@paused_collector()
def make_cost(
    plan: Plan,
    *,
    measured: Mapping[str, Throughput] | None = None,
    states: Mapping[str, str] | None = None,
    to_choose: ToChoose | None = None,
    begun: bool = False,
) -> Cost:
    """What a plan costs. `measured`: stage -> throughput; `states`: job -> state, for those the store knows."""
    hardware, per_job, states = plan.study.hardware, devices_of(plan.study.resources), states or {}
    work = _work(plan, to_choose, states)
    rates = {stage: _rate(stage, measured or {}, hardware) for stage in work}
    sharers = plan.study.resources.nodes * max(1, int(plan.study.resources.gpus))
    stages = tuple(_stage_cost(stage, parts, throughput=rates[stage], devices=per_job, sharers=sharers) for stage, parts in work.items())
    hours, left = _sum(stage.device_hours for stage in stages), _sum(stage.device_hours_to_run for stage in stages)
    price = hardware.price_per_hour if hardware else None
    more = to_choose.trials if to_choose else 0
    return Cost(
        arms=len(plan.arms),
        trials=len(plan.trials) + more,
        trials_done=sum(states.get(trial.chain[-1]) == "done" for trial in plan.trials),
        jobs=sum(stage.jobs for stage in stages),
        unshared_jobs=plan.unshared_jobs + (more * to_choose.base.unshared_jobs if to_choose else 0),
        estimated=more > 0,
        begun=begun,
        stages=stages,
        train_flops=_sum(stage.train_flops for stage in stages),
        flops_left=_sum(stage.flops_to_run for stage in stages),
        device_hours=hours,
        device_hours_left=left,
        wall_hours_left=_wall_hours(work, rates, hours=left, places=places_on(hardware, per_job), devices=per_job),
        hardware=hardware,
        devices_per_job=per_job,
        money=None if price is None or hours is None else price * hours,
        money_left=None if price is None or left is None else price * left,
        memory_limit_bytes=hardware.memory_gib * GIB * min(plan.study.resources.gpus or 1, 1) if hardware and hardware.memory_gib else None,
    )


def places_on(hardware: Hardware | None, devices: float) -> int | None:
    """Jobs of `devices` each at a time; None where nobody says what there is."""
    return int(hardware.devices / devices + 1e-9) if hardware else None


def devices_of(resources: Resources) -> float:
    """Devices a job occupies: its GPUs, a part of one, or one device where it asks for none, on each of its machines."""
    return resources.nodes * (resources.gpus or 1.0)


def over_budget(cost: Cost, budget: Budget) -> list[str]:
    """One sentence for each limit that the study breaks."""
    found = []
    if budget.trials is not None and cost.trials > budget.trials:
        found.append(f"the study has {cost.trials:,} trials, and budget.trials allows {budget.trials:,}")
    if budget.train_flops is not None:
        assert cost.train_flops is not None, "load.py asks for train_flops"
    if budget.train_flops is not None and cost.train_flops is not None and cost.train_flops > budget.train_flops:
        found.append(f"training takes {cost.train_flops:.3g} FLOPs, and budget.train_flops allows {budget.train_flops:.3g}")
    if budget.device_hours is not None:
        assert cost.device_hours is not None, "load.py asks for hardware and train_flops"
        if cost.device_hours > budget.device_hours:
            found.append(f"the study takes {cost.device_hours:,.4g} device-hours, and budget.device_hours allows {budget.device_hours:,g}")
    if budget.money is not None:
        assert cost.hardware, "load.py asks for hardware and its price"
        assert cost.money is not None
        if cost.money > budget.money:
            unit = cost.hardware.currency
            found.append(f"the study costs {cost.money:,.4g} {unit}, and budget.money allows {budget.money:,g} {unit}")
    wall = cost.wall_hours_left
    if budget.wall_minutes is not None and not cost.begun and wall is not None and 60 * wall > budget.wall_minutes:
        found.append(f"the study runs for at least {60 * wall:,.4g} minutes, and budget.wall_minutes allows {budget.wall_minutes:,g}")
    return found


class _Part(NamedTuple):
    """One job, or as many jobs like it as a search has yet to choose."""

    job: str
    spec: Stage
    needs: tuple[str, ...]
    """Jobs it reads."""
    jobs: int
    to_run: int


def _work(plan: Plan, to_choose: ToChoose | None, states: Mapping[str, str]) -> dict[str, list[_Part]]:
    """Stage -> its jobs. A search runs its last stage once a trial and, as far as anybody knows, what that reads once."""
    found: dict[str, list[_Part]] = {}
    ended = ("done", *settled_badly(plan.study))  # what failed waits for `ablate retry`
    for job in plan.jobs.values():
        left = int(states.get(job.id) not in ended)
        found.setdefault(job.spec.name, []).append(_Part(job.id, job.spec, tuple(job.needs.values()), 1, left))
    if to_choose and to_choose.trials:
        last = to_choose.base.trials[0].chain[-1]
        for job in to_choose.base.jobs.values():
            if job.id == last or job.id not in plan.jobs:
                copies = to_choose.trials if job.id == last else 1
                left = copies if job.id == last or states.get(job.id) not in ended else 0
                found.setdefault(job.spec.name, []).append(_Part(job.id, job.spec, tuple(job.needs.values()), copies, left))
    return found


def _rate(stage: str, measured: Mapping[str, Throughput], hardware: Hardware | None) -> Throughput | None:
    """Measured; else assumed, over no job; else nothing."""
    if stage in measured:
        return measured[stage]
    return Throughput(hardware.peak_flops * hardware.utilisation, 0) if hardware else None


def _peak(spec: Stage, sharers: int) -> float:
    """Bytes on each of so many devices."""
    shared: float = getattr(spec, "shared_bytes", 0.0)
    return spec.memory_bytes - shared * (1 - 1 / sharers)


def _stage_cost(stage: str, parts: Sequence[_Part], *, throughput: Throughput | None, devices: float, sharers: int) -> StageCost:
    specs, jobs, to_run = [part.spec for part in parts], sum(part.jobs for part in parts), sum(part.to_run for part in parts)
    flops = _sum(part.jobs * part.spec.train_flops or None for part in parts)
    left = None if flops is None else sum(part.to_run * part.spec.train_flops for part in parts)
    seconds = _sum(_times(part.jobs, _seconds(part.spec, throughput)) for part in parts)
    seconds_left = _sum(_times(part.to_run, _seconds(part.spec, throughput)) for part in parts)
    known = throughput is not None and seconds is not None
    return StageCost(
        stage=stage,
        jobs=jobs,
        to_run=to_run,
        num_params=_span(spec.num_params for spec in specs),
        embedding_params=_span(spec.embedding_params for spec in specs),
        active_params=_span(spec.active_params for spec in specs),
        total_params=_span(spec.total_params for spec in specs),
        train_flops=flops,
        flops_to_run=left,
        memory_bytes=max(_peak(spec, sharers) for spec in specs) if all(spec.memory_bytes for spec in specs) else None,
        throughput=throughput.flops_per_second if throughput and flops is not None else None,
        origin="unknown" if not (known and throughput) else "measured" if throughput.num_jobs else "assumed",
        measured_over=throughput.num_jobs if throughput else 0,
        seconds_per_job=None if seconds is None else seconds / devices / jobs,
        device_hours=None if seconds is None else seconds / 3600,
        device_hours_to_run=0.0 if not to_run else None if seconds_left is None else seconds_left / 3600,
    )


def _seconds(spec: Stage, throughput: Throughput | None) -> float | None:
    """Device-seconds of one job."""
    return throughput.seconds_of(spec.train_flops) if throughput else None


def _times(count: int, value: float | None) -> float | None:
    return None if value is None else count * value


def _wall_hours(
    work: Mapping[str, Sequence[_Part]],
    rates: Mapping[str, Throughput | None],
    *,
    hours: float | None,
    places: int | None,
    devices: float,
) -> float | None:
    """What no schedule can beat on the declared devices; None where a time or the number of devices is not known, or no job fits."""
    if hours is None or not places:
        return None
    ends: dict[str, float] = {}
    for stage, parts in work.items():  # upstream first
        for part in parts:
            begins = max((ends[up] for up in part.needs), default=0.0)
            lasts = (_seconds(part.spec, rates[stage]) or 0.0) / devices / 3600 if part.to_run else 0.0
            ends[part.job] = begins + lasts
    return max(max(ends.values(), default=0.0), hours / devices / places)


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _span(values: Iterable[int]) -> Span:
    found = list(values)
    return Span(min(found), max(found))


def _stage_json(stage: StageCost) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "jobs": stage.jobs,
        "to_run": stage.to_run,
        "train_flops": stage.train_flops,
        "train_flops_left": stage.flops_to_run,
        "flops_per_second": stage.throughput,
        "origin": stage.origin,
        "measured_over": stage.measured_over,
        "seconds_per_job": stage.seconds_per_job,
        "device_hours": stage.device_hours,
        "device_hours_left": stage.device_hours_to_run,
        "memory_bytes": stage.memory_bytes,
    }
