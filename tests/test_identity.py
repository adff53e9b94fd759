"""Ids explained: on stores written by runs, with two stages where sharing matters, and on plans that never ran."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ablate import synthetic
from ablate.cli import main
from ablate.design import make_arms
from ablate.difference import ABSENT, Moved, differences, value_text
from ablate.errors import InputError
from ablate.fingerprint import fingerprint
from ablate.identity import Catalogue, compare, explain, stale_reasons
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import Store, open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study


@pytest.fixture
def run(store: Store, workspace: Workspace) -> Callable[..., None]:
    """Runs the small study, as changed."""

    def finish(**changes: Any) -> None:
        study = make_study(**changes)
        run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())

    return finish


def zoo_plan(**base: Any) -> Plan:
    """Two widths and two seeds of the model zoo over one encoder; nothing is run."""
    return planned(
        make_study(
            name="zoo",
            trainer="model_zoo",
            base=base,
            axes={"decoder.width": [32, 64]},
            metric={"name": "val_loss", "goal": "min"},
            seeds=2,
        )
    )


def planned(study: Study) -> Plan:
    return make_plan(study, make_arms(study))


def ids(store: Store, *, stale: bool = False) -> list[str]:
    return [one.trial.id for one in store.stale_trials("small")] if stale else [trial.id for trial in store.trials("small")]


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", 2, 3)]),
        ({"a": 1}, {"b": 2}, [("a", 1, ABSENT), ("b", ABSENT, 2)]),
        ({}, {"a": {"b": 1, "c": {}}}, [("a.b", ABSENT, 1), ("a.c", ABSENT, {})]),
        ({"a": {"b": 1}}, {"a": 5}, [("a", {"b": 1}, 5)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a", [1, 2], [1, 3])]),
        ({"a": 1, "b": [1]}, {"a": 1.0, "b": [1.0]}, []),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": None}, {}, [("a", None, ABSENT)]),
    ],
)
def test_differences_are_dotted_paths_with_both_values(first: Any, second: Any, moved: list[Any]) -> None:
    assert list(differences(first, second)) == [Moved(*one) for one in moved]


def test_absent_side_has_no_key_in_json_and_null_is_a_value() -> None:
    assert Moved("a", None, ABSENT).to_json() == {"path": "a", "first": None}
    assert (value_text(ABSENT), value_text(None), value_text("text"), value_text(3e9)) == ("nothing", "null", "text", "3e+09")
    assert value_text(1234567.0) != value_text(1234568.0)


def test_trial_is_explained_by_its_arm_and_the_identity_of_its_stages(store: Store, run: Callable[..., None]) -> None:
    run(seeds=2)
    trial = store.trials("small")[3]
    found = explain(Catalogue(store), trial.id).to_json()
    assert (found["arm"], found["seed"], found["state"], found["changes"]) == ("num_tokens=64", 1, "done", {"num_tokens": 64})
    (stage,) = found["stages"]
    assert (stage["job"], stage["state"], stage["trials"]) == (trial.chain[0], "done", 1)
    assert stage["identity"]["seed"] == 1
    assert f"pretrain-{fingerprint(stage['identity'])}" == stage["job"]
    assert found["stale"] is None


def test_stage_without_a_seed_is_shared_by_all_trials() -> None:
    plan = zoo_plan()
    encoder, pretrain = explain(Catalogue(None, plans=[plan]), plan.trials[0].id).subject.stages
    assert encoder.identity is not None
    assert pretrain.identity is not None
    assert (encoder.trials, pretrain.trials) == (4, 1)
    assert (encoder.identity["seed"], pretrain.identity["seed"]) == (None, 0)
    assert pretrain.identity["needs"] == {"encoder": encoder.job}
    assert (encoder.state, pretrain.state) == ("planned", "planned")


def test_comparison_names_what_moved_and_what_is_shared() -> None:
    plan = zoo_plan()
    catalogue = Catalogue(None, plans=[plan])
    found = compare(catalogue.find(plan.trials[0].id), catalogue.find(plan.trials[3].id))
    assert [(one.path, one.first, one.second) for one in found.fields] == [("seed", 0, 1), ("decoder.width", 32, 64)]
    encoder, pretrain = found.stages
    assert (encoder.shared, encoder.moved) == (True, ())
    assert not pretrain.shared
    assert {one.path for one in pretrain.moved or ()} == {"config.decoder.width", "seed"}


def test_comparison_across_encoders_moves_both_stages() -> None:
    before, after = zoo_plan(), zoo_plan(encoder={"width": 48})
    catalogue = Catalogue(None, plans=[before, after])
    encoder, pretrain = compare(catalogue.find(before.trials[0].id), catalogue.find(after.trials[0].id)).stages
    assert [one.path for one in encoder.moved or ()] == ["config.encoder.width"]
    assert {one.path for one in pretrain.moved or ()} == {"config.encoder.width", "needs.encoder"}


def test_id_with_itself_is_the_same(store: Store, run: Callable[..., None]) -> None:
    run()
    catalogue = Catalogue(store)
    found = compare(catalogue.find(ids(store)[0]), catalogue.find(ids(store)[0]))
    assert (found.same, found.fields) == (True, ())


def test_trial_and_job_are_compared_by_the_jobs_stage(store: Store, run: Callable[..., None]) -> None:
    run()
    catalogue = Catalogue(store)
    first, second = store.trials("small")
    (pair,) = compare(catalogue.find(first.id), catalogue.find(second.chain[0])).stages
    assert [(one.path, one.first, one.second) for one in pair.moved or ()] == [("config.num_tokens", 16, 64)]
    assert [place.trial.id for place in catalogue.find(second.chain[0]).places] == [second.id]


@pytest.mark.fault("F32")
def test_stale_trial_says_which_field_moved(store: Store, run: Callable[..., None]) -> None:
    run()
    run(base={"steps": 6, "peak_lr": 3e-4})
    stale = ids(store, stale=True)
    found = explain(Catalogue(store), stale[0])
    assert found.stale == "peak_lr: 0.0001 became 0.0003, steps: 10 became 6"
    assert found.present is not None
    assert found.present.second.id == ids(store)[0]
    assert found.to_json()["state"] == "stale"
    reasons = stale_reasons(store.stale_trials("small"), present=store.trials("small"), store=store)
    assert reasons == dict.fromkeys(stale, found.stale)


@pytest.mark.fault("F32")
def test_new_code_is_told_from_a_new_config(store: Store, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    stages = synthetic.stages
    monkeypatch.setattr(synthetic, "stages", lambda config: tuple(one._replace(version="synthetic-2") for one in stages(config)))
    run()
    found = explain(Catalogue(store), ids(store, stale=True)[0])
    assert found.stale == "pretrain: version: synthetic-1 became synthetic-2"
    assert found.present is not None
    assert found.present.fields == ()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"seeds": 3}, {"seeds": 2}, "seed 2 is not in the plan any more (0, 1)"),
        ({"axes": {"num_tokens": [16, 64, 144]}}, {}, "level 144 of num_tokens is not in the plan any more"),
        (
            {"axes": {"num_tokens": [16, 64], "image_size": [224, 336]}},
            {},
            "axis image_size is not in the plan any more",
        ),
        (
            {"axes": {"num_tokens": [16, 64], "image_size": [224, 336]}},
            {"axes": {"num_tokens": [16, 64], "image_size": [224, 336]}, "design": "one_at_a_time"},
            "the plan has no arm 'num_tokens=64,image_size=336' any more",
        ),
    ],
)
def test_trial_the_plan_left_out_says_what_is_gone(
    store: Store, run: Callable[..., None], before: dict[str, Any], after: dict[str, Any], why: str
) -> None:
    run(**before)
    run(**after)
    stale = ids(store, stale=True)[-1]
    assert (explain(Catalogue(store), stale).stale, explain(Catalogue(store), stale).present) == (why, None)


def test_trial_of_two_studies_says_so_and_is_present_where_it_is(store: Store, run: Callable[..., None]) -> None:
    run()
    run(name="other")
    run(base={"steps": 3})
    found = Catalogue(store).find(store.trials("other")[0].id)
    assert (found.place.study, found.place.state, found.also_in) == ("other", "done", ("small",))
    assert found.stages[0].trials == 1


def test_beginning_of_an_id_will_do_where_it_is_the_only_one(store: Store, run: Callable[..., None]) -> None:
    run(seeds=2)
    catalogue = Catalogue(store)
    assert catalogue.find("num_tokens=64.s1").id == ids(store)[3]
    with pytest.raises(InputError, match="beginning of 2 ids"):
        catalogue.find("num_tokens=64")


def test_unknown_id_lists_close_ones_and_where_to_look(store: Store, run: Callable[..., None]) -> None:
    run()
    wanted = ids(store)[1]
    with pytest.raises(InputError, match="did you mean") as found:
        Catalogue(store).find(wanted.replace("tokens", "tokns"))
    assert wanted in str(found.value)
    assert "ablate status STUDY" in str(found.value)
    with pytest.raises(InputError, match="no trial or job ''"):
        Catalogue(store).find("")


def test_store_from_before_identities_still_names_the_config(store: Store, run: Callable[..., None], workspace: Workspace) -> None:
    run()
    run(base={"steps": 6})
    engine = sa.create_engine(workspace.store_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE identities"))
    engine.dispose()
    catalogue = Catalogue(open_store(workspace.store_url))
    found = explain(catalogue, ids(store, stale=True)[0])
    assert found.stale == "steps: 10 became 6"
    assert found.subject.stages[0].identity is None
    assert found.present is not None
    assert found.present.stages[0].moved is None


@pytest.fixture
def ablate(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a verb prints on this workspace."""

    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments, "--workspace", str(workspace.folder)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    return said


