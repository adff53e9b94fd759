"""A `Preview` on a terminal, for a person who has never seen the project: what is compared, what it costs, what it can see."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ablate.analysis.power import ALPHA, POWER
from ablate.cost import GIB, Cost, Span, StageCost
from ablate.detect import ENOUGH_SEEDS, Detectable, Detection
from ablate.fractional import FractionalDesign
from ablate.model import Level
from ablate.planner import Plan, is_simulated
from ablate.preview import Preview
from ablate.terminal import STYLE, console, number

SHOWN_ARMS = 20
SHOWN_LEVELS = 12
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
HARDWARE_HINT = "hardware: {device: NAME, peak_flops: FLOP/S, utilisation: 0.4, memory_gib: 80, price_per_hour: 2.5, devices: 8}"


def show_plan(preview: Preview) -> None:
    """Everything in short blocks."""
    out, study = console(), preview.plan.study
    out.print(Text(study.name + (" (simulated)" if is_simulated(study) else ""), style="bold"))
    if study.question:
        out.print(study.question, soft_wrap=True)
    _show_axes(out, preview)
    _show_work(out, preview)
    for design in preview.fractions:
        _show_fraction(out, design)
    if preview.plan.arms:
        _show_arms(out, preview)
    if preview.cost.stages:
        _show_stages(out, preview.cost)
        _show_totals(out, preview.cost)
    _show_detection(out, preview)


def _heading(out: Console, title: str, rest: str = "") -> None:
    out.print()
    out.print(Text.assemble((title, "bold"), f" ({rest})" if rest else ""), soft_wrap=True)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _show(out: Console, table: Table) -> None:
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _show_axes(out: Console, preview: Preview) -> None:
    study = preview.plan.study
    better = "higher" if study.metric.goal == "max" else "lower"
    _heading(out, "What is compared", f"by {study.metric.name}, {better} is better; trainer {study.trainer}")
    table = Table.grid(padding=(0, 3, 0, 0))
    for axis, labels in preview.axes.items():
        table.add_row(axis, _levels(labels))
    _show(out, table)
    for condition, count in preview.removed.items():
        out.print(f"  where {condition}: removes {_count(count, 'combination')}", soft_wrap=True)
    for axis, count in preview.left_out.items():
        out.print(f"  {axis}: {_count(count, 'mix', 'mixes')} of the lattice outside its limits left out", soft_wrap=True)


def _levels(labels: Sequence[Level]) -> str:
    if not labels:
        return "values between bounds"
    shown = [number(label) for label in labels[:SHOWN_LEVELS]]
    more = f", and {len(labels) - SHOWN_LEVELS:,} more" if len(labels) > SHOWN_LEVELS else ""
    return f"{', '.join((f'{shown[0]} (baseline)', *shown[1:]))}{more}"


def _show_work(out: Console, preview: Preview) -> None:
    plan, cost = preview.plan, preview.cost
    _heading(out, "What is run")
    if search := plan.study.search:
        early = "" if search.stop_early == "none" else f", those that are behind end early ({search.stop_early})"
        out.print(f"  {_count(cost.trials, 'trial')}, chosen while running ({search.sampler}){early}")
    else:
        design = " + ".join(dict.fromkeys(block.kind for block in plan.study.design))
        out.print(f"  {_count(cost.trials, 'trial')} = {_count(cost.arms, 'arm')} ({design}) × {_count(len(plan.study.seeds), 'seed')}")
    if cost.jobs:
        out.print(f"  {_sharing(cost)}", soft_wrap=True)
    out.print(f"  {_progress(plan, preview)}")


def _show_fraction(out: Console, design: FractionalDesign) -> None:
    """What the runs that are left out cost: effects that come out as one."""
    if design.resolution is None:
        _heading(out, "Fraction", "none does it: this is the full factorial, and every effect is clear")
        return
    whole = 2 ** len(design.factors)
    _heading(out, "Fraction", f"resolution {design.resolution}, {len(design.runs)} of {whole:,} combinations")
    for generator in design.generators:
        out.print(f"  {generator}", soft_wrap=True)
    if design.aliases:
        out.print("  cannot be told apart (main effects and two-way interactions):")
    for group in design.aliases:
        out.print(f"    {' = '.join(group)}", soft_wrap=True)


def _sharing(cost: Cost) -> str:
    jobs = _count(cost.jobs, "job")
    if cost.unshared_jobs == cost.jobs:
        return f"{jobs}: {'one a trial' if len(cost.stages) == 1 else 'no two trials share a stage'}"
    shared = " and ".join(f"{_count(stage.jobs, f'{stage.stage} job')}" for stage in cost.stages if stage.jobs < cost.trials)
    return f"{jobs}, not {cost.unshared_jobs:,}, because the {cost.trials:,} trials share {shared}"


def _progress(plan: Plan, preview: Preview) -> str:
    counts = Counter(preview.states[trial.id] for trial in plan.trials)
    counts.pop("queued", None)
    cached = len(preview.cached)
    if not counts:
        return f"no trial has run yet, but {_count(cached, 'job')} of other studies can be used" if cached else "nothing has run yet"
    said = ", ".join(f"{counts[state]:,} {state}" for state in STYLE if counts.get(state))
    return f"so far: {said} of {_count(preview.cost.trials, 'trial')}"


def _show_arms(out: Console, preview: Preview) -> None:
    """Each arm as its difference from the base, with what has become of its trials."""
    plan = preview.plan
    _heading(out, "Arms", "each as its difference from the base")
    states: dict[str, Counter[str]] = {arm.name: Counter() for arm in plan.arms[:SHOWN_ARMS]}
    for trial in plan.trials:
        if trial.arm in states:
            states[trial.arm][preview.states[trial.id]] += 1
    table = Table.grid(padding=(0, 3, 0, 0))
    for arm in plan.arms[:SHOWN_ARMS]:
        counts = states[arm.name]
        said = Text(", ").join(Text(f"{counts[state]} {state}", style=style) for state, style in STYLE.items() if counts[state])
        table.add_row(arm.name, said)
    _show(out, table)
    if len(plan.arms) > SHOWN_ARMS:
        out.print(f"  and {len(plan.arms) - SHOWN_ARMS:,} more (all of them: --json)")


def _show_stages(out: Console, cost: Cost) -> None:
    _heading(out, "Cost", "in closed form" + (", taking each trial to be like the base" if cost.estimated else ""))
    timed = any(stage.throughput is not None for stage in cost.stages)
    times = ("one job", "device time") if timed else ()
    columns = ("stage", "jobs", "still to run", "FLOPs", *times, "peak memory", *(("from",) if timed else ()))
    table = _table(*columns, right=columns[1:] if not timed else columns[1:-1])
    for stage in cost.stages:
        when = (_time(stage.seconds_per_job), _time(_seconds(stage.device_hours))) if timed else ()
        table.add_row(
            stage.stage,
            f"{stage.jobs:,}",
            f"{stage.to_run:,}",
            _scientific(stage.train_flops),
            *when,
            _bytes(stage.memory_bytes),
            *((_origin(stage),) if timed else ()),
        )
    if len(cost.stages) > 1:
        to_run = sum(stage.to_run for stage in cost.stages)
        when = ("", _time(_seconds(cost.device_hours))) if timed else ()
        table.add_row("together", f"{cost.jobs:,}", f"{to_run:,}", _scientific(cost.train_flops), *when)
    _show(out, table)
    _show_parameters(out, cost)


def _show_parameters(out: Console, cost: Cost) -> None:
    moe = any(stage.active_params != stage.num_params for stage in cost.stages)
    _heading(
        out, "Parameters", "N counts the language model without embeddings and head" + ("; active N: what one token uses" if moe else "")
    )
    active = ("active N",) if moe else ()
    columns = ("stage", "N", *active, "embeddings and head", "all, encoder too")
    table = _table(*columns, right=columns[1:])
    for stage in cost.stages:
        uses = (_span(stage.active_params),) if moe else ()
        table.add_row(stage.stage, _span(stage.num_params), *uses, _span(stage.embedding_params), _span(stage.total_params))
    _show(out, table)


def _show_totals(out: Console, cost: Cost) -> None:
    _heading(out, "Time, money and memory")
    rows = Table.grid(padding=(0, 3, 0, 0))
    if cost.hardware:
        rows.add_row("on", _hardware(cost))
    if cost.device_hours is not None:
        rows.add_row("device time", _with_left(_time(_seconds(cost.device_hours)), _time(_seconds(cost.device_hours_left)), cost))
    if cost.wall_hours_left is not None:
        at_a_time = _count(cost.places or 0, "job")
        rows.add_row("until done", f"at least {_time(_seconds(cost.wall_hours_left))}, {at_a_time} at a time")
    if cost.money is not None and cost.hardware:
        unit = cost.hardware.currency
        rows.add_row("money", _with_left(f"{_money(cost.money)} {unit}", f"{_money(cost.money_left or 0)} {unit}", cost))
    rows.add_row("memory", _memory(cost))
    _show(out, rows)
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
    peak = f"{_scientific(hardware.peak_flops)} FLOP/s at {hardware.utilisation:.0%}"
    price = "" if hardware.price_per_hour is None else f", {hardware.price_per_hour:g} {hardware.currency} an hour each"
    return f"{hardware.devices:,} × {hardware.device or 'device'}: {peak}{price}"


def _with_left(total: str, left: str, cost: Cost) -> str:
    begun = any(stage.to_run < stage.jobs for stage in cost.stages)
    return f"{total}, of which {left} are still to come" if begun else total


def _memory(cost: Cost) -> Text:
    largest = max(cost.stages, key=lambda stage: stage.memory_bytes)
    need = f"{_bytes(largest.memory_bytes)} at the peak of a job ({largest.stage})"
    limit = cost.memory_limit_bytes
    if limit is None:
        return Text(need)
    if cost.too_large:
        return Text(f"! {need} do not fit in the {_bytes(limit)} a job has", style="red")
    return Text(f"{need}, {_bytes(limit)} there")


def _show_detection(out: Console, preview: Preview) -> None:
    """Whether the study can answer at all: below these differences it will most likely say 'inconclusive'."""
    detection, study = preview.detection, preview.plan.study
    rest = f"in {detection.metric}; a t test at {ALPHA:.0%} finds it in {POWER:.0%} of studies"
    _heading(out, "Smallest difference it can see", rest)
    if study.search:
        out.print("  none is promised: a search looks for the best, and repeats nothing to compare")
        return
    again = any(found.with_more_seeds is not None for found in detection.axes)
    if again:
        out.print(f"  One seed: no difference can be told from noise. With {ENOUGH_SEEDS} seeds it could see:")
    if detection.axes:
        noted = any(found.note for found in detection.axes) and not again
        table = _table("axis", "difference", "from", *(("",) if noted else ()), right=("difference",))
        for found in detection.axes:
            value = found.with_more_seeds if again else found.difference
            seeds = ENOUGH_SEEDS if again else found.seeds
            table.add_row(found.axis, _difference(value, detection), _compared(found, seeds=seeds), *((found.note,) if noted else ()))
        _show(out, table)
    out.print(f"  {_noise(detection)}", soft_wrap=True)
    if study.law and len(study.seeds) == 1:
        out.print("  The law is fitted across sizes and needs no second seed.")


def _difference(value: float | None, detection: Detection) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if detection.noise.sd is not None else f"{value:.3g} SD"


def _compared(found: Detectable, *, seeds: int) -> str:
    counted = _count(seeds, "seed")
    return f"{counted}, averaged over {found.cells:,} cells of the other axes" if found.cells > 1 else counted


def _noise(detection: Detection) -> str:
    noise = detection.noise
    match noise.origin:
        case "measured":
            source = f"measured over {_count(noise.num_arms, 'arm')} ({noise.df} degrees of freedom)"
            return f"Seeds differ by {number(noise.sd)} (SD, {source})."
        case "assumed":
            return f"Seeds are taken to differ by {number(noise.sd)} (SD, as metric.noise_sd says)."
    return (
        "SD: between the seeds of one arm. Nobody has measured it yet; metric: {noise_sd: NUMBER} gives differences in the metric's unit."
    )


def _origin(stage: StageCost) -> str:
    match stage.origin:
        case "measured":
            return f"measured over {_count(stage.measured_over, 'job')}"
        case "assumed":
            return "assumed"
    return "not known"


def _count(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _span(span: Span) -> str:
    return _large(span.low) if span.low == span.high else f"{_large(span.low)} to {_large(span.high)}"


def _large(count: int) -> str:
    """Three digits and a unit: 1.31B."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return "–" if count == 0 else str(count)


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def _scientific(value: float) -> str:
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _bytes(count: float) -> str:
    for size, unit in ((GIB, "GiB"), (2**20, "MiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else 3600 * hours


def _time(seconds: float | None) -> str:
    """Two units at most: 3 d 4 h, 12 min 30 s, 0.25 s."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    place = next(place for place, (size, _) in enumerate(units) if seconds >= size)
    (size, unit), (small, smaller) = units[place], units[place + 1]
    whole, rest = divmod(round(seconds / small), size // small)
    return f"{whole:,} {unit}" + (f" {rest} {smaller}" if rest else "")
