"""The page of interactions and importance, on a study of two crossed axes whose law is known."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.factors import FactorEffects
from ablate.analysis.importance import FactorImportance, Importance
from ablate.errors import InputError
from ablate.workspace import Workspace
from dashboards import reader as reading
from dashboards.pages import factors
from dashboards.reader import Reader
from tests.dashboards.conftest import by_id, text
from tests.dashboards.filled import MIX, Writer

FOREST = Importance("score/4", (FactorImportance("mix", 0.9, 0.85, 0.95), FactorImportance("connector", 0.1, 0.05, 0.15)), 5, 24, "")


def found_of(reader: Reader) -> FactorEffects:
    found = reader.factors(reader.snapshot("mix"))
    assert found is not None
    return found


def test_two_axes_are_offered_and_the_address_keeps_them(reader: Reader) -> None:
    page = factors.layout(reader, names=["mix"], query={})
    assert (by_id(page, "factors-a").value, by_id(page, "factors-b").value) == ("mix", "connector")
    page = factors.layout(reader, names=["mix"], query={"a": ["connector"], "b": ["mix"]})
    assert (by_id(page, "factors-a").value, by_id(page, "factors-b").value) == ("connector", "mix")
    assert by_id(factors.layout(reader, names=["mix"], query={"a": ["<b>"]}), "factors-a").value == "mix"


def test_study_of_one_axis_says_why_there_is_nothing(reader: Reader) -> None:
    shown = text(factors.layout(reader, names=["live"], query={}))
    assert "This study varies one axis, image_size" in shown
    assert "axes:\n  image_size: [224, 336, 448]\n  connector: [avg_pool, c_abstractor]\ndesign: grid" in shown
    assert "Interactions" not in shown


def test_axis_that_moves_the_metric_has_the_largest_share(reader: Reader) -> None:
    found, snapshot = found_of(reader), reader.snapshot("mix")
    assert found.main[0].name == "mix"
    drawn = factors.bars(snapshot, found=found, forest=None, dark=False)
    assert next(trace.name for trace in drawn.data) == "sum of squares (designed)"
    shown = text(factors.shares(found, forest=None, outdated=False))
    assert "mix × connector" in shown
    assert "noise (sd" in shown
    assert factors.matrix(snapshot, found=found, dark=True).data[0].type == "heatmap"


def test_forest_is_beside_the_shares_with_its_spread(reader: Reader) -> None:
    drawn = factors.bars(reader.snapshot("mix"), found=found_of(reader), forest=FOREST, dark=False)
    assert next(list(trace.x) for trace in drawn.data if trace.name == "fANOVA") == [0.9, 0.1]
    assert FOREST.caution in text(factors.shares(found_of(reader), forest=FOREST, outdated=False))
    assert "earlier state" in text(factors.shares(found_of(reader), forest=None, outdated=True))


def test_forests_grow_once_a_version_and_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[Any] = []
    monkeypatch.setattr(reading, "study_importance", lambda results, **_: grown.append(len(results)) or FOREST)
    writer = Writer(MIX, workspace=Workspace(tmp_path)).finish(12)
    fresh = Reader(Workspace(tmp_path).store_url)
    before = fresh.snapshot("mix")
    assert factors.forest_of(fresh, before, asked=None) is None
    threads = [threading.Thread(target=fresh.importance, args=(before,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert factors.forest_of(fresh, before, asked=before.version) is FOREST
    assert len(grown) == 1
    writer.finish(1)
    assert factors.forest_of(fresh, fresh.snapshot("mix"), asked=before.version) is None
    assert len(grown) == 1


def test_lines_are_a_level_of_the_second_axis(reader: Reader) -> None:
    drawn = factors.lines(reader, reader.snapshot("mix"), axes=("mix", "connector"), dark=False)
    assert [trace.name for trace in drawn.data] == ["connector avg_pool", "connector c_abstractor"]
    assert list(drawn.data[0].x) == ["45:45:10", "90:0:10", "0:90:10", "30:60:10"]
    same = factors.lines(reader, reader.snapshot("mix"), axes=("mix", "mix"), dark=False)
    assert "between two axes" in same.layout.annotations[0].text


@pytest.mark.parametrize("axes", [(None, "mix"), ("mix", ["connector"]), ({}, 3), ("image_size", "mix")])
def test_axis_that_is_none_is_refused(reader: Reader, axes: Any) -> None:
    with pytest.raises(InputError, match="there: mix, connector"):
        factors.lines(reader, reader.snapshot("mix"), axes=axes, dark=False)


@pytest.mark.parametrize(
    ("click", "pair"),
    [
        ({"points": [{"x": "mix", "y": "connector"}]}, ("mix", "connector")),
        ({"points": [{"x": "mix", "y": "mix"}]}, None),
        ({"points": [{"x": ["mix"], "y": {}}]}, None),
        ({"points": [3]}, None),
        ({"points": {}}, None),
        (None, None),
    ],
)
def test_click_on_a_pair_chooses_it(reader: Reader, click: Any, pair: Any) -> None:
    assert factors.pair_of(reader.snapshot("mix"), click=click) == pair


def test_single_seed_says_in_the_place_of_empty_bars_that_a_second_gives_noise(tmp_path: Path) -> None:
    Writer(MIX | {"seeds": [0]}, workspace=Workspace(tmp_path)).finish()
    fresh = Reader(Workspace(tmp_path).store_url)
    snapshot = fresh.snapshot("mix")
    found, gap = fresh.factors(snapshot), factors.gap_of(fresh, snapshot)
    assert found is not None
    assert gap is not None
    assert "nothing is left to tell a term from noise" in gap.why
    assert gap.lines == "seeds: 2"
    assert "noise (sd" not in text(factors.shares(found, forest=None, outdated=False))


def test_study_without_finished_trials_says_what_it_takes(tmp_path: Path) -> None:
    Writer(MIX, workspace=Workspace(tmp_path))
    fresh = Reader(Workspace(tmp_path).store_url)
    snapshot = fresh.snapshot("mix")
    found = fresh.factors(snapshot)
    assert found is None
    assert "0 of 24 trials done with score/4" in text(factors.gap_part(factors.gap_of(fresh, snapshot)))
    assert "why stands under Importance" in text(factors.shares(found, forest=None, outdated=False))
    lines = factors.lines(fresh, snapshot, axes=("mix", "connector"), dark=False)
    assert "no trial has reported score/4 yet" in lines.layout.annotations[0].text


def test_study_with_shares_has_no_gap(reader: Reader) -> None:
    assert factors.gap_of(reader, reader.snapshot("mix")) is None
    assert factors.gap_part(None) is None
