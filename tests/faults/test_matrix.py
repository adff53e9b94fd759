"""The rows of the fault matrix, and that each has a test which causes its fault.

A test says which row it proves with `@pytest.mark.fault("F05")`, wherever it lies.
"""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PROMISES = {
    "F01": "driver killed at random moments: nothing done is lost, little is repeated",
    "F02": "driver killed between an outcome and its row: the next start takes it over",
    "F03": "driver killed while it writes: no half file under a final name, remains are cleared",
    "F04": "a signal ends a run in order, a second one at once",
    "F05": "worker killed in a step: it goes on from its last checkpoint",
    "F06": "worker killed while it writes a checkpoint: the one before is used",
    "F07": "worker killed beside children: none of them is left",
    "F08": "node lost, another comes: trials go on, counted as lost",
    "F09": "node lost, none comes: the run ends with what was asked and what there is",
    "F10": "Ray's head killed: cause and resume command, what finished counts",
    "F11": "out of memory: one retry with room, then failed, the others finish",
    "F12": "the store's disk is full: waited for, then the run ends without a loss",
    "F13": "the disk of artefacts and checkpoints is full: nothing cut under a final name",
    "F14": "Ray's own folder is full: refused before anything starts",
    "F15": "writers, pages and status at once: no locked file",
    "F16": "database cut, overwritten, without its log, read-only: named, left alone, rebuilt",
    "F17": "PostgreSQL stopped and started: the run completes, nothing lost or double",
    "F18": "a connection ends in a transaction, idle, or cannot be had: waited for",
    "F19": "MLflow locked, spoilt, its server away, dead, refusing or silent: trials go on, in the end it equals the store",
    "F20": "four first runs at once: store and MLflow are made once",
    "F21": "two drivers: one runs, the other is told who",
    "F22": "the lease's holder is killed: another takes over",
    "F23": "the lease's holder was stopped: it writes nothing more",
    "F24": "a worker is stopped, its results come late: refused",
    "F25": "clocks jump: no false takeover, no immortal lease",
    "F26": "a trainer raises, exits, dies: its trial fails, the others do not",
    "F27": "values that are not finite: failed or NULL, never a number",
    "F28": "hangs of all kinds are ended at their limit",
    "F29": "a checkpoint that is cut, flipped or another's is not loaded",
    "F30": "an artefact that is gone or flipped is rebuilt once, its readers wait",
    "F31": "everything fails: the node is left alone, the run pauses",
    "F32": "study, base, code or package version changed: old arms are stale, what moved is named",
    "F33": "older and newer schemas: upgraded whole, or refused",
    "F34": "a large study, killed in its middle, goes on",
    "F35": "floods of log and metrics are capped",
    "F36": "pages killed, or without a store: the run does not notice, they recover",
    "F37": "workspace moved, copied while it runs, read-only",
    "F38": "a worker in which a trial failed runs nothing more",
    "F39": "terminal closed, nohup, nobody reads: as a signal, or not at all",
}


def rows_of(path: Path) -> dict[str, list[str]]:
    """Row -> the tests of a file that carry its marker, on themselves or on one of their parameters."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for call in (inner for decorator in node.decorator_list for inner in ast.walk(decorator) if isinstance(inner, ast.Call)):
                if ast.unparse(call.func) == "pytest.mark.fault":
                    (row,) = (ast.literal_eval(argument) for argument in call.args)
                    found[row].append(f"{path.name}::{node.name}")
    return found


@pytest.fixture(scope="module")
def proven() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for row, names in rows_of(path).items():
            found[row] += names
    return found


@pytest.mark.parametrize("row", PROMISES)
def test_row_of_the_matrix_is_proven(row: str, proven: dict[str, list[str]]) -> None:
    assert proven[row], f"no test carries the marker of {row}: {PROMISES[row]}"


def test_no_test_names_a_row_that_is_none(proven: dict[str, list[str]]) -> None:
    assert {row: names for row, names in proven.items() if row not in PROMISES} == {}
