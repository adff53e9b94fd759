"""What the verbs share: their arguments, and how a reference becomes a study, a store, a workspace."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.errors import InputError

if TYPE_CHECKING:
    from ablate.stores import Store
    from ablate.study import Study
    from ablate.workspace import Workspace

Studies = Annotated[list[str], typer.Argument(metavar="STUDY...", help="Study files, or names of shipped studies such as quickstart.")]
StudyFile = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped study.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its file.")]
Folder = Annotated[
    Path,
    typer.Option("--workspace", envvar="ABLATE_WORKSPACE", help="Folder of the store, the runs and the artefacts."),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Another database, as a SQLAlchemy URL.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
WORKSPACE = Path(".ablate")


def study_of(reference: str, *, seeds: int | None = None) -> "Study":
    from ablate.load import load_study

    study = load_study(reference)
    if seeds is None:
        return study
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: at least 1")
    return study.model_copy(update={"seeds": tuple(range(seeds))})


def study_name_of(reference: str) -> str:
    """Verbs that read the store take a study's name; its file will do."""
    return study_of(reference).name if reference.endswith((".yaml", ".yml")) else reference


def workspace_of(folder: Path, store: str | None) -> "Workspace":
    from ablate.workspace import Workspace

    return Workspace(folder.resolve(), store)


def open_store_of(folder: Path, store: str | None, *, write: bool = False) -> "Store":
    from ablate.stores import open_store

    return open_store(workspace_of(folder, store).store_url, write=write)


def place_options(folder: Path, store: str | None) -> str:
    """What a hint must repeat so that the next command looks in the same place."""
    named = "" if folder == WORKSPACE else f" --workspace {folder}"
    return named + (" --store URL" if store else "")


def refuse_for_study(study: str, **given: object) -> None:
    """Options that describe a CSV say nothing of a study, which declares these things itself."""
    for option, value in given.items():
        if value:
            raise InputError(f"--{option} is for a CSV file; '{study}' is a study, and its file says its {option}")


def print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False, indent=1))
