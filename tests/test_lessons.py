"""MM1's lessons against the studies of a store: which claims stand on which, and when a lesson is decided."""

import json
import threading

import pytest
from typer.testing import CliRunner

from ablate.cli import app
from ablate.errors import InputError
from ablate.lessons import LessonRow, lesson_rows, markdown, standing, summary, table
from ablate.mm1_reference import LESSONS
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_study

CLAIMS = [
    {"axis": "image_size", "expect": "increases"},
    {"lesson": "connector_res", "axis": "image_size", "expect": "increases"},
    {"lesson": "connector_type", "axis": "connector", "expect": "equivalent", "within": 1.0},
    {"lesson": "connector_type", "axis": "connector", "expect": "equivalent"},
    {"lesson": "moe", "axis": "image_size", "level": 448, "against": 112, "expect": "decreases"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Of studies whose truth is the stated law: 0.8 points from 112 to 448 pixels, 0.2 from the connector."""
    axes = {"image_size": [112, 448], "connector": ["avg_pool", "c_abstractor"]}
    workspace = Workspace(tmp_path_factory.mktemp("lessons"))
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    for name, claims in (("first", CLAIMS), ("second", CLAIMS[1:2]), ("third", [])):
        study = make_study(name=name, axes=axes, base={"steps": 1}, metric={"name": "score/4", "goal": "max"}, claims=claims, seeds=3)
        run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    return workspace


@pytest.fixture(scope="module")
def rows(place: Workspace) -> dict[str, LessonRow]:
    store = open_store(place.store_url)
    return {row.lesson.id: row for row in lesson_rows(store, ["first", "second", "third"])}


def test_every_lesson_has_a_row_and_the_claims_on_it(rows: dict[str, LessonRow]) -> None:
    assert list(rows) == list(LESSONS)
    assert [(one.tested.record.name, one.tested.number) for one in rows["connector_res"].claims] == [("first", 2), ("second", 1)]
    assert [one.tested.number for one in rows["connector_type"].claims] == [3, 4]
    assert rows["encoder_size"].claims == ()
    found = {name: row.standing for name, row in rows.items() if row.claims}
    assert found == {"connector_res": "supported", "connector_type": "inconclusive", "moe": "contradicted"}
    assert rows["connector_type"].claims[0].open is None
    assert rows["connector_type"].claims[1].open is not None


def test_summary_counts_lessons(rows: dict[str, LessonRow]) -> None:
    assert summary(list(rows.values())) == "2 of 17 lessons decided (1 supported, 1 contradicted); 1 inconclusive, 14 untested"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], "untested"),
        (["supported", "supported"], "supported"),
        (["supported", "inconclusive"], "inconclusive"),
        (["supported", "contradicted"], "mixed"),
        (["equivalent"], "equivalent"),
    ],
)
def test_lesson_is_decided_once_each_claim_is(outcomes: list[str], expected: str) -> None:
    assert standing(outcomes) == expected  # type: ignore[arg-type]


def test_table_leads_to_the_trials_and_says_what_is_not_there(rows: dict[str, LessonRow]) -> None:
    cells = table([rows["connector_res"], rows["encoder_size"]])
    assert [row["trials"] for row in cells] == ["ablate results first --claim 2", "ablate results second --claim 1", "–"]
    assert "+0.759" in cells[0]["difference, 95 % interval"]
    assert cells[0]["study's compute"] != "–"
    text = markdown([rows["connector_res"]])
    assert text.count("\n| `connector_res` |") == 2
    assert text.endswith("\n\n1 of 1 lesson decided (1 supported).\n")


def test_verb_prints_the_rows_of_some_studies_or_all(place: Workspace) -> None:
    def ablate(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["lessons", *words, "--workspace", str(place.folder)])
        assert done.exit_code == code, done.output
        return done.output

    assert "2 of 17 lessons decided" in ablate()
    assert "ablate results second --claim 1" in ablate("second")
    assert "first" not in ablate("second")
    said = json.loads(ablate("--json"))
    assert said["summary"].startswith("2 of 17 lessons decided")
    (claim,) = next(row for row in said["lessons"] if row["lesson"] == "moe")["claims"]
    assert (claim["verdict"], claim["trials"]) == ("contradicted", "ablate results first --claim 5")
    assert ablate("--format", "markdown").startswith("| lesson | MM1 (arXiv 2403.09611) | claim |")
    with pytest.raises(InputError, match="unknown format 'latex'"):
        app(["lessons", "--format", "latex", "--workspace", str(place.folder)], standalone_mode=False)
