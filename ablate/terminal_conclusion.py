"""What a person sees in a terminal of what came of a study: effects, verdicts, and how it stands to what it declared."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ablate.deviations import moment
from ablate.quantities import interval_text
from ablate.terminal import console, number, show_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.analysis.arm_effects import ArmEffects
    from ablate.analysis.effects import Effect, Interval
    from ablate.analysis.factors import FactorEffects
    from ablate.analysis.importance import Importance
    from ablate.analysis.noise import SignalToNoise, WinnersCurse
    from ablate.conclude import Conclusion
    from ablate.deviations import Registration
    from ablate.guards import Guards

SIGNALS = 8
"""Metrics whose noise is shown."""
TERMS = 20
"""Main effects and interactions that are shown."""
SMALLEST_P = "<1e-16"


def show_conclusion(conclusion: "Conclusion", *, factors: "FactorEffects | None", importance: "Importance | None") -> None:
    """Effects and what they are to be read with, then what became of each claim."""
    out, study = console(), conclusion.study
    simulated = " (simulated)" if conclusion.record.simulated else ""
    done = int(conclusion.results["state"].isin(("done", "cached")).sum())
    better = f"{study.metric.name}, {_better(study.metric.goal)}"
    out.print(Text(f"{study.name}{simulated}", style="bold"), f"{done} of {len(conclusion.results)} trials done; {better}")
    rows = [
        {
            f"{effect.metric} at": f"{effect.axis} = {number(effect.level)}",
            "mean": effect.level_mean,
            "against": effect.baseline,
            "its mean": effect.baseline_mean,
            "diff.": effect.mean_diff,
            "95 % interval": _interval(effect.ci),
            "p (Holm)": _p(effect.p_holm),
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
        _print_unlike(out, conclusion.effects)
    _print_guards(out, conclusion.guards)
    if factors is not None:
        _print_factors(out, factors, levels=not all(effect.n for effect in conclusion.effects))
    if importance is not None:
        _print_importance(out, importance)
    _print_registration(out, conclusion.registration)
    for verdict in conclusion.verdicts:
        style = {"supported": "green", "contradicted": "red"}.get(verdict.verdict, "yellow")
        out.print()
        out.print(Text.assemble((verdict.verdict, style), f": {verdict.statement}"), soft_wrap=True)
        out.print(f"  {verdict.reason}", soft_wrap=True)


def show_arm_effects(found: "ArmEffects") -> None:
    """Each arm against the baseline, then what these numbers can see."""
    out = console()
    out.print(Text(f"{found.metric}, {_better(found.goal)}", style="bold"), f"against {found.baseline}")
    pooled = any(_differ(each.ci_pooled, each.effect.ci) for each in found.arms)
    rows = [
        {
            f"{found.metric} of": str(each.effect.level),
            "mean": each.effect.level_mean,
            "against": found.baseline,
            "its mean": each.effect.baseline_mean,
            "diff.": each.effect.mean_diff,
            "95 % interval": _interval(each.effect.ci),
            **({"by pooled noise": _interval(each.ci_pooled)} if pooled else {}),
            "p (Holm)": _p(each.effect.p_holm),
            "p (BH)": _p(each.effect.p_bh),
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
        if pooled:
            said += "; by pooled noise: 95 % as well, if all arms are equally noisy"
        said += "".join(f"; {note}" for note in dict.fromkeys(each.effect.hedges_g_note for each in found.arms) if note)
        out.print(said, style="dim", soft_wrap=True)
        _print_unlike(out, found.effects)
    out.print()
    _print_noise(out, [found.signal])
    detectable = found.detectability
    own = "an arm's own SD of its differences, root mean square"
    for name, smallest, df in ((own, detectable.paired, "seeds - 1"), ("pooled noise of a difference", detectable.pooled, "of all arms")):
        if smallest is not None:
            by_seeds = ", ".join(f"{seeds}: {number(value)}" for seeds, value in smallest.by_seeds.items())
            out.print(f"smallest difference by seeds ({name} {number(smallest.sd)}, df {df}, power 0.8): {by_seeds}", soft_wrap=True)
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


def _print_guards(out: Console, guards: "Guards") -> None:
    """Noise and warnings; the other metrics' noise only where there are few enough to read."""
    if guards.signals:
        out.print()
        _print_noise(out, guards.signals[:SIGNALS])
        if len(guards.signals) > SIGNALS:
            out.print(f"and {len(guards.signals) - SIGNALS} more metrics (--json has all)", style="dim")
    if guards.mde is not None:
        said = f"smallest true effect found with power 0.8: {number(guards.mde)} in the least clear row, by the SD of its own seeds"
        if guards.mde_pooled is not None and guards.paired is not None:
            said += f"; {number(guards.mde_pooled)} between two arms, by the noise pooled over all (df {guards.paired.df})"
        out.print(said, soft_wrap=True)
    if guards.signal is not None and guards.signal.curse is not None:
        _print_curse(out, guards.signal.curse)
    _print_warnings(out, guards.warnings)


