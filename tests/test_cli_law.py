"""What `next` and the `law` verbs print."""

import json
import sys
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from ablate.analysis.published import MM1, PUBLISHED
from ablate.analysis.published_losses import PUBLISHED_LOSSES
from ablate.cli import main
from ablate.stores import open_store

Ablate = Callable[..., str]
KEYS = {
    "law",
    "source",
    "simulated",
    "n_params",
    "lr",
    "interval",
    "level",
    "kind",
    "extrapolation_decades",
    "regret",
    "regret_note",
    "weight_decay",
    "notes",
}
"""Of an answer before there were laws of more than N."""


@pytest.fixture
def ablate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ablate:
    """What a verb prints; with a code, what it says of why it refused."""

    def said(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ablate", *(() if arguments[0] == "next" else ("law",)), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code or 0) == code, printed.err
        return printed.err if code else printed.out

    return said


@pytest.mark.parametrize("law", PUBLISHED)
def test_predict_answers_for_every_law_in_json(ablate: Ablate, law: str) -> None:
    answer = json.loads(ablate("predict", "--law", law, "--params", "1B", "--tokens", "100B", "--json"))
    assert set(answer) == KEYS | {"tokens", "compute", "batch_tokens"}
    assert (answer["law"], answer["source"], answer["simulated"]) == (law, PUBLISHED[law].source, False)
    assert 1e-6 < answer["lr"] < 1e-2
    assert answer["compute"] == (6e20 if law in ("deepseek", "moonlight") else None)


def test_predict_of_compute_alone_needs_no_size(ablate: Ablate) -> None:
    answer = json.loads(ablate("predict", "--law", "moonlight", "--compute", "1e22", "--json"))
    assert (answer["n_params"], answer["compute"]) == (None, 1e22)
    assert answer["batch_tokens"] == pytest.approx(8.251129e6, rel=2e-6)  # 0.0065 x 1e22^0.4138


def test_predict_for_people_names_what_it_was_asked_with(ablate: Ablate) -> None:
    said = ablate("predict", "--law", "step_law", "--params", "1B", "--tokens", "1T")
    assert "step_law at 1e+09 parameters, 1e+12 tokens: peak learning rate 0.00331, no interval" in said
    assert "batch 4.13e+06 tokens a step" in said
    assert "D extrapolated by 1.0 decades outside 4B to 100B" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "mm1 needs --params"),
        (["--law", "step_law"], "step_law needs --params (non-embedding parameters; range: 215M to 1.07B) and --tokens (training tokens"),
        (["--law", "deepseek", "--params", "1B"], "or --params and --tokens for C = 6 N D"),
        (["--law", "kaplan", "--params", "30B"], "kaplan has no rate at N = 3e+10"),
        (["--law", "moonlight", "--compute", "nan"], "compute: nan is not a positive, finite number"),
        (["--law", "step_law", "--params", "1B", "--tokens", "many"], "'many' is no size"),
        (["--law", "steplaw", "--params", "1B"], "did you mean 'step_law'?"),
        (["--law", "steplaw"], "did you mean 'step_law'?, and no store with a study of that name"),
    ],
)
def test_predict_refuses_with_what_to_do(ablate: Ablate, arguments: list[str], said: str, tmp_path: object) -> None:
    printed = ablate("predict", *arguments, "--workspace", str(tmp_path), code=2)
    assert said in " ".join(printed.replace("│", " ").split())


def test_list_has_every_law_with_range_and_source(ablate: Ablate) -> None:
    rows = json.loads(ablate("list", "--json"))
    assert [row["law"] for row in rows] == [*PUBLISHED, *PUBLISHED_LOSSES]
    assert all(row["source"] and row["evidence"] and row["ranges"] for row in rows)
    first, *_ = rows
    assert (first["from"], first["to"]) == (9e6, 1.2e9)


def test_list_for_people_has_every_law_with_range_and_source(ablate: Ablate) -> None:
    said = ablate("list")
    for name, law in PUBLISHED.items():
        assert name in said
        assert law.source in said
    assert "N 215M to 1.07B, D 4B to 100B" in said


def test_next_proposes_runs_for_a_csv(tmp_path: Path, ablate: Ablate) -> None:
    rows = [
        f"{size},{MM1.lr(size) * 2.0**step},0,{3 + 0.02 * (0.69 * step - 0.1) ** 2 + 0.001 * (step % 3)}"
        for size in (1e7, 1e8, 1e9)
        for step in range(-2, 3)
    ]
    file = tmp_path / "runs.csv"
    file.write_text("\n".join(["n_params,lr,seed,loss", *rows]))
    found = json.loads(ablate("next", str(file), "--runs", "2", "--json"))
    assert set(found) == {"runs", "stop", "reason", "sd", "warnings", "criterion", "claims"}
    assert [set(run) for run in found["runs"]] == [{"n_params", "lr", "seed", "why", "cost", "sd", "gain"}] * 2
    assert "narrows the interval" in ablate("next", str(file))


