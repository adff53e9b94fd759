"""Claims of a study in a store, run by the synthetic trainer: conditions, comparisons of effects, levels written as shares."""

import threading
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.verdicts import Verdict
from ablate.conclude import claim_trials, conclude, study_report
from ablate.errors import InputError
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import Store, open_store
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.stores.ran import run, workspace_at

SHARES = {"caption": 0.9, "interleaved": 0.0, "text": 0.1}


def verdicts_of(folder: Path, *claims: dict[str, Any]) -> list[Verdict]:
    store, study = measured(folder, *claims)
    return list(conclude(store, study).verdicts)


def measured(folder: Path, *claims: dict[str, Any]) -> tuple[Store, str]:
    """A study with these claims whose trials have run, and its store."""
    axes = {
        "image_size": [112, 224, 448],
        "connector": ["avg_pool", "c_abstractor"],
        "mix": {"simplex": ["caption", "interleaved", "text"], "list": ["45:45:10", SHARES]},
    }
    study = make_study(axes=axes, base={"steps": 1}, metric={"name": "score/4", "goal": "max"}, claims=list(claims), seeds=3)
    workspace = Workspace(folder)
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    return store, study.name


def test_conclude_size_matters_more_than_the_connector(tmp_path: Path) -> None:
    """The law: 0.8 points from 112 to 448 pixels, 0.2 from the connector, minus 2.6 from the mix without interleaved data."""
    size = {"axis": "image_size", "expect": "larger_effect_than"}
    found = verdicts_of(
        tmp_path,
        size | {"than": {"axis": "connector"}},
        size | {"than": {"axis": "mix", "level": SHARES, "against": "45:45:10"}},
        {"axis": "image_size", "expect": "interior_optimum"},
    )
    assert [each.verdict for each in found] == ["supported", "contradicted", "contradicted"]
    assert found[0].statement == "score/4: image_size 112 -> 448 matters more than connector avg_pool -> c_abstractor"
    assert found[1].statement.endswith("mix 45:45:10 -> 90:0:10")


def test_conclude_claim_with_a_condition_looks_at_its_trials_only(tmp_path: Path) -> None:
    claim = {"axis": "image_size", "expect": "increases"}
    found = verdicts_of(
        tmp_path,
        claim,
        claim | {"when": "connector == 'avg_pool' and mix.interleaved > 0"},
        claim | {"when": "num_tokens > 1000"},
    )
    assert [each.effect.cells if each.effect else None for each in found] == [4, 1, None]
    assert found[1].statement == "score/4 increases from image_size = 112 to 448, where connector == 'avg_pool' and mix.interleaved > 0"
    assert (found[2].verdict, found[2].reason) == ("inconclusive", "no trial where num_tokens > 1000")


def test_conclude_condition_that_compares_unlike_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"claim on image_size: when: .*compares"):
        verdicts_of(tmp_path, {"axis": "image_size", "expect": "increases", "when": "connector > 3"})


def test_claim_trials_are_the_pairs_behind_the_verdict(tmp_path: Path) -> None:
    lesson = {"lesson": "connector_res", "axis": "image_size", "expect": "increases"}
    store, name = measured(tmp_path, lesson | {"when": "connector == 'avg_pool'"}, lesson | {"metric": "score/0", "level": 224})
    both = claim_trials(store, name, which="connector_res")
    first, second = claim_trials(store, name, which="1"), claim_trials(store, name, which="2")
    assert len(both) == len(first) + len(second)
    assert set(first["connector"]) == {"avg_pool"}
    assert set(second["image_size"]) == {112, 224}
    assert set(second["metric"]) == {"score/0"}
    for found, verdict in zip((first, second), conclude(store, name).verdicts, strict=True):
        assert verdict.effect is not None
        means = found.groupby("image_size")["value"].mean()
        assert means[verdict.effect.level] - means[112] == pytest.approx(verdict.effect.mean_diff)
    with pytest.raises(InputError, match=r"no claim '3' in .* 1 or connector_res, 2 or connector_res"):
        claim_trials(store, name, which="3")


def test_claim_trials_before_the_first_trial_has_ended(tmp_path: Path) -> None:
    store, name = measured(tmp_path, {"axis": "image_size", "expect": "increases", "when": "num_tokens > 1000"})
    with pytest.raises(InputError, match="nothing is compared yet by claim 1"):
        claim_trials(store, name, which="1")


def test_report_names_the_base_by_its_level_and_has_its_curve_first(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path)
    run(make_study(name="one", axes={"connector": ["c_abstractor", "avg_pool"]}, base={"steps": 3}, seeds=2), workspace)
    store = open_store(workspace.store_url)
    report = study_report(store, "one")
    (base,) = (arm for arm in report.results["arm"].unique() if arm.startswith("base"))
    assert base.startswith("base (")
    assert list(report.curves["arm"].unique()) == list(report.results["arm"].unique())
    store.close()
