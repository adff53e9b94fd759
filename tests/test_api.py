"""The first stages from Python, as in a notebook: a study made of plain values, read, changed and planned, and what is wrong with it."""

import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ablate
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study
from ablate.planner import make_plan

WRITTEN: dict[str, Any] = {
    "schema": 1,
    "name": "notebook",
    "trainer": "synthetic",
    "base": {"noise_sd": 0.0},
    "axes": {"num_tokens": [16, 64]},
    "metric": {"name": "loss", "goal": "min"},
}


def test_study_made_in_python_is_planned_like_its_file(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "schema: 1\nname: notebook\ntrainer: synthetic\nbase: {noise_sd: 0.0}\naxes: {num_tokens: [16, 64]}\n"
        "metric: {name: loss, goal: min}\nseeds: 2\n",
        encoding="utf-8",
    )
    made = ablate.Study(**WRITTEN, seeds=2)
    plans = [ablate.plan(study) for study in (made, WRITTEN | {"seeds": 2}, tmp_path / "study.yaml", str(tmp_path / "study.yaml"))]
    assert [trial.id.rpartition("-")[0] for trial in plans[0].trials] == ["base.s0", "base.s1", "num_tokens=64.s0", "num_tokens=64.s1"]
    assert all(plan.trials == plans[0].trials and plan.jobs == plans[0].jobs for plan in plans)


def test_shipped_study_is_read_by_name_and_planned_as_on_the_command_line() -> None:
    study = load_study("quickstart")
    assert ablate.read_study("quickstart") == study
    assert ablate.plan("quickstart").trials == make_plan(study, make_arms(study)).trials


def test_study_that_was_read_is_read_again_as_it_is() -> None:
    study = ablate.read_study("quickstart")
    assert ablate.read_study(study) == study
    assert ablate.plan(study).trials == ablate.plan("quickstart").trials


def test_changes_are_those_of_the_command_line_and_leave_the_original_alone() -> None:
    before = deepcopy(WRITTEN)
    study = ablate.read_study(WRITTEN, "seeds=3", "noise_sd=0.5", "num_tokens=4,16,64", "connector=avg_pool,c_abstractor")
    assert before == WRITTEN
    assert (study.seeds, study.base) == ((0, 1, 2), {"noise_sd": 0.5})
    assert study.axes == {"num_tokens": [4, 16, 64], "connector": ["avg_pool", "c_abstractor"]}
    assert len(ablate.plan(study, "seeds=1").trials) == 6


def test_study_may_extend_a_shipped_one_and_name_a_shipped_base() -> None:
    child = ablate.read_study({"schema": 1, "name": "child", "extends": "quickstart.yaml", "seeds": 2})
    assert (child.name, child.axes, child.seeds) == ("child", ablate.read_study("quickstart").axes, (0, 1))
    zoo = {
        "trainer": "model_zoo",
        "base": "bases/tiny.yaml",
        "axes": {"decoder.depth": [1, 2]},
        "metric": {"name": "val_loss", "goal": "min"},
    }
    assert ablate.read_study(WRITTEN | zoo).base["encoder"]["width"] == 64


@pytest.mark.parametrize(
    "axes",
    [
        {"peak_lr": np.array([1e-4, 1e-3])},
        {"peak_lr": list(np.array([1e-4, 1e-3]))},
        {"peak_lr": (1e-4, 1e-3)},
        {"peak_lr": {"list": np.array([1e-4, 1e-3])}},
    ],
)
def test_arrays_of_numpy_are_lists_of_plain_numbers(axes: Mapping[str, Any]) -> None:
    for study in (WRITTEN | {"axes": axes}, ablate.Study(**WRITTEN | {"axes": axes})):
        plan = ablate.plan(study)
        assert [type(arm.levels["peak_lr"]) for arm in plan.arms] == [float, float]
        assert plan.trials == ablate.plan(WRITTEN | {"axes": {"peak_lr": [1e-4, 1e-3]}}).trials


def test_ranges_and_whole_numbers_of_numpy_are_levels_and_seeds() -> None:
    plan = ablate.plan(WRITTEN | {"axes": {"num_tokens": range(1, 4), "image_size": [np.int64(224), np.int64(448)]}, "seeds": np.arange(2)})
    assert len(plan.trials) == 12
    assert {type(level) for arm in plan.arms for level in arm.levels.values()} == {int}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"num_token": [16]}}, "study:1:1: axes: no field 'num_token'"),
        ({"axes": {"num_tokens": {16, 64}}}, "study: axes.num_tokens: found {"),
        (
            {"axes": {"num_tokens": [16, object]}},
            "study: axes.num_tokens[1]: found <class 'object'>; write numbers, texts, lists and mappings",
        ),
        ({"axes": {1: [16]}}, "study: axes: keys are text, found 1"),
        ({"base": {"mix": {1: 0.5}}}, "study: base.mix: keys are text, found 1"),
        ({"base": {"noise_sd": float("nan")}}, "base.noise_sd: must be"),
        ({"axes": {"peak_lr": [float("inf")]}}, "axes.peak_lr[0]: a level is a number, text, true or false; found inf"),
        ({"seeds": 0, "name": "a/b"}, "study:1:1: name: found text 'a/b'"),
        ({1: 2}, "keys are text, found 1"),
    ],
)
def test_study_in_python_with_a_mistake_is_refused_as_a_file_is(changes: Mapping[Any, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ablate.plan(WRITTEN | changes)
    assert message in str(caught.value)


def test_study_that_holds_itself_is_refused() -> None:
    inner: dict[str, Any] = {}
    inner["again"] = inner
    with pytest.raises(InputError, match=r"base\.again\.again.*nested deeper than 32"):
        ablate.plan(WRITTEN | {"base": inner})


def test_reference_to_nothing_says_what_there_is() -> None:
    with pytest.raises(InputError, match=r"'quickstrat' is no file here and no shipped study .*did you mean 'quickstart'"):
        ablate.plan("quickstrat")
    with pytest.raises(AttributeError, match="module 'ablate' has no attribute 'plans'"):
        _ = ablate.plans


def test_search_has_a_plan_without_trials() -> None:
    plan = ablate.plan(WRITTEN | {"axes": {"peak_lr": {"log": [1e-4, 1e-2]}}, "design": {"kind": "search", "trials": 3}})
    assert (plan.trials, dict(plan.jobs)) == ((), {})


def test_planning_from_python_imports_no_heavy_library() -> None:
    code = (
        "import sys, ablate; assert 'pydantic' not in sys.modules; ablate.plan('quickstart', 'seeds=2');"
        "heavy = ('torch', 'ray', 'mlflow', 'dash', 'numpy', 'pandas', 'optuna', 'sqlalchemy', 'sklearn', 'scipy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