def _print_factors(out: Console, found: "FactorEffects", *, levels: bool) -> None:
    """Shares of the squares: main effects, interactions, what is left. `levels`: where some levels have no partner to be paired with, as in
    fractional designs, each against the mean of its axis."""
    if levels:
        out.print()
        show_rows(
            [
                {
                    f"main effect on {found.metric} of": f"{each.factor} = {number(each.level)}",
                    "against its axis's mean": each.effect,
                    "95 % interval": _interval(each.ci),
                    "trials": each.trials,
                }
                for each in found.levels
            ]
        )
    terms = [*found.main, *found.interactions, *([found.higher] if found.higher else [])]
    rows = [
        {
            "importance of": term.name,
            "share": term.share,
            "95 % interval": _interval(term.share_ci),
            "by chance": term.chance,
            "df": term.df,
            "F": term.f,
            "p (Holm)": _p(term.p if term is found.higher else term.p_holm),
            "note": term.note,
        }
        for term in terms[:TERMS]
    ]
    out.print()
    show_rows(rows)
    if len(terms) > TERMS:
        out.print(f"and {len(terms) - TERMS} more terms (--json has all)", style="dim")
    sources = {"seeds": "between seeds", "higher-order terms": "of what no term explains", "none": "not known"}
    noise = "" if found.noise_share is None else f"; noise has {number(found.noise_share)}"
    whole = "" if found.balanced else "; not balanced, so shares do not add up to 1"
    out.print(f"share of the squares around the seeds' means{noise}, {sources[found.noise_from]}{whole}", style="dim", soft_wrap=True)
    out.print(found.caution, style="dim", soft_wrap=True)
    _print_warnings(out, found.warnings)


def _print_importance(out: Console, found: "Importance") -> None:
    rows = [
        {"fANOVA importance of": each.factor, "share": each.importance, "over forests": f"[{number(each.low)}, {number(each.high)}]"}
        for each in found.factors
    ]
    out.print()
    show_rows(rows)
    said = f"{found.trials} trials, {found.forests} forests; {found.caution}" + (f"; {found.note}" if found.note else "")
    out.print(said, style="dim", soft_wrap=True)


def _print_noise(out: Console, signals: "Sequence[SignalToNoise]") -> None:
    """The noise floor of each metric, and whether the arms stand out from it."""
    rows = [
        {
            "noise of": signal.metric,
            "SD": signal.noise.sd,
            "its 95 % interval": _interval(signal.noise.ci),
            "df": signal.noise.df,
            "paired SD": signal.paired.sd,
            "its df": signal.paired.df,
            "range / SD": signal.ratio,
            "by chance": signal.chance,
            "p (arms alike)": _p(signal.p),
            "separates": {True: "yes", False: "no", None: None}[signal.separates],
        }
        for signal in signals
    ]
    show_rows(rows)
    said = "SD: between seeds of one arm; paired SD: with each seed's shift of all arms taken off; range / SD: of the arms' means, over "
    said += "the paired SD where seeds pair; by chance: what equal arms have on average; separates: an F test finds some arms apart at 5 %"
    out.print(said, style="dim", soft_wrap=True)


def _print_curse(out: Console, curse: "WinnersCurse") -> None:
    out.print(f"winner's curse: {curse.advice}", style="dim", soft_wrap=True)


def _print_warnings(out: Console, warnings: "Sequence[str]") -> None:
    for warning in warnings:
        out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)


def _print_unlike(out: Console, effects: "Sequence[Effect]") -> None:
    """Rows of one axis whose baseline has several means are over different pairs."""
    means: dict[str, set[float]] = {}
    for effect in effects:
        if effect.baseline_mean is not None:
            means.setdefault(effect.axis, set()).add(effect.baseline_mean)
    if unlike := [axis for axis, found in means.items() if len(found) > 1]:
        said = f"rows of {', '.join(unlike)} are over different seeds or cells, as some trials have no partner: "
        out.print(f"{said}compare a mean with the baseline's in its own row, and rows by their diff. alone", style="dim", soft_wrap=True)


def _better(goal: str) -> str:
    return "higher is better" if goal == "max" else "lower is better"


def _differ(one: "Interval | None", other: "Interval | None") -> bool:
    """In what is shown."""
    return one is not None and _interval(one) != _interval(other)


def _p(value: "float | None") -> "float | str | None":
    """A probability is small, never 0."""
    return SMALLEST_P if value is not None and value < 1e-16 else value


def _interval(bounds: "Interval | None") -> str | None:
    return None if bounds is None else interval_text(bounds)
