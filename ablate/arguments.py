"""What the verbs share: their arguments, and how a reference becomes a study, a store, a workspace."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.errors import InputError, Problem

if TYPE_CHECKING:
    from ablate.stores import Store
    from ablate.study import Study
    from ablate.workspace import Workspace

Studies = Annotated[
    list[str],
    typer.Argument(
        metavar="STUDY... [KEY=VALUE...]",
        help="Study or suite files, or names of shipped ones such as quickstart; then changes such as seeds=5, train.steps=100 or "
        "connector.kind=avg_pool,c_abstractor.",
    ),
]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its file.")]
Folder = Annotated[
    Path,
    typer.Option("--workspace", envvar="ABLATE_WORKSPACE", help="Folder of the store, the runs and the artefacts."),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Another database, as a SQLAlchemy URL.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
WORKSPACE = Path(".ablate")


def studies_of(arguments: Sequence[str], *, seeds: int | None = None) -> "list[Study]":
    """The studies that are named, with the KEY=VALUE arguments on top of each. Raises InputError with every problem of all of them."""
    from ablate.load import load_studies

    changes = changes_in(arguments)
    if seeds is not None:
        changes.append(f"seeds={seeds}")
    references = [text for text in arguments if text not in changes]
    if not references:
        raise InputError(f"no study is named before {changes[0]}; write ablate VERB STUDY {changes[0]}")
    studies: list[Study] = []
    problems: list[str] = []
    for reference in references:
        try:
            studies += load_studies(reference, overrides=changes)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return studies


def warn_of_lacks(studies: "Sequence[Study]") -> None:
    """Says what this machine has not of what the studies name, which a run elsewhere may have: once, with the studies that it concerns."""
    from ablate.lacking import lacks

    told: dict[str, dict[str, list[Problem]]] = {}
    for study in studies:
        for problem in lacks(study):
            told.setdefault(problem.message, {}).setdefault(study.name, []).append(problem)
    for concerned in told.values():
        places = map(str, next(iter(concerned.values())))  # in the first study: the others lack the same
        print("\n".join(places) + (f" (concerns {', '.join(concerned)})" if len(concerned) > 1 else ""), file=sys.stderr)
    if names := list(dict.fromkeys(name for concerned in told.values() for name in concerned)):
        need = "needs these where its trials run" if len(names) == 1 else "need these where their trials run"
        print(f"{', '.join(names)} {need}; `ablate run` without --address does not start {_it(names)} here", file=sys.stderr)


def _it(names: "Sequence[str]") -> str:
    return "it" if len(names) == 1 else "them"


def changes_in(arguments: Sequence[str]) -> list[str]:
    """The KEY=VALUE arguments among those that name studies."""
    return [text for text in arguments if "=" in text and not Path(text).exists()]


def study_name_of(reference: str) -> str:
    """Verbs that read the store take a study's name; its file will do."""
    if not reference.endswith((".yaml", ".yml")):
        return reference
    from ablate.load import load_study

    return load_study(reference).name


def study_names_of(references: Sequence[str]) -> list[str]:
    """The same for several, a suite's file standing for all its studies."""
    return [name for text in references for name in ([s.name for s in studies_of([text])] if text.endswith((".yaml", ".yml")) else [text])]


def is_table(reference: str) -> bool:
    """Whether it names a table of runs, and no study."""
    return reference.lower().endswith((".csv", ".tsv"))


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


def file_of(reference: str, name: str) -> str:
    """What a hint names the study by, where the next command reads its file."""
    return reference if reference != name else "FILE, the study's file"


def print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False, indent=1))
