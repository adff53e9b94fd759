"""The verbs of the store itself: `store upgrade`, `store rebuild`, and a whole study out of one and into another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ablate.arguments import (
    WORKSPACE,
    Folder,
    Json,
    StoreUrl,
    StudyName,
    open_store_of,
    place_options,
    print_json,
    study_name_of,
    workspace_of,
)
from ablate.errors import InputError

store_app = typer.Typer(help="The database itself: bring its schema up to date, restore it.", no_args_is_help=True)
archive_app = typer.Typer()
"""Mounted without a name: its verbs stand beside the others."""


@store_app.command("upgrade")
def store_upgrade(as_json: Json = False, workspace: Folder = WORKSPACE, store: StoreUrl = None) -> None:
    """Bring the store to this program's schema; `run` does it by itself."""
    from ablate.stores.upgrade import upgrade

    done = upgrade(workspace_of(workspace, store).store_url)
    if as_json:
        print_json({"before": done.before, "after": done.after})
    else:
        before = f"{done.before} (before migrations)" if done.before == "0" else done.before
        print(f"the store has schema {done.after} already" if before == done.after else f"schema {before} is now {done.after}")


@store_app.command("rebuild")
def store_rebuild(as_json: Json = False, workspace: Folder = WORKSPACE, store: StoreUrl = None) -> None:
    """Restore a lost or damaged store from the attempts' folders of the workspace."""
    from ablate.stores.rebuild import rebuild

    rebuilt = rebuild(workspace_of(workspace, store))
    if as_json:
        aside = None if rebuilt.set_aside is None else str(rebuilt.set_aside)
        print_json(
            {"jobs": rebuilt.jobs, "added": rebuilt.added, "done": rebuilt.done, "set_aside": aside, "unreadable": list(rebuilt.unreadable)}
        )
        return
    if rebuilt.set_aside:
        print(f"the damaged database is now {rebuilt.set_aside}")
    for text in rebuilt.unreadable:
        print(f"passed over {text}")
    print(f"{rebuilt.jobs} jobs in the folders, {rebuilt.done} of them done; {rebuilt.added} were not in the store and are now")
    options = place_options(workspace, store)
    print(
        "the folders do not say which studies and trials there were, nor their earlier declarations and events:\n"
        f"  ablate run{options} FILE.yaml   brings a study back, and executes nothing that is done;\n"
        "a search is begun anew: which trials it had decided on was in the store only"
    )