def test_next_unknown_worth_is_refused(tmp_path: Path, ablate: Ablate) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("n_params,lr,seed,loss\n1e7,1e-3,0,3\n")
    assert "--per flops: run or flop; did you mean 'flop'?" in ablate("next", str(file), "--per", "flops", code=2)


def horizons(file: Path, *, rise: float = 0.3) -> Path:
    """Runs at four sizes, each trained on three counts of tokens; the best rate goes with N^-0.7 D^rise."""
    noise = iter(np.random.default_rng(0).normal(scale=0.05, size=12))
    rows = []
    for size in (1e7, 1e8, 3e8, 1e9):
        for tokens in (1e9, 4e9, 16e9):
            best = exp(-0.7 * log(size) + rise * log(tokens) + next(noise))
            for step in (-2, -1, 0, 1, 2):
                rate = best * 1.1 * 2.0**step
                rows.append(f"{size},{tokens},{rate},0,{3 + 0.02 * log(rate / best) ** 2}")
    file.write_text("\n".join(["n_params,tokens,lr,seed,loss", *rows]))
    return file


MEANT = """counts: non_embedding
batch: fixed
horizon: 1B to 16B tokens
schedule: cosine
weight_decay: 0.1 in torch's AdamW
"""


def test_fit_compares_forms_and_predicts_by_the_one_asked_for(tmp_path: Path, ablate: Ablate) -> None:
    file = horizons(tmp_path / "runs.csv")
    said = ablate("fit", str(file))
    assert "the form N+D describes these optima better than N" in said
    found = json.loads(ablate("fit", str(file), "--form", "N+D", "--target", "30B", "--tokens", "600B", "--json"))
    assert found["form"] == "N+D"
    assert found["law"]["slopes"] == pytest.approx({"n_params": -0.7, "tokens": 0.3}, abs=0.05)
    assert found["prediction"]["lr"] == pytest.approx(exp(-0.7 * log(30e9) + 0.3 * log(600e9)), rel=0.3)
    assert [form["form"] for form in found["forms"]] == ["N", "N+D", "N+B", "C"]
    assert "needs the column batch_tokens" in found["forms"][2]["note"]
    without = json.loads(ablate("fit", str(file), "--form", "N+D", "--json"))
    assert without["prediction"] is None
    assert any("needs --tokens (D)" in warning for warning in without["warnings"])


def test_fit_with_definitions_is_compared_with_the_laws_that_read_the_same(tmp_path: Path, ablate: Ablate) -> None:
    file, meant = horizons(tmp_path / "runs.csv"), tmp_path / "meant.yaml"
    meant.write_text(MEANT)
    compared = json.loads(ablate("fit", str(file), "--form", "N+D", "--json"))["slopes_compared"]
    assert all(each["p"] is None and "not recorded" in each["note"] for each in compared if each["law"] != "no change")
    found = json.loads(ablate("fit", str(file), "--form", "N+D", "--definitions", str(meant), "--json"))
    assert found["definitions"]["counts"] == "non_embedding"
    by_law = {(each["law"], each["quantity"]): each for each in found["slopes_compared"]}
    assert by_law["step_law", "n_params"]["difference"] == pytest.approx(found["law"]["slopes"]["n_params"] + 0.713)
    assert by_law["step_law", "tokens"]["p"] is not None
    assert "N counts" in by_law["bjorck", "tokens"]["note"]
    assert "slope in D minus that of step_law (+0.307)" in ablate("fit", str(file), "--form", "N+D", "--definitions", str(meant))


def test_definitions_are_refused_with_every_fault_and_its_place(tmp_path: Path, ablate: Ablate) -> None:
    file, meant = horizons(tmp_path / "runs.csv"), tmp_path / "meant.yaml"
    meant.write_text("counts: all\nbatches: fixed\nhorizon: 3\n")
    said = ablate("fit", str(file), "--definitions", str(meant), code=2)
    assert "meant.yaml:1:9: counts: found text 'all' (allowed: non_embedding, with_head, with_embeddings, total)" in said
    assert "meant.yaml:2:1: unknown key 'batches'" in said
    assert "horizon: expected text, found 3" in said
    assert "'schedule' is missing" in said
    assert "nowhere.yaml: No such file" in ablate("fit", str(file), "--definitions", str(tmp_path / "nowhere.yaml"), code=2)


