"""What a study said at its runs: edits become sentences, and results that were there by then are counted."""

import threading
from typing import Any

import pytest

from ablate.conclude import conclude
from ablate.deviations import edits, moment, register, registration
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import Declaration, Store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.conftest import make_study

RISES: dict[str, Any] = {"axis": "num_tokens", "expect": "increases"}
SAME: dict[str, Any] = {"axis": "num_tokens", "expect": "equivalent", "within": 0.5}


def spec(**changes: Any) -> dict[str, Any]:
    return make_study(**changes).model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"claims": [RISES]}, "claim added: num_tokens increases"),
        ({"claims": [SAME]}, {}, "claim removed: num_tokens equivalent (within 0.5)"),
        (
            {"claims": [RISES]},
            {"claims": [RISES | {"expect": "decreases"}]},
            "claim changed: num_tokens increases: expect: increases became decreases",
        ),
        (
            {"claims": [SAME]},
            {"claims": [SAME | {"within": 1.0, "metric": "score/4"}]},
            "claim changed: num_tokens equivalent (within 0.5): within: 0.5 became 1.0, metric: score/4 added",
        ),
        ({}, {"metric": {"name": "score/4", "goal": "min"}}, "metric.name: loss became score/4"),
        ({}, {"metric": {"name": "loss", "goal": "max"}}, "metric.goal: min became max"),
        ({"base": {"steps": 5}}, {"base": {"steps": 6}}, "base.steps: 5 became 6"),
        ({"base": {"encoder": {"width": 8}}}, {"base": {"encoder": {"width": 16}}}, "base.encoder.width: 8 became 16"),
        ({}, {"base": {"num_params": 1e9}}, "base.num_params: 1e+09 added"),
        ({}, {"trainer": "model_zoo"}, "trainer: synthetic became model_zoo"),
        ({}, {"where": ["num_tokens < 64"]}, "condition added: num_tokens < 64"),
        ({"where": ["num_tokens < 64"]}, {}, "condition removed: num_tokens < 64"),
        ({}, {"design": "one_at_a_time"}, "design grid became one_at_a_time"),
        ({"design": "grid"}, {"design": {"kind": "sobol", "points": 8}}, "design grid became sobol (points 8)"),
        ({}, {"axes": {"num_tokens": [16, 64, 144]}}, "axis num_tokens: level 144 added"),
        ({"axes": {"num_tokens": [4, 16, 64]}}, {"axes": {"num_tokens": [64]}}, "axis num_tokens: levels 4, 16 removed"),
        (
            {},
            {"axes": {"num_tokens": [64, 16]}},
            "axis num_tokens: levels [16, 64] became [64, 16], in another order",
        ),
        ({}, {"axes": {"num_tokens": [16, 64], "image_size": [224, 336]}}, "axis image_size added: [224, 336]"),
        ({"axes": {"num_tokens": [16, 64], "image_size": [224]}}, {}, "axis image_size removed"),
        ({"seeds": 3}, {"seeds": 5}, "seeds 0-2 became 0-4"),
        ({"seeds": 3}, {"seeds": [0, 7]}, "seeds 0-2 became 0, 7"),
    ],
)
def test_edit_is_one_plain_sentence(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    assert [sentence for _, sentence in edits(spec(**before), spec(**after))] == [said]


@pytest.mark.parametrize(
    "harmless",
    [
        {"question": "Why?"},
        {"resources": {"cpus": 2}},
        {"budget": {"wall_minutes": 3}},
        {"hardware": {"peak_flops": 1e12, "utilisation": 0.4}},
        {"metric": {"name": "loss", "goal": "min", "noise_sd": 0.1}},
        {"claims": [SAME, RISES]},
        {"claims": [RISES | {"lesson": "tokens"}, SAME]},
        {"axes": {"num_tokens": {"list": [16, 64]}}},
    ],
)
def test_edit_that_asks_the_same_is_no_deviation(harmless: dict[str, Any]) -> None:
    assert edits(spec(claims=[RISES, SAME]), spec(**{"claims": [RISES, SAME], **harmless})) == []


def test_two_claims_on_an_axis_are_matched_by_what_they_have_in_common() -> None:
    tighter = SAME | {"within": 0.1}
    (edit,) = edits(spec(claims=[RISES, SAME]), spec(claims=[tighter, RISES]))
    assert edit == ("claims", "claim changed: num_tokens equivalent (within 0.5): within: 0.5 became 0.1")


def test_claim_about_another_difference_names_the_field_inside_it() -> None:
    larger = {"axis": "num_tokens", "expect": "larger_effect_than", "than": {"axis": "image_size", "level": 336}}
    (edit,) = edits(spec(claims=[larger]), spec(claims=[larger | {"than": {"axis": "image_size", "level": 448}}]))
    assert edit[1].endswith('(than {"axis": "image_size", "level": 336}): than.level: 336 became 448')


def test_key_that_is_new_in_the_format_is_no_edit() -> None:
    old = spec()
    del old["hardware"], old["metric"]["noise_sd"], old["law"]
    assert edits(old | {"design": "grid"}, spec()) == []


def test_spec_that_cannot_be_read_any_more_is_compared_as_it_stands() -> None:
    old = spec(base={"steps": 5}) | {"shape": "round"}
    assert ("base.steps", "base.steps: 5 became 6") in edits(old, spec(base={"steps": 6}))
    assert edits(old, old) == []


def test_deviation_counts_the_trials_finished_by_then() -> None:
    seeds = [Declaration(float(time), spec(seeds=count)) for time, count in ((100, 1), (200, 2), (300, 3))]
    found = register(seeds, ended=[250.0, 300.0, 350.0])
    assert [(one.time, one.finished) for one in found.deviations] == [(200.0, 0), (300.0, 2)]
    assert [one.when for one in found.deviations] == ["before any trial was finished", "after 2 finished trials"]
    assert found.summary.endswith("2 deviations since, 1 of them after trials were finished")
    assert (found.declared, found.finished) == (100.0, 0)


def test_edit_that_was_taken_back_stays_on_the_list() -> None:
    there_and_back = [Declaration(float(time), spec(seeds=count)) for time, count in ((1, 3), (2, 5), (3, 3))]
    assert [one.what for one in register(there_and_back, ended=()).deviations] == ["seeds 0-2 became 0-4", "seeds 0-4 became 0-2"]


def test_store_without_declarations_says_so() -> None:
    found = register([], ended=[1.0])
    assert (found.declared, found.deviations) == (None, ())
    assert "No declaration is recorded" in found.summary


def run(study: Study, store: Store, workspace: Workspace) -> None:
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())


