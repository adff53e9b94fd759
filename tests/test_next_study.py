"""What `next` proposes for a study, and that the file it writes is the study going on: only what is new is still to be run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study
from ablate.next_study import Next, _flops_of_a_seed, csv_next, study_next
from ablate.planner import make_plan
from ablate.stores import open_store
from ablate.study_law import Asked
from ablate.tables import write_new
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.stores.ran import run, workspace_at

LAW = {
    "axes": {"num_params": [1e7, 1e8, 1e9], "peak_lr": {"log": [2e-5, 2e-3], "points": 7}},
    "base": {"steps": 1, "noise_sd": 0.1},
    "law": {"hyperparameter": "peak_lr", "size": "num_params"},
    "seeds": 1,
}


def proposed(workspace: Workspace, name: str, *, count: int = 4, per: str = "flop", tokens: float | None = None) -> Next:
    store = open_store(workspace.store_url)
    try:
        return study_next(store, name, Asked(tokens=tokens), count=count, per=per)
    finally:
        store.close()


def trials_of(file: Path) -> dict[str, tuple[str, int]]:
    study = load_study(file)
    return {trial.id: (trial.arm, trial.seed) for trial in make_plan(study, make_arms(study)).trials}


def done(workspace: Workspace, name: str) -> set[str]:
    store = open_store(workspace.store_url)
    try:
        return {trial.id for trial in store.trials(name) if trial.state == "done"}
    finally:
        store.close()


def test_file_for_a_law_holds_all_trials_that_there_are_and_the_proposed_ones(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    study = make_study(name="rates", **LAW)
    run(study, workspace)
    found = proposed(workspace, "rates")
    assert found.law is not None
    write_new(found.file, tmp_path / "next.yaml")
    planned, before = trials_of(tmp_path / "next.yaml"), done(workspace, "rates")
    assert before <= set(planned)
    assert len(planned) == len(before) + len(found.law.runs)
    going_on = load_study(tmp_path / "next.yaml")
    assert going_on.name == "rates"
    run(going_on, workspace)
    assert done(workspace, "rates") == set(planned)
    again = proposed(workspace, "rates")
    assert again.law is not None
    asked, asked_again = ({(each.cell, each.lr, each.seed) for each in law.runs} for law in (found.law, again.law))
    assert not asked & asked_again  # what was run is not proposed again


def test_law_that_no_run_narrows_says_stop_and_writes_none(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    run(make_study(name="clear", **LAW | {"base": {"steps": 1, "noise_sd": 1e-5}}), workspace)
    found = proposed(workspace, "clear")
    assert found.law is not None
    assert found.law.stop
    assert "planned with 0.15 as scatter between sizes τ (ln units)" in found.law.reason
    assert found.file == ""


def claims_study(**changes: Any) -> Any:
    claims = [
        {"axis": "image_size", "expect": "increases"},
        {"axis": "num_tokens", "expect": "equivalent", "within": 0.5, "when": "image_size == 224"},
    ]
    axes = {"image_size": [112, 224], "num_tokens": [16, 64, 144]}
    base = {"steps": 1, "noise_sd": 3.0}
    return make_study(name="open", axes=axes, base=base, metric={"name": "score/4", "goal": "max"}, claims=claims, seeds=3, **changes)


def test_open_claims_get_the_seeds_that_settle_them_for_their_own_arms_alone(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    run(claims_study(), workspace)
    found = proposed(workspace, "open")
    assert found.law is None
    assert found.law_note == "the study declares no law"
    sizes, tokens = found.claims
    assert (len(sizes.arms), len(tokens.arms)) == (6, 2)
    assert {arm["num_tokens"] for arm in tokens.arms} == {16, 144}
    assert {arm["image_size"] for arm in tokens.arms} == {224}
    for claim in found.claims:
        assert claim.settling.more == len(claim.seeds)
        assert claim.seeds[:2] == (3, 4)
        assert claim.train_flops is not None
        assert claim.to_json()["trials"] == len(claim.arms) * len(claim.seeds)
    write_new(found.file, tmp_path / "next.yaml")
    new = set(trials_of(tmp_path / "next.yaml").values()) - {(arm, seed) for arm, seed in trials_of_study(claims_study()).values()}
    named = {tuple(arm.levels.items()): arm.name for arm in make_arms(claims_study())}
    assert new == {(named[tuple(arm.items())], seed) for claim in found.claims for arm in claim.arms for seed in claim.seeds}


def test_new_seeds_of_a_claim_cost_no_stage_that_all_seeds_share(tmp_path: Path) -> None:
    chains = {
        ("a", 0): ("shared", "a0"),
        ("a", 1): ("shared", "a1"),
        ("b", 0): ("shared", "both0", "b0"),
        ("b", 1): ("shared", "both1", "b1"),
    }
    chains[("a", 0)], chains[("a", 1)] = ("shared", "both0", "a0"), ("shared", "both1", "a1")
    trials = [SimpleNamespace(id=f"{arm}{seed}", arm=arm, seed=seed, chain=chain) for (arm, seed), chain in chains.items()]
    flops = {"shared": 100.0} | dict.fromkeys(("both0", "both1"), 10.0) | dict.fromkeys(("a0", "a1", "b0", "b1"), 1.0)
    assert _flops_of_a_seed(trials, all_trials=trials, flops=flops) == 12.0  # type: ignore[arg-type]
    assert _flops_of_a_seed(trials, all_trials=trials, flops=flops | {"b0": 0.0}) is None  # type: ignore[arg-type]


def trials_of_study(study: Any) -> dict[str, tuple[str, int]]:
    return {trial.id: (trial.arm, trial.seed) for trial in make_plan(study, make_arms(study)).trials}


def test_study_with_nothing_open_is_told_so(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    run(make_study(name="plain", axes={"num_tokens": [16, 64]}, base={"steps": 1}), workspace)
    with pytest.raises(InputError, match="neither a law nor an inconclusive claim"):
        proposed(workspace, "plain")


@pytest.mark.parametrize(
    ("claim", "arms"),
    [
        ({"axis": "image_size", "expect": "increases"}, {"base", "image_size=224"}),
        ({"axis": "num_tokens", "expect": "best_level", "level": 64}, {"base", "num_tokens=64", "num_tokens=144"}),
        (
            {"axis": "image_size", "expect": "larger_effect_than", "than": {"axis": "connector"}},
            {"base", "image_size=224", "connector=c_abstractor"},
        ),
    ],
)
def test_claim_buys_no_arm_that_it_does_not_compare(tmp_path: Path, claim: dict[str, Any], arms: set[str]) -> None:
    """One change at a time: every arm of another axis stands at this axis's baseline, and says nothing of the claim."""
    axes = {"image_size": [112, 224], "num_tokens": [16, 64, 144], "connector": ["avg_pool", "c_abstractor"]}
    how: dict[str, Any] = {"axes": axes, "base": {"steps": 1, "noise_sd": 3.0}, "metric": {"name": "score/4", "goal": "max"}, "seeds": 3}
    study = make_study(name="single", claims=[claim], design="one_at_a_time", **how)
    workspace = workspace_at(tmp_path / "w")
    run(study, workspace)
    (found,) = proposed(workspace, "single").claims
    named = {tuple(arm.levels.items()): arm.name for arm in make_arms(study)}
    assert {named[tuple(arm.items())] for arm in found.arms} == arms