def test_predict_emits_what_a_large_run_needs(tmp_path: Path, ablate: Ablate) -> None:
    said = ablate("predict", "--params", "30e9", "--emit", str(tmp_path / "run.yaml"))
    assert f"wrote {tmp_path / 'run.yaml'}" in said
    assert "The rate is that of MM1" in said
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["peak_learning_rate"]["value"] == pytest.approx(MM1.lr(30e9), rel=1e-5)
    assert "exists already" in ablate("predict", "--params", "30e9", "--emit", str(tmp_path / "run.yaml"), code=2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_params": 1e8}, "1 size with a finished run; a law needs at least two"),
        ({"lr": 1e-3}, "column lr: one rate a size"),
        ({"lr": -1e-3}, "column lr: -0.001 is not a positive, finite number"),
        ({"n_params": float("inf"), "tokens": 0}, "column tokens: 0"),
        ({"n_counts": ["a"] * 30 + ["b"] * 30}, "sizes counted in several ways (a, b)"),
        ({"loss": "none"}, "column loss: 'none' is not a number"),
    ],
)
def test_fit_refuses_runs_that_say_nothing_of_a_law(tmp_path: Path, ablate: Ablate, change: dict[str, Any], said: str) -> None:
    file = horizons(tmp_path / "runs.csv")
    pd.read_csv(file).assign(**change).to_csv(file, index=False)
    assert said in ablate("fit", str(file), code=2)


def test_fit_of_large_integers_does_not_overflow(tmp_path: Path, ablate: Ablate) -> None:
    """6 N D is beyond int64 here."""
    file = tmp_path / "points.csv"
    rows = [f"{size},{tokens},{exp(-0.1 * log(6 * size * tokens))}" for size in (1070000000, 9e8) for tokens in (56900000000, 9e10)]
    file.write_text("\n".join(["n_params,tokens,eta", *rows]))
    found = json.loads(ablate("fit", str(file), "--points", "--form", "C", "--json"))
    assert found["law"]["slopes"] == pytest.approx({"compute": -0.1})


def test_law_of_no_such_name_lists_those_there_are(ablate: Ablate, tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/ablate.db", write=True).close()
    said = ablate("predict", "--law", "deepsek", "--params", "1B", "--workspace", str(tmp_path), code=2)
    assert "did you mean 'deepseek'?, and no study of that name in the store" in said


def test_target_of_nothing_is_refused(ablate: Ablate, tmp_path: Path) -> None:
    file = horizons(tmp_path / "runs.csv")
    assert "runs.csv: n_params: 0.0 is not a positive" in ablate("fit", str(file), "--target", "0", code=2)


def test_prediction_by_compute_says_how_far_it_is_extrapolated(ablate: Ablate, tmp_path: Path) -> None:
    said = ablate("fit", str(horizons(tmp_path / "runs.csv")), "--form", "C", "--target", "7B", "--tokens", "1T")
    assert "C extrapolated by" in said
    assert "weight decay is MM1's 0.1 of the rate, not fitted" in said


def test_next_that_says_stop_writes_no_file(tmp_path: Path, ablate: Ablate) -> None:
    rows = [
        f"{size},{MM1.lr(size) * 2.0**step},{seed},{3 + 0.02 * (0.69 * step - 0.1) ** 2 + 1e-6 * (step * 7 % 3) * (1 + seed)}"
        for size in (1e7, 1e8, 1e9)
        for step in range(-3, 4)
        for seed in range(3)
    ]
    file, out = tmp_path / "runs.csv", tmp_path / "next.yaml"
    file.write_text("\n".join(["n_params,lr,seed,loss", *rows]))
    printed = ablate("next", str(file), "-o", str(out))
    assert "stop: " in printed
    assert (f"nothing is new, so {out} was not written" in printed.replace("\n", " "), out.exists()) == (True, False)


@pytest.mark.parametrize("verb", [("fit",), ("next",)])
def test_law_of_a_csv_says_what_it_left_out_by_either_column(tmp_path: Path, ablate: Ablate, verb: tuple[str, ...]) -> None:
    rows = [
        [size, MM1.lr(size) * 2.0**step, 0, 3 + 0.02 * (0.69 * step - 0.1) ** 2 + 0.001 * (step % 3), "ok"]
        for size in (1e7, 1e8, 1e9)
        for step in range(-2, 3)
    ]
    rows[3][3:], rows[7][3:] = [0.5, "failed"], ["", ""]
    for column in ("state", "status"):
        file = tmp_path / f"{column}.csv"
        file.write_text("\n".join(",".join(map(str, row)) for row in [["n_params", "lr", "seed", "loss", column], *rows]))
        found = json.loads(ablate(*verb, str(file), "--json"))
        assert any(warning.startswith("2 of 15 runs left out (1 failed, 1 missing)") for warning in found["warnings"])
    if verb == ("fit",):
        assert [optimum["n_diverged"] for optimum in found["optima"]] == [0, 0, 0]
