"""The verbs that say what came of a study: `results`, `effects`, `dashboard`; `report` is in `cli_report.py`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ablate.arguments import (
    WORKSPACE,
    Folder,
    Json,
    StoreUrl,
    StudyName,
    is_table,
    open_store_of,
    print_json,
    refuse_for_study,
    study_name_of,
    study_names_of,
    workspace_of,
)
from ablate.errors import InputError

results_app = typer.Typer()
"""Mounted without a name: its verbs stand beside the others."""


@results_app.command()
def results(
    study: StudyName,
    form: Annotated[str, typer.Option("--format", help="csv, json, parquet, markdown or latex; default: a table.")] = "",
    curves: Annotated[bool, typer.Option("--curves", help="Every recorded point instead of the last ones.")] = False,
    claim: Annotated[
        str, typer.Option(metavar="NUMBER|LESSON", help="Only the trials that the verdict on a claim compares, pair by pair.")
    ] = "",
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print tidy rows: trial, arm, seed, state, the axes, the metrics."""
    from ablate.results import curves_frame, export, json_rows, results_frame
    from ablate.terminal import show_rows

    opened, name = open_store_of(workspace, store), study_name_of(study)
    if claim:
        from ablate.conclude import claim_trials

        if curves:
            raise InputError("--claim gives the values that were compared, and --curves every point: ask for one of them")
        frame = claim_trials(opened, name, which=claim)
    else:
        frame = curves_frame(opened, name) if curves else results_frame(opened, name)
    if not form:
        show_rows(json_rows(frame))
        return
    exported = export(frame, form)
    if isinstance(exported, bytes):
        sys.stdout.buffer.write(exported)
    else:
        sys.stdout.write(exported)


@results_app.command()
def effects(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY|FILE.csv", help="A study in the store, or a CSV with arm, seed and the metric."),
    ],
    baseline: Annotated[str, typer.Option(help="CSV only: the arm the others are compared with.")] = "",
    metric: Annotated[str, typer.Option(help="CSV only: the metric's column.")] = "",
    goal: Annotated[str, typer.Option(help="CSV only: max (default) or min is better; a loss or an error has no default.")] = "",
    within: Annotated[
        float | None, typer.Option(help="CSV only: a difference this small does not matter; an arm shown to be inside is equivalent.")
    ] = None,
    importance: Annotated[
        bool, typer.Option("--importance", help="Studies only: each axis's importance by fANOVA as well; takes some seconds.")
    ] = False,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print each level against its baseline with intervals, verdicts, the noise, and what else may explain an effect."""
    from ablate.conclude import conclude, csv_effects, study_factors, study_importance
    from ablate.history import mixtures, trained_with
    from ablate.terminal_conclusion import show_arm_effects, show_conclusion

    if is_table(study):
        if importance:
            raise InputError("--importance is for a study: a CSV has arms, and no axes to compare")
        answer = csv_effects(Path(study), baseline=baseline, metric=metric, goal=goal, within=within)
        print_json(answer.to_json()) if as_json else show_arm_effects(answer)
        return
    refuse_for_study(study, baseline=baseline, metric=metric, goal=goal, within="" if within is None else str(within))
    opened = open_store_of(workspace, store)
    conclusion = conclude(opened, study_name_of(study))
    design: Mapping[str, Any] = {"axes": conclusion.record.axes, "metric": conclusion.study.metric.name}
    factors = study_factors(conclusion.results, **design)
    forest = study_importance(conclusion.results, **design) if importance else None
    mixed = mixtures(trained_with(opened, [job.id for job in opened.jobs(conclusion.study.name)]))
    if as_json:
        more = {"factors": factors and factors.to_json(), "importance": forest and forest.to_json()}
        print_json(conclusion.to_json() | more | {"mixed": list(mixed)})
        return
    show_conclusion(conclusion, factors=factors, importance=forest)
    if mixed:
        print("\n! not all of these trials were trained alike:", *mixed, sep="\n  ")


@results_app.command()
def lessons(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="Names of studies, or their files; default: all.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown; default: a table.")] = "",
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print MM1's seventeen lessons with the claims that test them: verdicts, what would settle the rest, and the way to the trials."""
    from ablate.lessons import lesson_rows, markdown, summary, table
    from ablate.terminal import show_rows

    if form not in ("", "markdown"):
        raise InputError(f"unknown format '{form}' (markdown)")
    opened = open_store_of(workspace, store)
    names = study_names_of(studies) if studies else [record.name for record in opened.studies()]
    rows = lesson_rows(opened, names)
    if as_json:
        print_json({"summary": summary(rows), "lessons": [row.to_json() for row in rows]})
    elif form:
        print(markdown(rows), end="")
    else:
        show_rows(table(rows))
        print(f"\n{summary(rows)}")


@results_app.command()
def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on; one that other machines reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8050,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ABLATE_DASHBOARD_TOKEN",
            help="Asked of whoever opens the pages, at least 16 characters; `auto` makes one and prints it. Set the variable rather than "
            "this option, which the list of processes shows for a moment.",
        ),
    ] = None,
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help="With buttons that retry what failed and stop a run; without, the pages only read.")
    ] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Serve the live pages: to this machine only, unless --host and a token say otherwise."""
    from ablate.dashboard import check_access, pages_command, pages_environment

    check_access(host, port=port, token=token)
    open_store_of(workspace, store).close()
    # its own process: pages and runs share the store and nothing else
    sys.stdout.flush()
    options = ["--host", host, "--port", str(port), *(["--allow-control"] if allow_control else [])]
    command = pages_command(workspace_of(workspace, store), *options)
    os.execve(sys.executable, command, pages_environment(token))  # noqa: S606
