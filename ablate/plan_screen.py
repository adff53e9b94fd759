"""A `Preview` on a terminal, for a person who has never seen the project: what is compared, what it costs, what it can see."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.analysis.power import ALPHA, POWER
from ablate.axes import Axis
from ablate.base import Base
from ablate.blocks import Grid
from ablate.cost import Cost
from ablate.detect import ENOUGH_SEEDS, Detectable, Detection
from ablate.fractional import FractionalDesign
from ablate.levels import MISSING, label_text
from ablate.plan_screen_cost import show_parameters, show_stages, show_totals
from ablate.plan_screen_layout import heading, show_table, table_of
from ablate.planned import Plan
from ablate.planner import is_simulated
from ablate.preview import Preview
from ablate.prospects import Prospect
from ablate.quantities import counted, large
from ablate.study import Study
from ablate.terminal import STYLE, console, number
from ablate.trainers import trainer_of

SHOWN_ARMS = 20
SHOWN_LEVELS = 12
EARLY = {"none": "", "pbt": ", those that are behind go on from the weights of better ones ({})"}
EARLY |= dict.fromkeys(("asha", "hyperband", "median"), ", those that are behind end early ({})")


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
        show_stages(out, preview.cost)
        show_parameters(out, preview.cost, simulated=is_simulated(study))
        show_totals(out, preview.cost, study.budget)
    _show_detection(out, preview)
    _show_prospects(out, preview.prospects)


def _show_axes(out: Console, preview: Preview) -> None:
    study = preview.plan.study
    better = "higher" if study.metric.goal == "max" else "lower"
    heading(out, "What is compared", f"by {study.metric.name}, {better} is better; trainer {study.trainer}")
    table = Table.grid(padding=(0, 3, 0, 0))
    for axis in preview.space:
        table.add_row(axis.name, _bounds(axis) if axis.bounds else _levels(axis, study))
    show_table(out, table)
    if unused := _unused_levels(preview):
        out.print(f"  in no arm of this design: {unused}", soft_wrap=True)
    if study.search and study.search.objectives:
        others = ", ".join(f"{each.name} ({'higher' if each.goal == 'max' else 'lower'} is better)" for each in study.search.objectives)
        out.print(f"  traded off against {others}", soft_wrap=True)
    if study.law:
        size = "parameters" if study.law.size == "num_params" else study.law.size
        target = f"{large(round(study.law.target))} {size}"
        out.print(f"  law: the best {study.law.hyperparameter} for each size, carried to {target}", soft_wrap=True)
    for condition, count in preview.removed.items():
        out.print(f"  where {condition}: removes {counted(count, 'combination')}", soft_wrap=True)
    for axis in preview.space:
        if axis.left_out:
            out.print(f"  {axis.name}: {counted(axis.left_out, 'mix', 'mixes')} of the lattice outside its limits left out", soft_wrap=True)


def _bounds(axis: Axis) -> str:
    assert axis.bounds
    low, high = (label_text(bound) for bound in axis.bounds)
    return f"values from {low} to {high}{', even in the logarithm' if axis.log else ''}{', whole' if axis.whole else ''}"


def _levels(axis: Axis, study: Study) -> str:
    """The baseline first, with a word where it is none that the author named."""
    base = Base(trainer_of(study).Config, study.base)
    why = ""
    if axis.base_is_first:
        why = ": first level, the base's own value is none of them"
    elif all(base.own(path) is MISSING for path in axis.paths):
        why = ": first level, the base says nothing"
    labels = axis.all_labels
    shown = [label_text(label) for label in labels[:SHOWN_LEVELS]]
    more = f", and {len(labels) - SHOWN_LEVELS:,} more" if len(labels) > SHOWN_LEVELS else ""
    return f"{', '.join((f'{shown[0]} (baseline{why})', *shown[1:]))}{more}"


def _unused_levels(preview: Preview) -> str:
    """`image_size = 448`: what is declared and never runs."""
    arms, found = preview.plan.arms, []
    blocks = preview.plan.study.design
    whole = all(isinstance(block, Grid) and not (block.sample or block.axes) for block in blocks) and not any(preview.removed.values())
    for axis in preview.space if arms and not whole else ():
        used = {arm.levels[axis.name] for arm in arms}
        if unused := [label_text(label) for label in axis.labels if label not in used]:
            found.append(f"{axis.name} = {', '.join(unused)}")
    return "; ".join(found)


def _show_work(out: Console, preview: Preview) -> None:
    plan, cost = preview.plan, preview.cost
    heading(out, "What is run")
    if search := plan.study.search:
        early = EARLY[search.stop_early].format(search.stop_early)
        out.print(f"  {counted(cost.trials, 'trial')}, chosen while running ({search.sampler}){early}")
    else:
        design = " + ".join(dict.fromkeys(block.kind for block in plan.study.design))
        counts = sorted({len(arm.seeds or plan.study.seeds) for arm in plan.arms})
        seeds = f"× {counted(counts[0], 'seed')}" if len(counts) == 1 else f"with {counts[0]} to {counts[-1]} seeds each"
        out.print(f"  {counted(cost.trials, 'trial')} = {counted(cost.arms, 'arm')} ({design}) {seeds}")
    if cost.jobs:
        out.print(f"  {_sharing(cost)}", soft_wrap=True)
    out.print(f"  {_progress(plan, preview)}")
    if preview.rebuild:
        first, trouble = next(iter(preview.rebuild.items()))
        damaged = counted(len(preview.rebuild), "artefact")
        out.print(f"  ! {damaged} that others read to be rebuilt: {first}: {trouble}", soft_wrap=True)


def _show_fraction(out: Console, design: FractionalDesign) -> None:
    """What the runs that are left out cost: effects that come out as one."""
    if design.resolution is None:
        heading(out, "Fraction", "none does it: this is the full factorial, and every effect is clear")
        return
    whole = 2 ** len(design.factors)
    heading(out, "Fraction", f"resolution {design.resolution}, {len(design.runs)} of {whole:,} combinations")
    for generator in design.generators:
        out.print(f"  {generator}", soft_wrap=True)
    out.print(f"  defining relation: I = {' = '.join(' x '.join(word) for word in design.defining_relation)}", soft_wrap=True)
    if design.aliases:
        out.print("  cannot be told apart (main effects and two-way interactions):")
    for group in design.aliases:
        out.print(f"    {' = '.join(group)}", soft_wrap=True)
    out.print("  ! `ablate effects` pairs arms that differ in one axis alone, and a fraction has none: read it from `ablate results`")


def _sharing(cost: Cost) -> str:
    jobs = counted(cost.jobs, "job")
    if cost.unshared_jobs == cost.jobs:
        return f"{jobs}: {'one a trial' if len(cost.stages) == 1 else 'no two trials share a stage'}"
    shared = " and ".join(f"{counted(stage.jobs, f'{stage.stage} job')}" for stage in cost.stages if stage.jobs < cost.trials)
    return f"{jobs}, not {cost.unshared_jobs:,}, because the {cost.trials:,} trials share {shared}"


def _progress(plan: Plan, preview: Preview) -> str:
    counts = Counter(preview.states[trial.id] for trial in plan.trials)
    counts.pop("queued", None)
    done = sum(state == "done" for state in preview.jobs.values())
    if not counts:
        return (
            f"no trial has run yet, but {counted(done, 'job')} it needs {'is' if done == 1 else 'are'} done"
            if done
            else "nothing has run yet"
        )
    said = ", ".join(f"{counts[state]:,} {state}" for state in STYLE if counts.get(state))
    again = f"; what failed runs again after `ablate retry {plan.study.name}`" if counts.get("failed") else ""
    return f"so far: {said} of {counted(preview.cost.trials, 'trial')}{again}"


def _show_arms(out: Console, preview: Preview) -> None:
    """Each arm as its difference from the base, with its size where arms differ in it, and with what has become of its trials."""
    plan = preview.plan
    heading(out, "Arms", "each as its difference from the base")
    states: dict[str, Counter[str]] = {arm.name: Counter() for arm in plan.arms[:SHOWN_ARMS]}
    for trial in plan.trials:
        if trial.arm in states:
            states[trial.arm][preview.states[trial.id]] += 1
    said = {
        name: Text(", ").join(Text(f"{counts[state]} {state}", style=style) for state, style in STYLE.items() if counts[state])
        for name, counts in states.items()
    }
    sizes = _sizes(plan)
    tables = [_arms_table((name, sizes[name], text) for name, text in said.items())] if sizes else []
    if not tables or out.measure(tables[0]).maximum > out.width - 2:
        tables = [_arms_table(said.items())]
    show_table(out, tables[0])
    if len(plan.arms) > SHOWN_ARMS:
        out.print(f"  and {len(plan.arms) - SHOWN_ARMS:,} more (all of them: --json)")


def _arms_table(rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def _sizes(plan: Plan) -> dict[str, str]:
    """Shown arm -> `N 64.8B, active 3.93B`, of its language model; nothing where all arms are of one size."""
    last = {trial.arm: plan.jobs[trial.chain[-1]].spec for trial in plan.trials}
    if len({(spec.num_params, spec.active_params) for spec in last.values()}) < 2:
        return {}
    shown = [(arm.name, last[arm.name]) for arm in plan.arms[:SHOWN_ARMS]]
    return {
        name: f"N {large(spec.num_params)}" + (f", active {large(spec.active_params)}" if spec.active_params != spec.num_params else "")
        for name, spec in shown
    }


def _show_detection(out: Console, preview: Preview) -> None:
    """Whether the study can answer at all: below these differences it will most likely say 'inconclusive'."""
    detection, study = preview.detection, preview.plan.study
    rest = f"in {detection.metric}; a t test paired by seed finds it at {ALPHA:.0%} in {POWER:.0%} of studies"
    heading(out, "Smallest difference it can see", rest)
    if study.search:
        out.print("  none is promised: a search looks for the best, and repeats nothing to compare")
        return
    again = any(found.with_more_seeds is not None for found in detection.axes)
    if again:
        out.print(f"  One seed: no difference can be told from noise. With {ENOUGH_SEEDS} seeds it could see:")
    if detection.axes:
        noted = any(found.note for found in detection.axes) and not again
        table = table_of("axis", "difference", "from", *(("",) if noted else ()), right=("difference",))
        for found in detection.axes:
            value = found.with_more_seeds if again else found.difference
            seeds = ENOUGH_SEEDS if again else found.seeds
            table.add_row(found.axis, _difference(value, detection), _compared(found, seeds=seeds), *((found.note,) if noted else ()))
        show_table(out, table)
    out.print(f"  {_noise(detection)}", soft_wrap=True)
    if study.law and len(study.seeds) == 1:
        out.print("  The law is fitted across sizes and needs no second seed.")


def _show_prospects(out: Console, prospects: Sequence[Prospect]) -> None:
    """What each claim can hope for, while the design can still be changed."""
    if not prospects:
        return
    heading(out, "What you expect", "each claim gets a verdict")
    for prospect in prospects:
        out.print(f"  {prospect.statement}", soft_wrap=True)
        if said := _outlook(prospect):
            weak = prospect.power is not None and prospect.power < POWER
            out.print(Text(f"    {'! ' if weak else ''}{said}", style="yellow" if weak else ""), soft_wrap=True)
    if unknown := sorted({prospect.metric for prospect in prospects if prospect.noise.sd is None}):
        out.print(f"  Nobody has measured yet how much seeds differ in {', '.join(unknown)}.", soft_wrap=True)


def _outlook(prospect: Prospect) -> str:
    if prospect.note:
        return prospect.note
    if prospect.smallest_difference is not None:
        return f"found if it is {prospect.smallest_difference:.3g} or more"
    if prospect.power is not None:
        said = f"shown by {prospect.power:.0%} of studies where the levels are alike"
        enough = prospect.seeds_needed
        more = f"{enough} seeds" if enough else "over 1,000 seeds"
        return said if prospect.power >= POWER else f"{said}; {more} would show it in {POWER:.0%}"
    return ""


def _difference(value: float | None, detection: Detection) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if detection.noise.sd is not None else f"{value:.3g} SD"


def _compared(found: Detectable, *, seeds: int) -> str:
    repeats = counted(seeds, "seed")
    return f"{repeats}, averaged over {found.cells:,} combinations of the other axes" if found.cells > 1 else repeats


def _noise(detection: Detection) -> str:
    noise = detection.noise
    match noise.origin:
        case "measured":
            source = f"measured over {counted(noise.num_arms, 'arm')} ({noise.df} degrees of freedom)"
            return f"Seeds differ by {number(noise.sd)} (SD, {source})."
        case "assumed":
            return f"Seeds are taken to differ by {number(noise.sd)} (SD, as metric.noise_sd says)."
    return (
        "SD: between the seeds of one arm. Nobody has measured it yet; metric: {noise_sd: NUMBER} gives differences in the metric's unit."
    )
