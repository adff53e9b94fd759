"""The page that compares studies: on two of the synthetic trainer with an axis in common."""

from pathlib import Path
from typing import Any

import pytest

from ablate import synthetic
from ablate.errors import InputError
from ablate.workspace import Workspace
from dashboards.pages import compare, find_page
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, text
from tests.dashboards.filled import MIX, Writer

OTHER = {
    "name": "other",
    "axes": {"connector": ["avg_pool", "c_abstractor"], "image_size": [224, 336]},
    "metric": {"name": "loss", "goal": "min"},
    "seeds": [0, 1],
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    workspace = Workspace(tmp_path_factory.mktemp("two") / "work")
    Writer(MIX | {"seeds": [0, 1]}, workspace=workspace).finish()
    Writer(OTHER, workspace=workspace).finish()
    return Reader(workspace.store_url)


def layout(reader: Reader, **query: list[str]) -> Any:
    page, names = find_page("/compare")
    return page.layout(reader, names=names, query=query)


def measured(reader: Reader, *names: str) -> list[compare.Measured]:
    return [compare.measure(reader, snapshot) for snapshot in compare.known_studies(reader, list(names))]


def test_address_holds_the_studies_and_the_metric(two: Reader) -> None:
    page = layout(two, study=["mix", "other", "<b>"], metric=["score/8"])
    assert by_id(page, "compare-study").value == ["mix", "other"]
    assert by_id(page, "compare-metric").value == "score/8"
    snapshots = compare.known_studies(two, ["mix", "other"])
    assert compare.metric_choice(two, snapshots, wanted="score/8") == (["loss", "score/0", "score/4", "score/8"], "score/8")
    assert compare.metric_choice(two, snapshots, wanted="<b>")[1] == "score/4"
    assert compare.metric_choice(two, [], wanted=None) == ([], None)


def test_effects_stand_side_by_side_and_are_the_stated_ones(two: Reader) -> None:
    found = measured(two, "mix", "other")
    assert compare.nothing_common(found) == []
    figure, notes = compare.effects_figure(found, metric="loss", dark=False)
    assert figure is not None
    truth = {kind: synthetic.true_metrics(synthetic.Config(connector=kind))["loss"] for kind in ("avg_pool", "c_abstractor")}
    assert [trace.name for trace in figure.data] == ["mix (simulated)", "other (simulated)"]
    for trace in figure.data:
        assert list(trace.x) == pytest.approx([truth["c_abstractor"] - truth["avg_pool"]], abs=0.02)
    assert "Each effect is its own study's" in notes[-1]


def test_claims_budgets_and_declarations_of_each(two: Reader) -> None:
    snapshots = compare.known_studies(two, ["mix", "other"])
    claims = text(compare.claims_table(two, snapshots))
    assert claims.count("supported") == 2
    assert "other" not in claims
    budgets = text(compare.budgets_table(two, snapshots))
    assert "16 of 16 done" in budgets
    assert "8 of 8 done" in budgets
    declared = text(compare.declared_table(snapshots))
    assert "metric.name score/4 loss" in declared
    assert "seeds" not in declared


def test_studies_with_nothing_in_common_say_what_each_has_and_what_would_be_comparable(reader: Reader) -> None:
    shown = text(compare.nothing_common(measured(reader, "mix", "rates")))
    assert "In common are the metrics loss, score/0, score/4, score/8, and no axis." in shown
    assert "mix: 45:45:10, 90:0:10, 0:90:10, 30:60:10" in shown
    assert "peak_lr: only in rates" in shown
    assert "this axis of mix in rates: axes:\n  mix: ['45:45:10', '90:0:10', '0:90:10', '30:60:10']" in shown


def test_studies_without_a_metric_in_common_show_theirs(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    Writer(OTHER, workspace=workspace)
    Writer(OTHER | {"name": "again"}, workspace=workspace)
    shown = text(compare.nothing_common(measured(Reader(workspace.store_url), "other", "again")))
    assert "no metric in common" in shown
    assert shown.count("none reported yet") == 2
    assert "become comparable" not in shown, "they have axes in common"


def test_metric_that_is_none_draws_nothing(two: Reader) -> None:
    assert compare.effects_figure(measured(two, "mix", "other"), metric="<b>", dark=False)[0] is None


def test_claimless_studies_say_so(reader: Reader) -> None:
    assert "None of these studies has a claim" in text(compare.claims_table(reader, compare.known_studies(reader, ["rates"])))


def test_study_alike_declares_nothing_else(two: Reader, tmp_path: Path) -> None:
    (snapshot,) = compare.known_studies(two, ["mix", "mix"])
    assert "declared alike" in text(compare.declared_table([snapshot, snapshot]))


@pytest.mark.parametrize("names", [None, "mix", [3], ["nothing"], [f"s{number}" for number in range(7)]])
def test_studies_that_are_none_are_refused(two: Reader, names: object) -> None:
    with pytest.raises(InputError):
        compare.known_studies(two, names)