@archive_app.command("export")
def export_file(
    study: StudyName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    artifacts: Annotated[bool, typer.Option("--artifacts", help="With what finished jobs left to those after them.")] = False,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Write a whole study to one file that another machine goes on with."""
    from ablate.archive import export_study

    opened, place = open_store_of(workspace, store), workspace_of(workspace, store)
    done = export_study(opened, study_name_of(study), path=output, workspace=place, artefacts=artifacts)
    if as_json:
        counts = {"jobs": done.jobs, "done": done.done, "artifacts": done.artefacts, "without_artifact": done.without_artefact}
        print_json({"file": str(done.path)} | counts)
        return
    print(f"wrote {done.path}: {done.jobs} jobs, {done.done} done, {done.artefacts} artifacts")
    if done.without_artefact:
        print(f"{done.without_artefact} finished jobs have no artifact here any more; who needs one builds it again")


@archive_app.command("import")
def import_(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[KIND] SOURCE",
            help="What `ablate export` wrote; or a kind and runs made elsewhere: csv FILE, mlflow TRACKING-URI, optuna STORAGE-URL, "
            "wandb FILE (its runs table as CSV, or the records of its API as JSON).",
        ),
    ],
    study: Annotated[str, typer.Option("--as", metavar="STUDY", help="Name of the study that the runs become.")] = "",
    metric: Annotated[str, typer.Option(help="What was measured: a column of a table, a metric, an objective.")] = "",
    goal: Annotated[str, typer.Option(help="Which way is better: min or max; an Optuna study says it itself.")] = "",
    also: Annotated[list[str] | None, typer.Option(metavar="METRIC", help="A further metric to keep; may be repeated.")] = None,
    axis: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="An axis; may be repeated. Default: what varies.")] = None,
    base: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=LEVEL", help="Baseline of an axis; default: the level of most runs.")
    ] = None,
    seed_column: Annotated[str, typer.Option(metavar="COLUMN", help="Where the seeds are; default: seed, else runs are numbered.")] = "",
    size: Annotated[str, typer.Option(metavar="COLUMN", help="Parameters of a run, for a law (law fit, next).")] = "",
    rate: Annotated[str, typer.Option(metavar="COLUMN", help="Learning rate of a run, for a law.")] = "",
    experiment: Annotated[str, typer.Option(metavar="NAME", help="MLflow's experiment or Optuna's study, where there are several.")] = "",
    repeats: Annotated[
        str, typer.Option(help="Finished runs with the same levels and seed: refuse, last (it alone counts), number (each is a seed).")
    ] = "refuse",
    replace: Annotated[bool, typer.Option("--replace", help="In the place of an imported study of this name, and of all it held.")] = False,
    question: Annotated[str, typer.Option(help="What the runs were to answer, in a sentence.")] = "",
    curves: Annotated[
        bool, typer.Option("--curves/--no-curves", help="With every recorded point; MLflow has to be asked for those of each run.")
    ] = True,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Take a study in: an export of ours, or runs made elsewhere, on which all that analyses a study then works."""
    from ablate.imports.runs import KINDS, Asked

    options: dict[str, object] = {"--as": study, "--metric": metric, "--goal": goal, "--also": also, "--axis": axis, "--base": base}
    options |= {"--seed-column": seed_column, "--size": size, "--rate": rate, "--experiment": experiment}
    options |= {"--repeats": repeats != "refuse", "--replace": replace, "--question": question, "--no-curves": not curves}
    if len(words) == 1 and (words[0] not in KINDS or Path(words[0]).exists()):
        given = [name for name, value in options.items() if value]
        _import_archive(Path(words[0]), given=given, as_json=as_json, folder=workspace, store=store)
        return
    if len(words) != 2:
        raise InputError(f"ablate import {' '.join(words)}: write a kind and one source, as in ablate import {words[0]} SOURCE --as STUDY")
    from ablate.imports.told import import_runs

    asked = Asked(
        kind=words[0],
        source=words[1],
        study=study,
        metric=metric,
        goal=goal,
        also=tuple(also or ()),
        axes=tuple(axis or ()),
        base=_baselines(base or ()),
        seed=seed_column,
        size=size,
        rate=rate,
        experiment=experiment,
        repeats=repeats,
        replace=replace,
        question=question,
        curves=curves,
    )
    done = import_runs(asked, workspace_of(workspace, store))
    if as_json:
        print_json(done.to_json())
    else:
        print(*done.lines(options=place_options(workspace, store)), sep="\n")


def _baselines(texts: Sequence[str]) -> dict[str, str]:
    """Column -> level of each COLUMN=LEVEL."""
    if odd := [text for text in texts if "=" not in text]:
        raise InputError(f"--base {odd[0]}: write --base COLUMN=LEVEL")
    return {column: level for column, _, level in (text.partition("=") for text in texts)}


def _import_archive(file: Path, *, given: Sequence[str], as_json: bool, folder: Path, store: str | None) -> None:
    from ablate.archive import read_archive
    from ablate.arrival import import_study
    from ablate.imports.runs import KINDS

    if given:
        kinds = ", ".join(KINDS)
        raise InputError(f"{', '.join(given)}: for runs made elsewhere; write their kind before {file} ({kinds}): ablate import csv {file}")
    archive, place = read_archive(file), workspace_of(folder, store)  # a file that is refused makes no store
    place.create()
    done = import_study(archive, store=open_store_of(folder, store, write=True), workspace=place)
    if as_json:
        counts = {"jobs": done.jobs, "done": done.done, "artifacts": done.artefacts}
        print_json({"study": done.study, "changed": done.changed} | counts)
    elif done.changed:
        print(f"'{done.study}': {done.jobs} jobs were new here, {done.artefacts} artifacts; {done.done} jobs of it are done")
    else:
        print(f"'{done.study}' was here already, with all that the file holds")
