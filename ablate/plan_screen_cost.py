"""The part of a plan's screen that says what it takes: computation, parameters, time, money and memory."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.cost import Cost, Span, StageCost
from ablate.plan_screen_layout import heading, show_table, table_of
from ablate.quantities import bytes_text, counted, duration_text, large, money_text, scientific
from ablate.study import Budget

HARDWARE_HINT = "hardware: {device: NAME, peak_flops: FLOP/S, utilisation: 0.4, memory_gib: 80, price_per_hour: 2.5, devices: 8}"


def show_stages(out: Console, cost: Cost) -> None:
    known = all(stage.train_flops is not None for stage in cost.stages)
    heading(
        out,
        "Cost",
        ("estimated from formulas" if known else "as far as the trainer declares it, or it was measured")
        + (", taking each trial to be like the base" if cost.estimated else ""),
    )
    timed = any(stage.device_hours is not None for stage in cost.stages)
    times = ("one job", "device time") if timed else ()
    columns = ("stage", "jobs", "still to run", "FLOPs", *times, "peak memory", *(("from",) if timed else ()))
    table = table_of(*columns, right=columns[1:] if not timed else columns[1:-1])
    for stage in cost.stages:
        when = (duration_text(stage.seconds_per_job), duration_text(_seconds(stage.device_hours))) if timed else ()
        table.add_row(
            stage.stage,
            f"{stage.jobs:,}",
            f"{stage.to_run:,}",
            scientific(stage.train_flops),
            *when,
            bytes_text(stage.memory_bytes),
            *((_origin(stage),) if timed else ()),
        )
    if len(cost.stages) > 1:
        to_run = sum(stage.to_run for stage in cost.stages)
        when = ("", duration_text(_seconds(cost.device_hours))) if timed else ()
        table.add_row("together", f"{cost.jobs:,}", f"{to_run:,}", scientific(cost.train_flops), *when)
    show_table(out, table)


def show_parameters(out: Console, cost: Cost, *, simulated: bool) -> None:
    moe = any(stage.active_params != stage.num_params for stage in cost.stages)
    rest = "N counts the language model without embeddings and head" + ("; active N: what one token uses" if moe else "")
    heading(out, "Parameters", rest + ("; of the models that the simulation stands for" if simulated else ""))
    active = ("active N",) if moe else ()
    columns = ("stage", "N", *active, "embeddings and head", "all, encoder too")
    table = table_of(*columns, right=columns[1:])
    for stage in cost.stages:
        uses = (_span(stage.active_params),) if moe else ()
        table.add_row(stage.stage, _span(stage.num_params), *uses, _span(stage.embedding_params), _span(stage.total_params))
    show_table(out, table)


def show_totals(out: Console, cost: Cost, budget: Budget) -> None:
    heading(out, "Time, money and memory")
    rows = Table.grid(padding=(0, 3, 0, 0))
    if cost.hardware:
        rows.add_row("on", _hardware(cost))
    if cost.device_hours is not None:
        rows.add_row(
            "device time", _with_left(duration_text(_seconds(cost.device_hours)), duration_text(_seconds(cost.device_hours_left)), cost)
        )
    if cost.wall_hours_left is not None:
        at_a_time = counted(cost.places or 0, "job")
        short = "" if all(stage.origin == "measured" for stage in cost.stages) else "; training only, without start and evaluation"
        rows.add_row("until done", f"at least {duration_text(_seconds(cost.wall_hours_left))}, {at_a_time} at a time{short}")
    if cost.money is not None and cost.hardware:
        unit = cost.hardware.currency
        rows.add_row("money", _with_left(f"{money_text(cost.money)} {unit}", f"{money_text(cost.money_left or 0)} {unit}", cost))
    rows.add_row("memory", _memory(cost))
    if limits := _limits(cost, budget):
        rows.add_row("budget", limits)
    show_table(out, rows)
    if cost.hardware is None:
        what = "Hours are unknown" if cost.device_hours is None else "Money and the time until it is done are unknown"
        out.print(f"  {what}: say in the study what it is to run on, as in")
        out.print(f"  {HARDWARE_HINT}", soft_wrap=True)
    elif not cost.places:
        out.print(
            Text(f"  ! a job needs {cost.devices_per_job:g} devices, and hardware.devices is {cost.hardware.devices}", style="yellow"),
            soft_wrap=True,
        )


def _hardware(cost: Cost) -> str:
    hardware = cost.hardware
    assert hardware
    peak = f"{scientific(hardware.peak_flops)} FLOP/s at {hardware.utilisation:.0%}"
    price = "" if hardware.price_per_hour is None else f", {hardware.price_per_hour:g} {hardware.currency} an hour each"
    return f"{hardware.devices:,} × {hardware.device or 'device'}: {peak}{price}"


def _with_left(total: str, left: str, cost: Cost) -> str:
    begun = any(stage.to_run < stage.jobs for stage in cost.stages)
    return f"{total}, of which {left} are still to come" if begun else total


def _limits(cost: Cost, budget: Budget) -> str:
    """What a budget allows, beside what the study takes of it."""
    hours, money = cost.device_hours, cost.money
    parts = [
        f"{cost.trials:,} of {budget.trials:,} trials" if budget.trials is not None else "",
        f"{scientific(cost.train_flops)} of {scientific(budget.train_flops)} FLOPs" if budget.train_flops is not None else "",
        f"{hours:.3g} of {budget.device_hours:g} device-hours" if budget.device_hours is not None and hours is not None else "",
        f"{money_text(money)} of {budget.money:g}" if budget.money is not None and money is not None else "",
        f"no job starts after {budget.wall_minutes:g} minutes" if budget.wall_minutes is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _memory(cost: Cost) -> Text:
    largest = max(cost.stages, key=lambda stage: stage.memory_bytes or 0.0)
    if largest.memory_bytes is None:
        return Text("–: the trainer does not say how much a job needs")
    each = " on each device" if cost.devices_per_job > 1 else ""
    need = f"{bytes_text(largest.memory_bytes)}{each} at the peak of a job ({largest.stage})"
    limit = cost.memory_limit_bytes
    if limit is None:
        return Text(need)
    if cost.too_large:
        return Text(f"! {need} do not fit in the {bytes_text(limit)} {'one' if each else 'a job'} has", style="red")
    return Text(f"{need}, {bytes_text(limit)} there")


def _origin(stage: StageCost) -> str:
    match stage.origin:
        case "measured":
            return f"measured over {counted(stage.measured_over, 'job')}"
        case "assumed":
            return "assumed"
    return "not known"


def _span(span: Span) -> str:
    return large(span.low) if span.low == span.high else f"{large(span.low)} to {large(span.high)}"


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else 3600 * hours
