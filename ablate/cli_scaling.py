"""The verbs about scale and data mix: `law loss`, `law mixture`, `scales`. Heavy libraries are imported by the verb that needs them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.arguments import WORKSPACE, Folder, Json, StoreUrl, is_table, open_store_of, print_json, study_name_of
from ablate.cli_law import law_app, parse_size
from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.study_runs import StudyRuns

scales_app = typer.Typer()
"""Mounted without a name: its verb stands beside the others."""

Runs = Annotated[str, typer.Argument(metavar="STUDY|FILE.csv", help="A study in the store, or a CSV with a row a run.")]
Metric = Annotated[str, typer.Option(help="Column of the metric; default: the study's, or loss.")]
Goal = Annotated[str, typer.Option(help="min or max; default: the study's, or min.")]


@law_app.command("loss")
def law_loss(
    study: Runs,
    metric: Metric = "",
    n_params: Annotated[
        str, typer.Option(metavar="COLUMN", help="Column of the parameters; default: n_params, or num_params as the trainer counts.")
    ] = "",
    tokens: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column of the training tokens; default: tokens. Of a study an axis, metric or field, else train_flops / 6 N.",
        ),
    ] = "",
    bootstrap: Annotated[
        int | None, typer.Option(metavar="N", help="Resamples behind the intervals; 0: none. Default: 1000, below ten rows none.")
    ] = None,
    compute: Annotated[
        list[float] | None, typer.Option(metavar="FLOPS", help="A budget, such as 1e21, to split into N and D; may be repeated.")
    ] = None,
    params: Annotated[
        float | None, typer.Option(parser=parse_size, metavar="SIZE", help="With --at-tokens: parameters to say the loss at, such as 7B.")
    ] = None,
    at_tokens: Annotated[
        float | None, typer.Option(parser=parse_size, metavar="SIZE", help="With --params: training tokens to say the loss at, such as 1T.")
    ] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Fit L = E + A/N^a + B/D^b, say how sure its constants are, and split a compute budget into parameters and tokens."""
    _one_thread()
    from ablate.scaling import csv_rows, loss_report, study_losses
    from ablate.terminal_scaling import show_loss_law, watched

    if (params is None) != (at_tokens is None):
        raise InputError("--params and --at-tokens go together: the law's loss is that of so many parameters trained on so many tokens")
    if is_table(study):
        metric = metric or "loss"
        rows = csv_rows(Path(study), columns={"n_params": n_params or "n_params", "tokens": tokens or "tokens"})
    else:
        runs = _study(study, workspace, store)
        metric = metric or runs.metric
        rows = study_losses(runs, metric=metric, n_params=n_params, tokens=tokens)
    at = None if params is None or at_tokens is None else (params, at_tokens)
    with watched("resamples") as progress:
        found = loss_report(rows, metric=metric, bootstrap=bootstrap, budgets=compute or [], at=at, progress=progress)
    print_json(found.to_json()) if as_json else show_loss_law(found)


