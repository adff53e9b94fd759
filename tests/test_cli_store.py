"""The store's verbs as people type them: what they say, what they leave, and their exit codes."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ablate.cli_store import archive_app, store_app
from ablate.errors import EnvironmentMissing, InputError
from ablate.stores.tables import REVISION
from ablate.workspace import Workspace
from tests.stores.ran import run, said_of, small_study, workspace_at

RELEASED = Path(__file__).parent / "stores" / "schema_1.sql"


def typed(*arguments: str, place: Workspace) -> str:
    group = store_app if arguments[0] == "store" else archive_app
    words = list(arguments[1:] if arguments[0] == "store" else arguments)
    result = CliRunner().invoke(group, [*words, "--workspace", str(place.folder)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def answered(*arguments: str, place: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(typed(*arguments, "--json", place=place))
    return found


def test_upgrade_says_from_where_to_where(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.folder / "ablate.db")
    connection.executescript(RELEASED.read_text(encoding="utf-8"))
    connection.close()
    assert typed("store", "upgrade", place=workspace) == f"schema 0 (before migrations) is now {REVISION}\n"
    assert typed("store", "upgrade", place=workspace) == f"the store has schema {REVISION} already\n"
    assert answered("store", "upgrade", place=workspace) == {"before": REVISION, "after": REVISION}


def test_upgrade_without_a_store_makes_none(workspace: Workspace) -> None:
    with pytest.raises(EnvironmentMissing, match="there is no store"):
        typed("store", "upgrade", place=workspace)
    assert not (workspace.folder / "ablate.db").exists()


def test_rebuild_says_what_came_back_and_what_did_not(workspace: Workspace) -> None:
    run(small_study(), workspace)
    file = workspace.folder / "ablate.db"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    said = typed("store", "rebuild", place=workspace)
    assert f"the damaged database is now {file}.damaged-1\n" in said
    assert "6 jobs in the folders, 4 of them done; 6 were not in the store and are now\n" in said
    assert f"ablate run --workspace {workspace.folder} FILE.yaml" in said
    assert answered("store", "rebuild", place=workspace) == {"jobs": 6, "added": 0, "done": 4, "set_aside": None, "unreadable": []}


def test_study_is_exported_and_imported(workspace: Workspace, tmp_path: Path) -> None:
    run(small_study(), workspace)
    other, file = workspace_at(tmp_path / "other"), str(tmp_path / "small.zip")
    said = answered("export", "small", "-o", file, "--artifacts", place=workspace)
    assert said == {"file": file, "jobs": 6, "done": 4, "artifacts": 4, "without_artifact": 0}
    assert typed("import", file, place=other) == "'small': 6 jobs were new here, 4 artifacts; 4 jobs of it are done\n"
    assert typed("import", file, place=other) == "'small' was here already, with all that the file holds\n"
    assert answered("import", file, place=other) == {"study": "small", "changed": False, "jobs": 0, "done": 4, "artifacts": 0}
    assert said_of(other) == said_of(workspace)


def test_import_of_no_export_makes_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"x")
    with pytest.raises(InputError, match="not a file that `ablate export` wrote"):
        typed("import", str(tmp_path / "x.zip"), place=Workspace(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