def test_explain_verb_answers_in_words_and_in_json(run: Callable[..., None], store: Store, ablate: Callable[..., str]) -> None:
    run()
    run(base={"steps": 6})
    stale, present = ids(store, stale=True)[0], ids(store)[0]
    said = ablate("explain", stale)
    for expected in (f"{stale}: stale", "the base itself", "trainer synthetic, version synthetic-1, seed 0", "steps: 10 became 6"):
        assert expected in said
    assert json.loads(ablate("explain", stale, "--json"))["stale"]["present"]["second"]["id"] == present
    assert "steps  10     6" in ablate("explain", stale, present)
    assert json.loads(ablate("explain", stale, present, "--json"))["fields"] == [{"path": "steps", "first": 10, "second": 6}]
    assert "the same trial" in ablate("explain", present, present)
    job = store.trials("small")[0].chain[0]
    assert f"{job}: a job, used by {present}" in ablate("explain", job)


def test_status_and_effects_show_stale_trials_and_deviations(run: Callable[..., None], ablate: Callable[..., str]) -> None:
    run()
    run(base={"steps": 6})
    rows = json.loads(ablate("status", "small", "--json"))
    assert [(row["state"], row["reason"]) for row in rows] == [("done", "")] * 2 + [("stale", "steps: 10 became 6")] * 2
    shown = ablate("status", "small")
    assert "1 deviation since, 1 of them after trials were finished" in shown
    assert "2 stale" in shown
    assert "base.steps: 6 added" in ablate("effects", "small")


def test_explain_verb_looks_into_a_plan_that_never_ran(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = planned(make_study()).trials[1].id
    file = tmp_path / "small.yaml"
    file.write_text("{schema: 1, name: small, trainer: synthetic, axes: {num_tokens: [16, 64]}, metric: {name: loss, goal: min}}")
    monkeypatch.chdir(tmp_path)
    for study, code in ((["--study", "small.yaml"], 0), ([], 3)):
        monkeypatch.setattr(sys, "argv", ["ablate", "explain", trial, *study])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code
    assert f"{trial}: planned" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
