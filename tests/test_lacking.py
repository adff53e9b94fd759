"""What this machine has not of what a study names: said by `validate` and `plan`, refused by `run` where it would be needed here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ablate.arguments import warn_of_lacks
from ablate.attempt import Outcome
from ablate.cli import main
from ablate.design import arm_for, make_arms
from ablate.draft import Arm
from ablate.errors import InputError
from ablate.lacking import lacks, refuse_lacks
from ablate.load import load_study
from ablate.planner import make_plan
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.model_zoo.data.test_files import write_texts

TEXT = """\
schema: 1
name: texts
trainer: model_zoo
base:
  encoder: {width: 8, depth: 1, training: full, pretrain: {objective: none}}
  connector: {num_tokens: 1}
  decoder: {width: 8, depth: 1}
  data:
    mix: "0:0:1"
    files:
      text: {train: [there.jsonl], held_out: [not.jsonl, there.jsonl]}
  train: {steps: 3, warmup_steps: 1}
  eval: {tasks: []}
axes:
  decoder.pretrained: [gone, away]
metric: {name: val_loss, goal: min}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    write_texts(tmp_path / "there.jsonl", ["one"])
    (tmp_path / "texts.yaml").write_text(TEXT, encoding="utf-8")


def expected(folder: Path) -> list[str]:
    packed = f"is no folder in {folder}: packed starts from what a pretrain stage of the zoo leaves"
    return [
        f"texts.yaml:11:47: base.data.files.text.held_out[0]: no file matches not.jsonl in {folder} "
        "(set ABLATE_DATA to the folder of the data)",
        f"texts.yaml:15:24: axes.decoder.pretrained[0]: 'gone' {packed}",
        f"texts.yaml:15:30: axes.decoder.pretrained[1]: 'away' {packed}",
    ]


def called(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["ablate", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("words", [["validate", "texts.yaml"], ["plan", "texts.yaml", "--json"], ["run", "texts.yaml", "--dry-run"]])
def test_verbs_that_run_nothing_say_it_and_go_on(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(*words, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[:-1] == expected(tmp_path)
    assert printed.err.splitlines()[-1] == ("texts needs these where its trials run; `ablate run` without --address does not start it here")
    assert printed.out
    assert "not.jsonl" not in printed.out or "--json" in words


@pytest.mark.parametrize(
    ("axis", "held_out", "said"),
    [
        ("decoder.pretrained: [gone, away]", "not.jsonl", "fine, but 3 things that it reads are not here"),
        ("decoder.depth: [1, 2]", "not.jsonl", "fine, but 1 thing that it reads is not here"),
        ("decoder.depth: [1, 2]", "there.jsonl", "fine"),
    ],
)
def test_validate_says_on_its_line_how_much_is_lacked(
    axis: str, held_out: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXT.replace("decoder.pretrained: [gone, away]", axis).replace("not.jsonl", held_out)
    Path("texts.yaml").write_text(text, encoding="utf-8")
    assert called("validate", "texts.yaml", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert printed.out == f"texts.yaml: {said} (texts)\n"
    assert bool(printed.err) == (said != "fine")


def test_what_several_studies_lack_is_said_once_with_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = load_study("texts.yaml"), load_study("texts.yaml", overrides=["name=other"])
    warn_of_lacks([one])
    alone = capsys.readouterr().err.splitlines()
    warn_of_lacks([one, other])
    both = capsys.readouterr().err.splitlines()
    assert len(both) == len(alone)
    assert sum(line.endswith("(concerns texts, other)") for line in both) >= 1
    assert both[-1] == "texts, other need these where their trials run; `ablate run` without --address does not start them here"


def test_run_on_this_machine_refuses_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert called("run", "texts.yaml", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.splitlines() == expected(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_study_that_an_earlier_one_did_not_provide_for_is_left_out_and_the_next_one_runs(tmp_path: Path) -> None:
    axes, metric = {"num_tokens": [16, 64]}, {"name": "loss", "goal": "min"}
    first = {"schema": 1, "name": "first", "trainer": "synthetic", "base": {"steps": 2}, "axes": axes, "metric": metric, "seeds": 1}
    for name in ("first", "last"):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(first | {"name": name}), encoding="utf-8")
    argv = [sys.executable, "-m", "ablate", "run", "first.yaml", "texts.yaml", "last.yaml", "--slots", "1"]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1, found.stderr
    said = [found.stdout.find(text) for text in ("first: 2 done of 2 trials", "texts is not run", "last: 2 done of 2 trials")]
    assert -1 < said[0] < said[1] < said[2], found.stdout
    assert set(expected(tmp_path)) <= set(found.stderr.splitlines())


ON_A_CLUSTER = """
import sys
from ablate import session
from ablate.cli import main
session.run_all = lambda studies, *_, address, **__: print(len(studies), address) or 0  # no cluster at hand
sys.argv = ["ablate", "run", "texts.yaml", "--address", "head:6379"]
main()
"""


def test_run_on_a_cluster_says_it_and_leaves_it_to_the_workers(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", ON_A_CLUSTER], capture_output=True, text=True, check=True)
    assert found.stdout == "1 head:6379\n"
    assert found.stderr.splitlines()[:-1] == expected(tmp_path)


def test_study_whose_trainer_says_nothing_of_it_lacks_nothing() -> None:
    assert lacks(load_study("quickstart")) == ()
    assert (
        lacks(
            load_study(
                {
                    "schema": 1,
                    "name": "s",
                    "trainer": "synthetic",
                    "axes": {"num_tokens": [16, 64]},
                    "metric": {"name": "loss", "goal": "min"},
                }
            )
        )
        == ()
    )


def finish(study: Study, arms: Sequence[Arm], workspace: Workspace, *, number: int) -> None:
    """Records the study with these arms, and so many of its trials as done."""
    plan = make_plan(study, arms)
    store = open_store(workspace.store_url, write=True)
    store.record_plan(plan, axes={}, simulated=False)
    for trial in plan.trials[:number]:
        for job in trial.chain:
            store.finish(study.name, Outcome(job, 1, "done"))
    store.close()


def test_run_needs_what_its_unfinished_trials_read(workspace: Workspace) -> None:
    study = load_study("texts.yaml")
    finish(study, make_arms(study), workspace, number=1)
    with pytest.raises(InputError) as refused:
        refuse_lacks(study, workspace)
    assert [problem.line for problem in refused.value.problems] == [11, 15]
    assert "'away' is no folder" in str(refused.value)
    assert "'gone'" not in str(refused.value)
    finish(study, make_arms(study), workspace, number=2)
    refuse_lacks(study, workspace)


def test_search_needs_what_any_single_level_reads(workspace: Workspace) -> None:
    search = load_study("texts.yaml", overrides=["design={kind: search, trials: 3, sampler: random}", "decoder.pretrained=gone,away,far"])
    assert len(lacks(search)) == 4
    with pytest.raises(InputError, match=r"not\.jsonl"):
        refuse_lacks(search, workspace)
    arms = [arm_for(search, {"decoder.pretrained": name}) for name in ("gone", "away")]
    finish(search, arms, workspace, number=2)
    with pytest.raises(InputError, match=r"not\.jsonl"):  # a third trial is still to be chosen
        refuse_lacks(search, workspace)
    refuse_lacks(load_study("texts.yaml", overrides=["design={kind: search, trials: 2, sampler: random}"]), workspace)
