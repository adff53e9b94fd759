"""The arrows of the design, read off the imports: dashboards -> ablate -> model_zoo by name only, heavy libraries at home, no cycle."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_small_plan

ROOT = Path(__file__).parent.parent
PACKAGES = ("ablate", "model_zoo", "dashboards")
HOMES = {
    "ray": ("ablate.schedule.", "model_zoo.machines"),  # which starts processes on the other machines of an attempt
    "mlflow": ("ablate.stores.mlflow_mirror", "ablate.imports.mlflow_runs"),
    "optuna": ("ablate.search", "ablate.analysis.importance", "ablate.imports.optuna_trials"),
    "sqlalchemy": ("ablate.stores.sql", "ablate.stores.tables"),
    "alembic": ("ablate.stores.",),
    "pg8000": (),
    "torch": ("model_zoo.",),
    "transformers": ("model_zoo.",),
    "sklearn": ("model_zoo.",),
    "dash": ("dashboards.",),
    "dash_ag_grid": ("dashboards.",),
    "rich": ("ablate.terminal", "ablate.plan_screen"),
    "typer": ("ablate.cli", "ablate.arguments"),
    "kaleido": ("ablate.figure_files",),
    "yaml": ("ablate.marked_yaml", "ablate.yaml_text"),
}
"""Library -> the modules that may import it."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[dotted.removesuffix(".__init__")] = path
    return found


def imports_of(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """Every dotted name a file imports; `lazy=False` leaves out imports inside functions and for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazy else _at_import(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import(child)


def graph(*, lazy: bool) -> dict[str, set[str]]:
    known = modules()
    return {name: {target for target in imports_of(path, lazy=lazy) if target in known and target != name} for name, path in known.items()}


def test_packages_point_one_way() -> None:
    allowed = {"dashboards": {"dashboards", "ablate"}, "ablate": {"ablate"}, "model_zoo": {"model_zoo"}}
    wrong = [
        f"{name} imports {target}"
        for name, targets in graph(lazy=True).items()
        for target in targets
        if target.partition(".")[0] not in allowed[name.partition(".")[0]]
    ]
    assert wrong == []


def test_heavy_libraries_have_one_home() -> None:
    wrong = [
        f"{name} imports {library}"
        for name, path in modules().items()
        for library in {target.partition(".")[0] for target in imports_of(path)} & set(HOMES)
        if not name.startswith(HOMES[library])
    ]
    assert wrong == []


def test_modules_import_one_another_in_no_circle() -> None:
    """A lazy import that hides a circle counts; only the store's own choice of an implementation is let through."""
    arrows = graph(lazy=True)
    arrows["ablate.stores"] -= {"ablate.stores.sql"}
    arrows["ablate.stores"] = {target for target in arrows["ablate.stores"] if not target.startswith("ablate.stores.sql")}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(arrows[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "common", "helpers", "core", "misc", "manager"}
    assert [name for name in modules() if name.rpartition(".")[2] in drawers] == []


@pytest.mark.parametrize("verb", [["--help"], ["plan", "quickstart"], ["plan", "lr_law_tiny", "--json"], ["validate", "search_tiny"]])
def test_planning_imports_nothing_heavy(verb: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from ablate.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print([m for m in ('torch', 'ray', 'mlflow', 'dash', 'pandas', 'sklearn', 'optuna') if m in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert found.stderr.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_status_reads_the_store_and_no_study_language(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".ablate")
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    store.record_plan(make_small_plan(), axes={}, simulated=True)
    store.close()
    code = (
        "import sys; from ablate.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print([m for m in ('pandas', 'yaml', 'ablate.study', 'ablate.planner', 'ablate.attempt') if m in sys.modules], file=sys.stderr)"
    )
    for words in ([], ["small"]):
        found = subprocess.run([sys.executable, "-c", code, "status", *words], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert found.stderr.strip() == "[]"
        assert "small" in found.stdout or "queued" in found.stdout


def test_run_leaves_mlflow_and_the_report_to_the_mirror_beside_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import ablate.session\n"
        "from ablate.mirroring import Mirroring, mirror_order; from ablate.workspace import Workspace\n"
        "from ablate.stores import open_store; from tests.conftest import make_study; from tests.faults.invariants import go_on\n"
        "workspace = Workspace(Path(sys.argv[1])); workspace.create(); store = open_store(workspace.store_url, write=True)\n"
        "assert go_on(make_study(), workspace) == 2; Mirroring(mirror_order(workspace, ()), store, say=print).__exit__(None)\n"
        "print([m for m in ('mlflow', 'plotly', 'pandas', 'scipy', 'jinja2', 'ablate.report') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
