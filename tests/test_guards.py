"""What stands beside a study's effects, of synthetic studies whose law is known."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ablate.analysis.factors import FactorEffects
from ablate.cli import app
from ablate.conclude import Conclusion, conclude, study_factors, study_importance, study_report
from ablate.errors import InputError
from ablate.guards import guards_of
from ablate.report_page import render_report
from ablate.run import run_study
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_study


def ran(folder: Path, **changes: Any) -> Workspace:
    study = make_study(**({"base": {"steps": 1, "noise_sd": 0.01}, "seeds": 3} | changes))
    workspace = Workspace(folder)
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    store.close()
    return workspace


def concluded(folder: Path, **changes: Any) -> Conclusion:
    return conclude(open_store(ran(folder, **changes).store_url), "small")


FACTORIAL = {"image_size": [112, 448], "connector": ["avg_pool", "c_abstractor"], "num_tokens": [16, 64]}


def test_guards_give_the_noise_of_every_metric_and_the_studys_first(tmp_path: Path) -> None:
    guards = concluded(tmp_path, axes=FACTORIAL).guards
    assert [signal.metric for signal in guards.signals] == ["loss", "score/0", "score/4", "score/8"]
    assert guards.signal is not None
    assert guards.signal.noise.df == 8 * 2
    assert guards.signal.separates
    assert guards.signal.curse is not None
    assert guards.signal.curse.n_arms == 8
    assert guards.paired is not None
    assert guards.paired.df == 7 * 2
    assert guards.warnings == ()


def test_guards_warn_of_a_metric_that_cannot_separate_the_arms(tmp_path: Path) -> None:
    axes = {"connector": ["avg_pool", "c_abstractor"], "num_tokens": [64, 65]}
    (warning,) = concluded(tmp_path, axes=axes, base={"steps": 1, "noise_sd": 0.5}).guards.warnings
    assert "this metric cannot separate these arms" in warning


def test_guards_flag_levels_at_unequal_flops_but_not_the_sizes_of_a_law(tmp_path: Path) -> None:
    axes = {"num_params": [1e8, 1e9], "connector": ["avg_pool", "c_abstractor"]}
    guards = concluded(tmp_path / "plain", axes=axes).guards
    assert [(each.arm, each.what, each.factor) for each in guards.confounds] == [("num_params = 1e+09", "train_flops", pytest.approx(10.0))]
    assert "compared at unequal training FLOPs: num_params = 1e+09 ×10" in guards.warnings[-1]
    law = {"axes": {"num_params": [1e8, 1e9], "peak_lr": [1e-4, 1e-3]}, "law": {"hyperparameter": "peak_lr", "size": "num_params"}}
    assert concluded(tmp_path / "law", **law).guards.confounds == ()


def test_guards_flag_an_arm_whose_best_rate_moved_and_propose_three(tmp_path: Path) -> None:
    axes = {"num_params": [1e7, 3e9], "peak_lr": {"log": [1e-5, 1e-2], "points": 10}}
    base = {"steps": 1, "noise_sd": 0.001}
    (moved,) = concluded(tmp_path / "moved", axes=axes, base=base).guards.moved
    assert moved.arm == "num_params = 3e+09"
    assert moved.factor == pytest.approx(300**-0.4214, rel=0.15)  # the synthetic optimum is MM1's law
    assert moved.retune == pytest.approx((moved.arm_lr / 2, moved.arm_lr, moved.arm_lr * 2))
    same = {"connector": ["avg_pool", "c_abstractor"], "peak_lr": {"log": [1e-5, 1e-2], "points": 10}}
    assert concluded(tmp_path / "same", axes=same, base=base).guards.moved == ()


@pytest.mark.parametrize(
    ("rates", "flagged"),
    [
        ({2: [1e-4, 2e-4, 4e-4, 8e-4], 4: [1e-4, 2e-4, 4e-4, 8e-4]}, True),
        ({2: [1e-4, 2e-4, 4e-4, 8e-4], 4: [1.1e-4, 2.3e-4, 5e-4, 9e-4]}, False),  # drawn at random
        ({2: [1e-4, 2e-4, 4e-4, 8e-4], 4: [1e-4, 8e-4]}, False),
        ({2: [1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3], 4: [1e-4, 2e-4, 8e-4]}, False),  # half of the baseline's
    ],
)
def test_guards_compare_best_rates_on_a_grid_that_both_arms_share(rates: dict[int, list[float]], flagged: bool) -> None:
    rows = [
        {"depth": depth, "lr": lr, "seed": 0, "state": "done", "loss": (np.log(lr) - np.log(1e-4 if depth == 2 else 8e-4)) ** 2}
        for depth, tried in rates.items()
        for lr in tried
    ]
    frame = pd.DataFrame(rows).assign(arm=lambda rows: rows["depth"].astype(str) + "/" + rows["lr"].astype(str))
    frame["trial"] = frame["arm"]
    axes = {"depth": [2, 4], "lr": sorted(set(frame["lr"]))}
    found = guards_of(make_study(), results=frame, axes=axes, trials=(), effects=())
    assert [each.arm for each in found.moved] == (["depth = 4"] if flagged else [])


def test_guards_of_a_study_without_a_finished_trial_have_no_numbers(tmp_path: Path) -> None:
    guards = concluded(tmp_path, base={"steps": 1, "fail": "raise"}).guards
    assert (guards.signals, guards.mde, guards.confounds, guards.warnings) == ((), None, (), ())
    assert guards.to_json()["noise"]["sd"] is None
    assert "no finished trial" in guards.to_json()["noise"]["note"]


def factors_of(conclusion: Conclusion) -> FactorEffects | None:
    return study_factors(conclusion.results, axes=conclusion.record.axes, metric=conclusion.study.metric.name)


def test_factors_are_those_of_studies_whose_axes_vary_together(tmp_path: Path) -> None:
    found = factors_of(concluded(tmp_path / "grid", axes=FACTORIAL))
    assert found is not None
    assert found.main[0].name == "image_size"
    assert {term.name for term in found.interactions} == {
        "image_size × connector",
        "image_size × num_tokens",
        "connector × num_tokens",
    }
    assert factors_of(concluded(tmp_path / "alone", axes=FACTORIAL, design="one_at_a_time")) is None


def test_effects_of_a_fractional_design_show_its_main_effects(tmp_path: Path) -> None:
    axes = FACTORIAL | {"step_seconds": [0.0, 1e-5]}
    workspace = ran(tmp_path, axes=axes, design={"kind": "fractional", "resolution": 4})
    shown = CliRunner().invoke(app, ["effects", "small", "--workspace", str(workspace.folder)]).stdout
    assert "main effect on loss of" in shown
    assert "image_size = 448" in shown
    assert "! these cannot be told apart in this design: image_size × connector = num_tokens × step_seconds" in shown


def test_importance_by_forests_agrees_on_what_matters_most(tmp_path: Path) -> None:
    conclusion = concluded(tmp_path, axes=FACTORIAL)
    found = study_importance(conclusion.results, axes=conclusion.record.axes, metric=conclusion.study.metric.name)
    assert found.factors[0].factor == "image_size"


def test_report_carries_the_warnings(tmp_path: Path) -> None:
    workspace = ran(tmp_path, axes={"num_params": [1e8, 1e9]})
    page = render_report([study_report(open_store(workspace.store_url), "small")])
    assert "Mind: compared at unequal training FLOPs: num_params = 1e+09 ×10" in page


def answer(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_effects_of_a_study_print_what_they_are_to_be_read_with(tmp_path: Path) -> None:
    place = ["--workspace", str(ran(tmp_path, axes=FACTORIAL | {"num_params": [1e8, 1e9]}).folder)]
    said = answer("effects", "small", "--importance", *place)
    keys = {"noise", "signal_to_noise", "winners_curse", "confounds", "moved_optima", "mde", "factors", "importance", "warnings"}
    assert keys <= set(said)
    assert said["importance"]["method"] == "fANOVA"
    assert said["factors"]["balanced"]
    shown = CliRunner().invoke(app, ["effects", "small", *place]).stdout
    assert "! compared at unequal training FLOPs: num_params = 1e+09 ×10" in shown
    assert "winner's curse: the best of 16 equal arms" in shown
    assert "48 of 48 trials done; loss, lower is better" in shown
    assert "its mean" in shown
    assert "importance of" in shown
    assert answer("effects", "small", *place)["importance"] is None


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    rng = np.random.default_rng(0)
    rows = [{"arm": arm, "seed": seed, "acc": rng.normal() + 5 * arm} for arm in (1, 2, 3) for seed in range(4)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_effects_of_a_csv_take_a_margin_and_arms_that_are_numbers(csv: Path) -> None:
    said = answer("effects", str(csv), "--baseline", "1", "--metric", "acc", "--within", "50")
    assert [(row["arm"], row["verdict"]) for row in said["effects"]] == [("2", "equivalent"), ("3", "equivalent")]
    assert {"sd", "df", "ci"} <= set(said["noise"])
    assert said["smallest_difference"]["pooled"]["df"] == 6
    shown = CliRunner().invoke(app, ["effects", str(csv), "--baseline", "1", "--metric", "acc"]).stdout
    assert "pooled noise of a difference" in shown
    assert shown.startswith("acc, higher is better against 1")
    assert "by pooled noise" in shown
    assert "paired SD" in shown


@pytest.mark.parametrize(
    ("rows", "ci"),
    [
        ("base,0,1\nnew,0,2\n", None),  # one seed
        ("base,0,1\nbase,1,2\nbase,2,3\nnew,0,2\n", None),  # one pair
        ("base,0,1\nbase,1,2\nnew,0,2\nnew,1,inf\n", None),
        ("base,0,1\nbase,1,2\nnew,0,2\nnew,1,3\n", None),  # the same difference twice
    ],
)
def test_effects_of_bad_rows_have_no_interval_and_say_why(tmp_path: Path, rows: str, ci: object) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"arm,seed,acc\n{rows}")
    (row,) = (said := answer("effects", str(path), "--baseline", "base", "--metric", "acc"))["effects"]
    assert (row["ci"], row["p"], row["verdict"]) == (ci, None, "inconclusive")
    assert row["note"]
    assert any("without an interval" in warning for warning in said["warnings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--baseline", "4", "--metric", "acc"], "column arm: no row '4'"),
        (["--baseline", "1", "--metric", "ac"], "did you mean 'acc'"),
        (["--baseline", "1", "--metric", "acc", "--within", "-1"], "is no margin"),
        (["--baseline", "1", "--metric", "acc", "--goal", "mx"], "min or max"),
        (["--baseline", "1", "--metric", "acc", "--importance"], "--importance is for a study"),
        (["--metric", "acc"], "needs --baseline"),
    ],
)
def test_effects_of_a_csv_refuse_what_cannot_be_answered(csv: Path, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, ["effects", str(csv), *words], catch_exceptions=False)


@pytest.mark.parametrize("metric", ["loss", "val_loss", "Test error", "perplexity", "ppl/4"])
def test_effects_of_a_csv_ask_which_way_is_better_where_the_name_says_less(csv: Path, metric: str) -> None:
    frame = pd.read_csv(csv).rename(columns={"acc": metric})
    frame.to_csv(csv, index=False)
    words = ["effects", str(csv), "--baseline", "1", "--metric", metric]
    with pytest.raises(InputError, match="say which way is better: --goal min"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert answer(*words, "--goal", "min")["goal"] == "min"
    assert answer(*words, "--goal", "max")["goal"] == "max"


def test_effects_of_a_csv_with_lost_trials_say_that_rows_are_over_different_seeds(csv: Path) -> None:
    frame = pd.read_csv(csv)
    frame[(frame["arm"] != 3) | (frame["seed"] != 0)].to_csv(csv, index=False)
    words = ["effects", str(csv), "--baseline", "1", "--metric", "acc"]
    assert "rows of arm are over different seeds or cells" in CliRunner().invoke(app, words).stdout
    assert {row["baseline_mean"] for row in answer(*words)["effects"]} != {answer(*words)["effects"][0]["baseline_mean"]}


def test_effects_of_a_csv_never_print_a_probability_of_zero(csv: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"arm": arm, "seed": seed, "acc": rng.normal() + 1e3 * arm} for arm in (1, 2) for seed in range(30)]
    pd.DataFrame(rows).to_csv(csv, index=False)
    assert "<1e-16" in CliRunner().invoke(app, ["effects", str(csv), "--baseline", "1", "--metric", "acc"]).stdout


def test_axis_that_makes_the_sizes_of_a_law_is_not_flagged(tmp_path: Path) -> None:
    rows = [(width, rate, seed) for width in (8, 16, 32) for rate in (1e-3, 2e-3, 4e-3, 8e-3) for seed in (0, 1)]
    path = tmp_path / "runs.csv"
    lines = [f"{w},{w * w * 1000},{r},{s},{3 + (r * 1000 - 32 / w) ** 2 / 100 - w / 100 + s / 1000}" for w, r, s in rows]
    path.write_text("\n".join(["width,num_params,lr,seed,loss", *lines]))
    place = ["--workspace", str(tmp_path / "w")]
    asked = ["import", "csv", str(path), "--as", "sizes", "--metric", "loss", "--goal", "min", "--size", "num_params", "--rate", "lr"]
    assert CliRunner().invoke(app, [*asked, *place]).exit_code == 0
    store = open_store(Workspace(tmp_path / "w").store_url)
    guards = conclude(store, "sizes").guards
    assert (guards.moved, [each for each in guards.confounds if "width" in each.arm]) == ((), [])
    store.close()
