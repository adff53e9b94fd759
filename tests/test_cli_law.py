"""What `next` and the `law` verbs print."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.analysis.published import MM1, PUBLISHED
from ablate.cli import main

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
        (["--law", "steplaw"], "did you mean 'step_law'?; that of a study needs --params"),
    ],
)
def test_predict_refuses_with_what_to_do(ablate: Ablate, arguments: list[str], said: str, tmp_path: object) -> None:
    printed = ablate("predict", *arguments, "--workspace", str(tmp_path), code=2)
    assert said in " ".join(printed.replace("│", " ").split())


def test_list_has_every_law_with_range_and_source(ablate: Ablate) -> None:
    rows = json.loads(ablate("list", "--json"))
    assert [row["law"] for row in rows] == list(PUBLISHED)
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
    found = json.loads(ablate("next", str(file), "--count", "2", "--json"))
    assert set(found) == {"runs", "stop", "reason", "sd"}
    assert [set(run) for run in found["runs"]] == [{"n_params", "lr", "seed", "why", "cost", "sd", "gain"}] * 2
    assert "narrows the interval" in ablate("next", str(file))


def test_next_unknown_worth_is_refused(tmp_path: Path, ablate: Ablate) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("n_params,lr,seed,loss\n1e7,1e-3,0,3\n")
    assert "--per flops: run or flop; did you mean 'flop'?" in ablate("next", str(file), "--per", "flops", code=2)