@law_app.command("mixture")
def law_mixture(
    study: Runs,
    sources: Annotated[
        str, typer.Option(metavar="A,B,...", help="Columns of the shares, which sum to 1; of a study those of its axis of mixes.")
    ] = "",
    form: Annotated[
        str,
        typer.Option(
            help="auto, additive, exponential, regmix or joint; additive and joint can have a best mix inside. "
            "auto: the richest that leaves a degree of freedom."
        ),
    ] = "auto",
    metric: Metric = "",
    goal: Goal = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=LOW:HIGH", help="Least and largest share of a source in the best mix; may be repeated."),
    ] = None,
    n_params: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="Column of the parameters, where they vary (additive, joint); of a study num_params or an axis."
        ),
    ] = "",
    tokens: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="Column of the training tokens, where they vary (additive, joint); of a study an axis or field."
        ),
    ] = "",
    params: Annotated[
        float | None, typer.Option(parser=parse_size, metavar="SIZE", help="Parameters to say the best mix at; default: the largest tried.")
    ] = None,
    at_tokens: Annotated[
        float | None,
        typer.Option(parser=parse_size, metavar="SIZE", help="Training tokens to say the best mix at; default: the most tried."),
    ] = None,
    bootstrap: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Resamples behind the interval of the best mix; 0: none. Default: 200.")
    ] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Fit the metric as a function of the data mix, and say the best mix, how sure it is and what it rests on."""
    _one_thread()
    from ablate.scaling import MIX_RESAMPLES, csv_rows, mixture_report, study_mixes
    from ablate.terminal_scaling import show_mixture_law, watched

    named = tuple(part.strip() for part in sources.split(",") if part.strip())
    limits = _limits(limit or [])
    if is_table(study):
        metric, goal = metric or "loss", goal or "min"
        rows = csv_rows(Path(study), columns={kind: name for kind, name in (("n_params", n_params), ("tokens", tokens)) if name})
        if not named:
            raise InputError(
                f"{study}: say with --sources A,B,... which columns are shares (there: {', '.join(map(str, rows.frame.columns))})"
            )
    else:
        runs = _study(study, workspace, store)
        metric, goal = metric or runs.metric, goal or runs.goal
        rows, named = study_mixes(runs, metric=metric, sources=named, n_params=n_params, tokens=tokens)
    with watched("resamples") as progress:
        found = mixture_report(
            rows,
            sources=named,
            metric=metric,
            form=form,
            goal=goal,
            limits=limits,
            at={"n_params": params, "tokens": at_tokens},
            resamples=MIX_RESAMPLES if bootstrap is None else bootstrap,
            progress=progress,
        )
    print_json(found.to_json()) if as_json else show_mixture_law(found)


@scales_app.command("scales")
def scales(
    study: Runs,
    size: Annotated[
        str, typer.Option(metavar="COLUMN|AXIS", help="What the sizes are; default: n_params, or num_params as the trainer counts.")
    ] = "",
    arm: Annotated[
        str, typer.Option(metavar="COLUMN|AXIS", help="What the arms are; default: arm, or the one axis that does not change the size.")
    ] = "",
    baseline: Annotated[str, typer.Option(metavar="ARM", help="The arm others are compared with; default: the axis's baseline.")] = "",
    metric: Metric = "",
    goal: Goal = "",
    compute: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="Column of the training FLOPs; default: compute, train_flops, or 6 N D where there are tokens."
        ),
    ] = "",
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Say whether the small winner stays the winner: order of the arms, effects against size, and what they are worth in compute."""
    _one_thread()
    from ablate.scaling import csv_scales, study_scales
    from ablate.terminal_scaling import show_scales

    if is_table(study):
        found = csv_scales(
            Path(study),
            size=size or "n_params",
            arm=arm or "arm",
            baseline=baseline,
            metric=metric or "loss",
            goal=goal or "min",
            compute=compute,
        )
    else:
        runs = _study(study, workspace, store)
        found = study_scales(
            runs, size=size, arm=arm, baseline=baseline, metric=metric or runs.metric, goal=goal or runs.goal, compute=compute
        )
    print_json(found.to_json()) if as_json else show_scales(found)


def _one_thread() -> None:
    """Before numpy is loaded: these fits are so small that threads of its linear algebra only wait for one another (measured: 6 to 20
    times as long beside other work)."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def _study(study: str, workspace: Path, store: str | None) -> "StudyRuns":
    from ablate.study_runs import study_runs

    return study_runs(open_store_of(workspace, store), study_name_of(study))


def _limits(written: list[str]) -> dict[str, tuple[float, float]]:
    """caption=0.1:0.9 as a source's least and largest share; raises InputError with every one that is none."""
    found: dict[str, tuple[float, float]] = {}
    problems = []
    for text in written:
        source, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        try:
            pair = float(low), float(high)
        except ValueError:
            problems.append(f"--limit {text}: write SOURCE=LOW:HIGH, such as caption=0.1:0.9")
            continue
        if source in found:
            problems.append(f"--limit {text}: {source} has a limit already")
        found[source] = pair
    if problems:
        raise InputError("\n".join(problems))
    return found
