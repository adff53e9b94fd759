"""What a person sees in a terminal of what came of a study: effects, verdicts, and how it stands to what it declared."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ablate.deviations import moment
from ablate.terminal import console, number, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.analysis.arm_effects import ArmEffects
    from ablate.analysis.effects import Interval
    from ablate.analysis.noise import SignalToNoise, WinnersCurse
    from ablate.conclude import Conclusion
    from ablate.deviations import Registration


def show_conclusion(conclusion: "Conclusion") -> None:
    """Effects, then what became of each claim."""
    out, study = console(), conclusion.study
    simulated = " (simulated)" if conclusion.record.simulated else ""
    done = int(conclusion.results["state"].isin(("done", "cached")).sum())
    out.print(Text(f"{study.name}{simulated}", style="bold"), f"{done} of {len(conclusion.results)} trials done")
    rows = [
        {
            f"{effect.metric} at": f"{effect.axis} = {number(effect.level)}",
            "mean": effect.level_mean,
            "against": effect.baseline,
            "diff.": effect.mean_diff,
            "95 % interval": _interval(effect.ci),
            "p (Holm)": effect.p_holm,
            "n": effect.n,
            "note": effect.note,
        }
        for effect in conclusion.effects
    ]
    show_rows(rows) if rows else out.print(
        f"no effects: no axis has two levels with a finished trial that reported {conclusion.study.metric.name}"
    )
    if rows:
        out.print("n: seeds; intervals are each taken alone, p is corrected over this table (Holm)", style="dim")
    _print_registration(out, conclusion.registration)
    for verdict in conclusion.verdicts:
        style = {"supported": "green", "contradicted": "red"}.get(verdict.verdict, "yellow")
        out.print()
        out.print(Text.assemble((verdict.verdict, style), f": {verdict.statement}"), soft_wrap=True)
        out.print(f"  {verdict.reason}", soft_wrap=True)


def show_arm_effects(found: "ArmEffects") -> None:
    """Each arm against the baseline, then what these numbers can see."""
    out = console()
    rows = [
        {
            f"{found.metric} of": str(each.effect.level),
            "mean": each.effect.level_mean,
            "against": found.baseline,
            "diff.": each.effect.mean_diff,
            "95 % interval": _interval(each.effect.ci),
            "p (Holm)": each.effect.p_holm,
            "p (BH)": each.effect.p_bh,
            "g": each.effect.hedges_g,
            "n": each.effect.n,
            "verdict": each.verdict,
            "reason": each.reason,
        }
        for each in found.arms
    ]
    show_rows(rows) if rows else out.print(f"no arm beside {found.baseline}")
    if found.arms:
        said = "n: seeds; the verdict is on 'this arm is better', by its interval taken alone; p is corrected over this table"
        out.print(said, style="dim", soft_wrap=True)
    out.print()
    _print_noise(out, [found.signal])
    detectable = found.detectability
    for name, smallest in (("own SD", detectable.paired), ("pooled noise", detectable.pooled)):
        if smallest is not None:
            by_seeds = ", ".join(f"{seeds}: {number(value)}" for seeds, value in smallest.by_seeds.items())
            said = f"smallest difference by seeds ({name} of a difference {number(smallest.sd)}, df {smallest.df}, power 0.8): {by_seeds}"
            out.print(said, soft_wrap=True)
    if found.curse is not None:
        _print_curse(out, found.curse)
    _print_warnings(out, found.warnings)


def show_standing(registration: "Registration", *, study: str, stale: int, options: str) -> None:
    """Below a study's trials: how it stands to what it declared, and what an earlier form of it left."""
    out = console()
    out.print()
    out.print(registration.summary + (f" (ablate effects {study}{options})" if registration.deviations else ""), soft_wrap=True)
    if stale:
        out.print(f"{stale} stale: ended, and in no result because the plan moved on (ablate explain TRIAL{options})", soft_wrap=True)


def _print_registration(out: Console, registration: "Registration") -> None:
    out.print()
    out.print(registration.summary, soft_wrap=True)
    for deviation in registration.deviations:
        late = "yellow" if deviation.finished else ""
        out.print(Text.assemble(f"  {moment(deviation.time)}, ", (deviation.when, late), f": {deviation.what}"), soft_wrap=True)


def _print_noise(out: Console, signals: "Sequence[SignalToNoise]") -> None:
    """The noise floor of each metric, and whether the arms stand out from it."""
    rows = [
        {
            "noise of": signal.metric,
            "SD": signal.noise.sd,
            "its 95 % interval": _interval(signal.noise.ci),
            "df": signal.noise.df,
            "range / SD": signal.ratio,
            "by chance": signal.chance,
            "p (arms alike)": signal.p,
            "separates": {True: "yes", False: "no", None: None}[signal.separates],
        }
        for signal in signals
    ]
    show_rows(rows)


def _print_curse(out: Console, curse: "WinnersCurse") -> None:
    out.print(f"winner's curse: {curse.advice}", style="dim", soft_wrap=True)


def _print_warnings(out: Console, warnings: "Sequence[str]") -> None:
    for warning in warnings:
        out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)


def _interval(bounds: "Interval | None") -> str | None:
    return None if bounds is None else f"[{number(bounds[0])}, {number(bounds[1])}]"
