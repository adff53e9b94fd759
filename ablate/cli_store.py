"""The verbs of the store itself: `store upgrade`, `store rebuild`, and a whole study out of one and into another."""

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
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `ablate export` wrote.")],
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Take a study in from such a file; `run` then executes only what is missing."""
    from ablate.archive import read_archive
    from ablate.arrival import import_study

    archive, place = read_archive(file), workspace_of(workspace, store)  # a file that is refused makes no store
    place.create()
    done = import_study(archive, store=open_store_of(workspace, store, write=True), workspace=place)
    if as_json:
        counts = {"jobs": done.jobs, "done": done.done, "artifacts": done.artefacts}
        print_json({"study": done.study, "changed": done.changed} | counts)
    elif done.changed:
        print(f"'{done.study}': {done.jobs} jobs were new here, {done.artefacts} artifacts; {done.done} jobs of it are done")
    else:
        print(f"'{done.study}' was here already, with all that the file holds")
