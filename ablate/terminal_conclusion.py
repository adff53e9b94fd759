"""What a person sees in a terminal of what came of a study: effects, verdicts, and how it stands to what it declared."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ablate.deviations import moment
from ablate.terminal import console, number, show_rows

if TYPE_CHECKING:
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
            "95 % interval": f"[{number(effect.ci[0])}, {number(effect.ci[1])}]" if effect.ci else None,
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