def test_study_edited_after_its_first_run_says_so_in_what_it_concludes(store: Store, workspace: Workspace) -> None:
    run(make_study(seeds=2, claims=[RISES]), store, workspace)
    before = conclude(store, "small")
    assert (before.registration.finished, before.registration.deviations) == (0, ())
    assert before.registration.summary.endswith("no deviations since")
    run(make_study(seeds=2, claims=[RISES | {"expect": "decreases"}]), store, workspace)
    found = conclude(store, "small").to_json()
    assert found["declared"] == moment(store.declarations("small")[0].time)
    (deviation,) = found["deviations"]
    assert (deviation["part"], deviation["finished_trials"], deviation["after_results"]) == ("claims", 4, True)
    assert deviation["what"] == "claim changed: num_tokens increases: expect: increases became decreases"


def test_stale_trials_count_as_results_that_were_seen(store: Store, workspace: Workspace) -> None:
    run(make_study(), store, workspace)
    run(make_study(base={"steps": 3}), store, workspace)
    run(make_study(base={"steps": 3}, seeds=2), store, workspace)
    assert [one.finished for one in registration(store, "small", trials=store.trials("small")).deviations] == [2, 4]


def test_trials_another_study_had_finished_are_said_at_the_declaration(store: Store, workspace: Workspace) -> None:
    run(make_study(name="first"), store, workspace)
    run(make_study(name="second"), store, workspace)
    found = registration(store, "second", trials=store.trials("second"))
    assert found.finished == 2
    assert "when 2 of its trials were finished already" in found.summary
