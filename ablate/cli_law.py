"""The `law` verbs: fit a hyperparameter law, or ask a published one. Heavy libraries are imported by the verb that needs them."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.arguments import (
    WORKSPACE,
    Folder,
    Json,
    StoreUrl,
    is_table,
    open_store_of,
    print_json,
    refuse_for_study,
    study_name_of,
    workspace_of,
)
from ablate.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ablate.analysis.laws import PublishedLaw
    from ablate.analysis.lr_law import LawReport
    from ablate.analysis.published_losses import PublishedLoss

_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def parse_size(text: str) -> float:
    """Parameters as people write them: 30e9, 30B, 1.2B, 302M."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in _UNITS else (text, "")
    try:
        size = float(number) * _UNITS.get(unit, 1)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no size; write 30e9, 30B or 302M") from None
    return size


LawRuns = Annotated[
    str, typer.Argument(metavar="STUDY|FILE.csv", help="A study with a `law:` section, or a CSV: n_params, lr, seed, METRIC.")
]
MetricColumn = Annotated[str, typer.Option(help="CSV only: the metric's column; default: loss.")]
MetricGoal = Annotated[str, typer.Option(help="CSV only: min (default) or max.")]
Tokens = Annotated[
    float | None, typer.Option(parser=parse_size, metavar="SIZE", help="Training tokens, such as 100B; for laws that read them.")
]
Batch = Annotated[
    float | None, typer.Option("--batch", parser=parse_size, metavar="SIZE", help="Tokens a step, such as 2M; for laws that read them.")
]
Compute = Annotated[
    float | None, typer.Option(metavar="FLOPS", help="Training FLOPs, such as 1e21; for laws that read them; default: 6 N D.")
]
Target = Annotated[
    float | None, typer.Option(parser=parse_size, metavar="SIZE", help="Size to extrapolate to; default: the study's, or 30e9.")
]

DefinitionsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.yaml",
        help="What the numbers mean, as a study's law.definitions, for a CSV or a study that does not say it; to compare with other laws.",
    ),
]
LawForm = Annotated[
    str, typer.Option(help="What the law reads: N, N+D (training tokens), N+B (tokens a step) or C; default: the study's, or N.")
]

law_app = typer.Typer(help="Hyperparameter laws: fit one, or ask a published one.", no_args_is_help=True)
next_app = typer.Typer()
"""Mounted without a name: its verb stands beside the others."""


@law_app.command("predict")
def law_predict(
    params: Annotated[
        float | None,
        typer.Option(
            parser=parse_size,
            metavar="SIZE",
            help="Size of the model, such as 30e9 or 30B, as the law counts it (mm1: non-embedding parameters).",
        ),
    ] = None,
    law: Annotated[str, typer.Option(help="A published law (`ablate law list`), or a study with a `law:` section.")] = "mm1",
    tokens: Tokens = None,
    batch: Batch = None,
    compute: Compute = None,
    definitions: DefinitionsFile = None,
    emit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Write what a large run needs: rate, weight decay, warmup, batch, horizon, each with interval, cost and origin.",
        ),
    ] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Say the peak learning rate for a model of this size, with weight decay and batch where the law has them."""
    from ablate.analysis.laws import unread_notes
    from ablate.analysis.published import PUBLISHED, predict
    from ablate.large_run import fitted_run, published_run
    from ablate.tables import write_new
    from ablate.terminal_laws import show_prediction

    if law in PUBLISHED:
        prediction, source, simulated = predict(law, params, tokens=tokens, compute=compute), PUBLISHED[law].source, False
        prediction = replace(prediction, notes=(*unread_notes({"batch_tokens": batch}, reads=()), *prediction.notes))
        run = published_run(PUBLISHED[law], prediction) if emit else None
    else:
        report, simulated = _study_law(law, workspace, store, definitions)
        assert report.fit is not None
        prediction = report.fit.predict(params, tokens=tokens, batch_tokens=batch, compute=compute)
        source = f"study {law}" + (" (simulated)" if simulated else "")
        run = fitted_run(report, prediction, name=law, source=source, simulated=simulated) if emit else None
    if run and emit:
        write_new(run.to_yaml(), emit)
    if as_json:
        print_json({"law": law, "source": source, "simulated": simulated} | prediction.to_json())
        return
    show_prediction(prediction, law=law, source=source)
    if run:
        print(f"\nwrote {emit}")
        print(*run.review, sep="\n")


@law_app.command("fit")
def law_fit(
    study: LawRuns,
    metric: MetricColumn = "",
    goal: MetricGoal = "",
    target: Target = None,
    tokens: Tokens = None,
    batch: Batch = None,
    compute: Compute = None,
    form: LawForm = "",
    points: Annotated[
        bool, typer.Option("--points", help="CSV of known optima: n_params, eta and optionally se_ln, tokens, batch_tokens.")
    ] = False,
    tau_prior: Annotated[
        float | None,
        typer.Option(
            metavar="SCALE",
            help="Prior on the scatter between sizes: half-normal of this scale, ln units (0.15 as in public runs; 0.3 with care); "
            "default: none.",
        ),
    ] = None,
    definitions: DefinitionsFile = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Fit the best learning rate against model size, with a prediction interval, beside published laws."""
    from ablate.stores import find_study
    from ablate.study_law import Asked, csv_law, fit_study_law
    from ablate.terminal_laws import show_law

    asked = Asked(
        target=target, tokens=tokens, batch_tokens=batch, compute=compute, form=form or None, tau_prior=tau_prior, definitions=definitions
    )
    if is_table(study):
        fitted = csv_law(Path(study), asked, metric=metric or "loss", goal=goal or "min", points=points)
        simulated = False
    else:
        refuse_for_study(study, metric=metric, goal=goal, points=points)
        opened, name = open_store_of(workspace, store), study_name_of(study)
        fitted = fit_study_law(opened, name, asked)
        simulated = find_study(opened, name).simulated
    print_json(fitted.to_json() | {"simulated": simulated}) if as_json else show_law(fitted, simulated=simulated)


