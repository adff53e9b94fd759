"""The command line: the stages in order, each verb one stage. Heavy libraries are imported by the verb that needs them.

Exit codes: 0 done; 1 something failed, or a claim was contradicted with --strict; 2 bad input, nothing was changed; 3 the environment
lacks something; 130 interrupted, resumable.
"""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.arguments import (
    WORKSPACE,
    Folder,
    Json,
    StoreUrl,
    Studies,
    StudyName,
    changes_in,
    file_of,
    open_store_of,
    place_options,
    print_json,
    studies_of,
    study_name_of,
    warn_of_lacks,
    workspace_of,
)
from ablate.cli_law import law_app, next_app
from ablate.cli_report import report_app
from ablate.cli_results import results_app
from ablate.cli_scaling import scales_app
from ablate.cli_store import archive_app, store_app
from ablate.cli_surrogate import surrogate_app
from ablate.collector import paused_collector
from ablate.errors import AblateError, InputError

if TYPE_CHECKING:
    from ablate.stores import Store

app = typer.Typer(
    help="Ablation studies for multimodal language models: declare, plan, run on Ray, watch, conclude.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(results_app)
app.add_typer(report_app)
app.add_typer(law_app, name="law")
app.add_typer(next_app)
app.add_typer(scales_app)
app.add_typer(surrogate_app)
app.add_typer(store_app, name="store")
app.add_typer(archive_app)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write it.")] = Path()) -> None:
    """Write a commented study to start from."""
    from importlib import resources

    target = folder / "my-study.yaml"
    if target.exists():
        raise InputError(f"{target} exists already; move it away, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text((resources.files("studies") / "template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    print(f"wrote {target}\nnext:  ablate validate {target}\n       ablate plan {target}\n       ablate run {target}")


@app.command()
@paused_collector()
def validate(studies: Studies) -> None:
    """Say every mistake of a study file at once, with its line and column."""
    from ablate.lacking import lacks

    loaded = [(study, len(lacks(study))) for study in studies_of(studies)]
    for study, number in loaded:
        but = f", but {number} thing{' that it reads is' if number == 1 else 's that it reads are'} not here" if number else ""
        print(f"{study.source}: fine{but} ({study.name})")
    warn_of_lacks([study for study, number in loaded if number])


@app.command()
def schema() -> None:
    """Print the study file's format as a JSON Schema, for editors that complete and check."""
    from ablate.schema import json_schema

    print_json(json_schema())


@app.command()
@paused_collector()
def plan(
    studies: Studies,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1 instead of the study's.")] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Show what would run, what it costs, and what is done already."""
    from ablate.preview import make_preview, refuse_over_budget

    place, loaded = workspace_of(workspace, store), studies_of(studies, seeds=seeds)
    previews = [make_preview(study, place) for study in loaded]
    if as_json:
        documents = [preview.to_json() for preview in previews]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        from ablate.plan_screen import show_plan

        for preview in previews:
            show_plan(preview)
    warn_of_lacks(loaded)
    refuse_over_budget(previews)


@app.command()
def run(
    studies: Studies,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at a time; default: one a core.")] = None,
    address: Annotated[str, typer.Option(help="Ray cluster to join; `local` starts Ray here.")] = "local",
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1 instead of the study's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a claim is contradicted.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Serve the live pages while it runs, and print where.")] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Execute what is missing; running it again resumes."""
    loaded = studies_of(studies, seeds=seeds)
    from ablate.schedule.joining import head_of

    if address != "local":
        head_of(address)  # a malformed one is refused before anything is written
    place = workspace_of(workspace, store)
    from ablate.preview import check_budgets, make_preview

    if dry_run:
        from ablate.plan_screen import show_plan

        for study in loaded:
            show_plan(make_preview(study, place))
    if dry_run or address != "local":  # the machines of a cluster may have what this one lacks
        warn_of_lacks(loaded)
    check_budgets(loaded, place)
    if dry_run:
        return
    from ablate.sources import refuse_uncommitted

    for study in loaded:
        refuse_uncommitted(study)
    if address == "local":
        from ablate.lacking import refuse_lacks

        refuse_lacks(loaded[0], place)  # what the others lack, those before them may make: each is asked again when its turn comes
        warn_of_lacks(loaded[1:])
    from ablate.outlive import outlived

    if changes := [text for text in changes_in(studies) if not text.startswith("name=")]:
        print(f"{' '.join(changes)} is part of what this run declares: a later run without it deviates; name=NAME keeps a try apart")
    command = " ".join(["ablate", *sys.argv[1:]])
    options = place_options(workspace, store)
    with outlived(resume=command):
        from ablate.session import run_all

        code = run_all(loaded, place, slots=slots, address=address, dashboard=dashboard, command=command, options=options)
    if code == 0 and strict:
        code = _say_contradicted([study.name for study in loaded], open_store_of(workspace, store))
    raise typer.Exit(code)


def _say_contradicted(studies: Sequence[str], store: "Store") -> int:
    """Names each claim that a study contradicts; the exit code that comes of it."""
    from ablate.conclude import conclude

    verdicts = [(name, verdict) for name in studies for verdict in conclude(store, name).verdicts]
    contradicted = [(name, verdict) for name, verdict in verdicts if verdict.verdict == "contradicted"]
    for name, verdict in contradicted:
        print(f"contradicted: {name}: {verdict.statement}: {verdict.reason}", file=sys.stderr)
    return 1 if contradicted else 0


@app.command()
@paused_collector()
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name of a study in the store, or its file.")] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Show what is done, running, failed, missing or stale."""
    from ablate.deviations import edited_since, registration
    from ablate.standing import is_deserted, listed, status_rows, study_rows
    from ablate.stores import find_study
    from ablate.terminal import show_rows
    from ablate.terminal_conclusion import show_standing

    opened, options = open_store_of(workspace, store), place_options(workspace, store)
    if study is None:
        rows = study_rows(opened)
        print_json(rows) if as_json else show_rows(rows)
        return
    name = study_name_of(study)
    active, trials = find_study(opened, name).active, opened.standings(name)
    rows = status_rows(opened, name, trials=trials)
    if as_json:
        print_json([row | {"active": active} for row in rows])
        return
    found = listed(rows)
    show_rows(found.rows)
    if found.said:
        print(f"\n{found.said}: ablate status {name}{options} --json")
    stale = sum(row["state"] == "stale" for row in rows)
    show_standing(registration(opened, name, trials=trials), study=name, stale=stale, options=options)
    if active and (holder := opened.holder(name)):
        print(f"a run works on it: {holder.lease.who}, its last sign {holder.silent_seconds:.0f} s ago")
    if is_deserted(opened, name, trials=trials):
        print(f"nobody works on it: its run ended without a word; `ablate run{options} {file_of(study, name)}` goes on")
    if study != name and (changed := edited_since(opened, studies_of([study])[0])):
        print(f"{study} has changed since ({'; '.join(changed)}): ablate plan {study} shows what is missing")


@app.command()
def retry(
    study: StudyName,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    lost: Annotated[bool, typer.Option("--lost", help="Only those whose worker, node or disk failed them.")] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Put a study's failed and lost jobs back in the queue; `run` then executes them."""
    from ablate import holding
    from ablate.quantities import counted
    from ablate.standing import RETRIED

    name = study_name_of(study)
    holding.refuse_imported(open_store_of(workspace, store), name)  # a reader makes no database where there is none
    kinds = [kind for kind, asked in zip(RETRIED, (failed, lost), strict=True) if asked or failed == lost]
    found = holding.retry(open_store_of(workspace, store, write=True), name, kinds=kinds, by="ablate retry")
    next_run = f"ablate run{place_options(workspace, store)} {file_of(study, name)}"
    print(f"{counted(len(found.jobs), 'job')} queued again; next: {next_run}" if found.jobs else f"nothing {' or '.join(kinds)}")
    print(found.left_text, end="")


@app.command()
def stop(study: StudyName, workspace: Folder = WORKSPACE, store: StoreUrl = None) -> None:
    """Ask the run that works on a study to end in order, as Ctrl-C does; the same run command goes on later."""
    from ablate.holding import ask_to_stop
    from ablate.stores import find_study

    opened, name = open_store_of(workspace, store), study_name_of(study)
    find_study(opened, name)
    print(ask_to_stop(opened, name).said)


@app.command()
def logs(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, or the beginning of it, or a job's id.")],
    attempt: Annotated[int | None, typer.Option(min=1, help="Which attempt; default: the last one.")] = None,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print what an attempt of a trial (or job) wrote, and why it ended."""
    from ablate.history import attempt_numbers, attempt_text, trials_of_jobs

    opened, place = open_store_of(workspace, store), workspace_of(workspace, store)
    jobs = trials_of_jobs(opened, trial)
    for job, number in attempt_numbers(opened, jobs, wanted=attempt).items():
        for row in jobs[job]:
            print(f"== {row.study}: {row.id}: {row.state}{': ' if row.reason else ''}{row.reason}")
        print(attempt_text(opened, job, number, workspace=place))


@app.command()
def explain(
    first: Annotated[str, typer.Argument(metavar="ID", help="A trial's or a job's id, or the beginning of it.")],
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Another one, to compare it with.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="A study file whose plan to look into too.")] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Say what a trial or a job is made of and how its attempts went, or in which fields two of them differ."""
    from ablate import identity, terminal
    from ablate.design import make_arms
    from ablate.history import mixtures, past_attempts, trained_with
    from ablate.planner import make_plan

    plans = [make_plan(planned, make_arms(planned)) for planned in studies_of([study])] if study else []
    place = workspace_of(workspace, store)
    opened = None if plans and not place.has_store else open_store_of(workspace, store)
    catalogue = identity.Catalogue(opened, plans=plans)
    if other is None:
        explanation = identity.explain(catalogue, first)
        attempts = past_attempts(opened, [stage.job for stage in explanation.subject.stages], workspace=place) if opened else ()
        if as_json:
            print_json(explanation.to_json() | {"attempts": [attempt.to_json() for attempt in attempts]})
            return
        terminal.show_explanation(explanation)
        if attempts:
            print()
            terminal.show_rows([attempt.row() for attempt in attempts])
        for attempt in attempts:
            if attempt.diff:
                print(f"{attempt.record.job}, attempt {attempt.record.number}: its uncommitted changes are in {attempt.diff}")
    else:
        comparison = identity.compare(catalogue.find(first), catalogue.find(other))
        jobs = [stage.job for subject in (comparison.first, comparison.second) for stage in subject.stages]
        mixed = mixtures(trained_with(opened, jobs)) if opened else ()
        if as_json:
            print_json(comparison.to_json() | {"mixed": list(mixed)})
            return
        terminal.show_comparison(comparison)
        if mixed:
            print("\ntrained with", *mixed, sep="\n  ")


def main() -> None:
    """Entry point of the `ablate` command: an error a person can mend is one message and its exit code, never a traceback."""
    _open_closed_streams()
    atexit.register(gc.freeze)  # what is left at the end, such as a large plan, is not searched for cyclic garbage on the way out
    try:
        app()
    except AblateError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # the reader has gone, as in `ablate results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _open_closed_streams() -> None:
    """Whoever closed our output does not want it; a file of ours must not get its number and be written into."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r"))