def test_law_of_tokens_gets_its_runs_in_the_cell_that_needs_them(tmp_path: Path) -> None:
    """Of one size the longer runs lack an optimum: the grid ends before it."""
    axes = {"num_params": [1e7, 1e8, 1e9], "steps": [1, 2], "peak_lr": {"log": [1e-4, 8e-3], "points": 5}}
    law = {"hyperparameter": "peak_lr", "size": "num_params", "form": "N+D", "tokens": "steps"}
    where = ["num_params < 5e8 or steps == 1 or peak_lr > 5e-4"]  # the best rate at 1e9 is 9e-5 by the stated law
    study = make_study(name="cells", axes=axes, base={"noise_sd": 0.002}, law=law, where=where, seeds=1)
    workspace = workspace_at(tmp_path / "w")
    run(study, workspace)
    found = proposed(workspace, "cells", tokens=2)
    assert found.law is not None
    assert {(each.cell.n_params, each.cell.tokens) for each in found.law.runs} <= {(n, d) for n in (1e7, 1e8, 1e9) for d in (1.0, 2.0)}
    edges = [each for each in found.law.runs if each.why == "edge"]
    assert (1e9, 2.0) in {(each.cell.n_params, each.cell.tokens) for each in edges}
    write_new(found.file, tmp_path / "next.yaml")
    planned, before = trials_of(tmp_path / "next.yaml"), done(workspace, "cells")
    assert len(planned) == len(before) + len(found.law.runs)


def test_law_of_too_little_does_not_hide_open_claims(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path / "w")
    claims = [{"axis": "peak_lr", "expect": "increases"}]
    axes = {"num_params": [1e7, 1e8], "peak_lr": [1e-3, 2e-3]}
    run(make_study(name="both", **LAW | {"axes": axes, "base": {"steps": 1, "noise_sd": 0.5}, "seeds": 2}, claims=claims), workspace)
    found = proposed(workspace, "both")
    assert found.law is not None
    assert {each.why for each in found.law.runs} == {"spread"}  # two rates place no optimum
    assert len(found.claims) == 1


def test_table_gets_its_runs_as_yaml_and_no_file_is_replaced(tmp_path: Path) -> None:
    rows = [f"{size},{rate},0,{3 + (i - 2.2) ** 2 / 100}" for size in (1e7, 1e8) for i, rate in enumerate((1e-4, 2e-4, 4e-4, 8e-4, 16e-4))]
    (tmp_path / "runs.csv").write_text("\n".join(["n_params,lr,seed,loss", *rows]))
    found = csv_next(tmp_path / "runs.csv", Asked(), metric="loss", goal="min", count=2, per="run")
    write_new(found.file, tmp_path / "next.yaml")
    assert "runs:" in (tmp_path / "next.yaml").read_text()
    with pytest.raises(InputError, match="exists already"):
        write_new(found.file, tmp_path / "next.yaml")