@next_app.command("next")
def next_(
    study: LawRuns,
    runs: Annotated[int, typer.Option(min=1, help="How many runs to propose for the law.")] = 4,
    per: Annotated[str, typer.Option(help="What a run's gain is set against: flop, or run (each costs the same).")] = "flop",
    metric: MetricColumn = "",
    goal: MetricGoal = "",
    target: Target = None,
    tokens: Tokens = None,
    batch: Batch = None,
    compute: Compute = None,
    form: LawForm = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.yaml", help="Write the study with these runs in it; of a CSV, the runs.")
    ] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Propose the runs that narrow a law most, or say that it is time to stop, and the seeds that settle open claims."""
    from ablate.next_study import csv_next, study_next
    from ablate.study_law import Asked
    from ablate.tables import write_new
    from ablate.terminal_laws import show_next

    asked = Asked(target=target, tokens=tokens, batch_tokens=batch, compute=compute, form=form or None)
    if is_table(study):
        found = csv_next(Path(study), asked, metric=metric or "loss", goal=goal or "min", count=runs, per=per)
    else:
        refuse_for_study(study, metric=metric, goal=goal)
        found = study_next(open_store_of(workspace, store), study_name_of(study), asked, count=runs, per=per)
    if output and found.file:
        write_new(found.file, output)
    if as_json:
        print_json(found.to_json())
        return
    show_next(found)
    if output:
        print(f"\nwrote {output}" if found.file else f"\nnothing is new, so {output} was not written")


@law_app.command("list")
def law_list(as_json: Json = False) -> None:
    """List the published laws of the learning rate and of the loss, with their range and source."""
    from ablate.analysis.published import PUBLISHED, ranges_label
    from ablate.analysis.published_losses import PUBLISHED_LOSSES
    from ablate.terminal import show_rows

    laws: list[PublishedLaw | PublishedLoss] = [*PUBLISHED.values(), *PUBLISHED_LOSSES.values()]
    if as_json:
        print_json([law.to_json() | {"of": "loss" if law.name in PUBLISHED_LOSSES else "learning rate"} for law in laws])
    else:
        show_rows([{"law": law.name, "formula": law.formula, "range": ranges_label(law), "source": law.source} for law in laws])


def _study_law(name: str, folder: Path, store: str | None, definitions: Path | None) -> "tuple[LawReport, bool]":
    """The law of a study, and whether it is simulated."""
    from ablate.analysis.published import PUBLISHED
    from ablate.stores import find_study
    from ablate.study_law import Asked, fit_study_law

    unknown = f"no published law '{name}' ({', '.join(PUBLISHED)}){did_you_mean(name, PUBLISHED)}, and"
    if not workspace_of(folder, store).has_store:
        raise InputError(f"{unknown} no store with a study of that name")
    opened = open_store_of(folder, store)
    if study_name_of(name) not in {record.name for record in opened.studies()}:
        raise InputError(f"{unknown} no study of that name in the store")
    report = fit_study_law(opened, study_name_of(name), Asked(definitions=definitions))
    if report.fit is None:
        raise InputError(
            f"the study '{name}' has no law yet: fewer than two sizes with an optimum inside their grid (ablate law fit {name})"
        )
    return report, find_study(opened, study_name_of(name)).simulated
