"""What the tests of imports share: the verbs as people type them, and tables written to files."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ablate.cli import app
from ablate.workspace import Workspace


def typed(*words: str, place: Workspace) -> str:
    """Standard output of a verb that must succeed; raises what it raises."""
    result = CliRunner().invoke(app, [*words, "--workspace", str(place.folder)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def answered(*words: str, place: Workspace) -> Any:
    return json.loads(typed(*words, "--json", place=place))


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


def results_of(study: str, *, place: Workspace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(typed("results", study, "--format", "json", place=place))
    return rows
