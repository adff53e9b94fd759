"""Tables of runs made elsewhere: what they become, and that all verbs say of them what is known of the same numbers."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import InputError
from ablate.load import load_study
from ablate.stores import open_store
from ablate.study import Study
from ablate.workspace import Workspace
from tests.imports.typed import answered, results_of, typed, write_table
from tests.stores.ran import run, small_study

LOSS = ("--metric", "loss", "--goal", "min")


def arms_table(path: Path) -> str:
    noise = random.Random(1)
    means = {"base": 2.0, "wide": 1.9, "=deep": 2.05}
    rows = [(arm, seed, mean + noise.gauss(0, 0.02)) for arm, mean in means.items() for seed in range(4)]
    return write_table(path / "arms.csv", ("arm", "seed", "loss"), rows)


def law_table(path: Path) -> str:
    noise, rows = random.Random(2), []
    for size in (1_000_000, 4_000_000, 16_000_000, 64_000_000):
        best = math.exp(-0.42 * math.log(size) - 0.55)
        for step in range(-3, 4):
            for seed in range(2):
                loss = 2 + 20 * size**-0.17 + 0.05 * (step * math.log(2)) ** 2 + noise.gauss(0, 0.003)
                rows.append((size, best * 2**step, seed, "nan" if (size, step, seed) == (1_000_000, 3, 0) else loss))
    return write_table(path / "law.csv", ("n_params", "lr", "seed", "loss"), rows)


def wide_table(path: Path) -> str:
    """Two axes, and around them what people have in such tables."""
    header = ("", "name", "created", "state", "optim.lr", "width", "n_params", "mlp", "epochs", "note", "data_seed", "seed", "loss", "acc")
    rows: list[tuple[Any, ...]] = []
    for rate in ("1e-4", "3e-4", "1e-3"):
        for width in (64, 128):
            for seed in range(3):
                at = len(rows)
                failed, when = at == 4, f"2025-01-{at + 1:02d}T10:00:00Z"
                shown = (
                    "relu" if width == 64 else "gelu",
                    3,
                    f"note {at}",
                    seed + 10,
                    seed,
                    "" if failed else 2 + at / 100,
                    0.5 + at / 1000,
                )
                rows.append((at, f"run-{at}", when, "failed" if failed else "finished", rate, width, width * 1000, *shown))
    return write_table(path / "wide.csv", header, rows)


def test_effects_are_those_of_the_table_itself(workspace: Workspace, tmp_path: Path) -> None:
    table = arms_table(tmp_path)
    said = typed("import", "csv", table, "--as", "arms", *LOSS, place=workspace)
    assert "axis variant (column arm): 3 levels, baseline base (base, wide, =deep)" in said
    of_study = answered("effects", "arms", place=workspace)
    of_table = answered("effects", table, "--baseline", "base", *LOSS, place=workspace)
    assert of_study["simulated"] is False
    kept = ("mean_diff", "ci", "p", "p_holm", "p_bh", "hedges_g", "n")
    found = {effect["level"]: {key: effect[key] for key in kept} for effect in of_study["effects"]}
    assert found == {effect["arm"]: {key: effect[key] for key in kept} for effect in of_table["effects"]}


def test_law_of_runs_whose_size_nobody_said_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    typed("import", "csv", arms_table(tmp_path), "--as", "arms", *LOSS, place=workspace)
    with pytest.raises(InputError, match="num_params is not known of any trial; --n-params names an axis, metric or field"):
        typed("law", "loss", "arms", place=workspace)


@pytest.mark.parametrize(("column", "metric"), [("arm", "variant"), ("arm", "state"), ("lr", "arm"), ("lr", "trial")])
def test_metric_whose_name_is_taken_gets_another_one_everywhere(workspace: Workspace, tmp_path: Path, column: str, metric: str) -> None:
    rows = [(level, seed, at + seed / 10) for at, level in enumerate(("a", "b", "c")) for seed in range(3)]
    table = write_table(tmp_path / "runs.csv", (column, "seed", metric), rows)
    said = typed("import", "csv", table, "--as", "taken", "--metric", metric, "--goal", "min", place=workspace)
    assert f"! the metric {metric} is called metrics.{metric} here" in said
    found = answered("effects", "taken", place=workspace)
    assert [round(effect["mean_diff"], 9) for effect in found["effects"]] == [1, 2]
    for again in (("--metric", metric), ()):
        said = answered("import", "csv", table, "--as", "taken", *again, place=workspace)
        assert (said["metric"]["name"], said["changed"]) == (f"metrics.{metric}", False)


def test_law_is_that_of_the_table_itself(workspace: Workspace, tmp_path: Path) -> None:
    table = law_table(tmp_path)
    said = typed("import", "csv", table, "--as", "law", *LOSS, "--size", "n_params", "--rate", "lr", place=workspace)
    assert "law of lr against n_params" in said
    assert said.splitlines()[-1] == f"next: ablate law fit --workspace {workspace.folder} law"
    assert "1 run without a finite loss" in said
    assert answered("law", "fit", "law", place=workspace) == answered("law", "fit", table, place=workspace)
    assert answered("next", "law", place=workspace) == answered("next", table, place=workspace)
    assert "nothing is new" in typed("next", "law", "-o", str(tmp_path / "next.yaml"), place=workspace)
    assert not (tmp_path / "next.yaml").exists()
    store = open_store(workspace.store_url)
    assert {trial.num_params for trial in store.trials("law")} == {1_000_000, 4_000_000, 16_000_000, 64_000_000}
    store.close()


def test_law_knows_runs_that_diverged_from_those_that_failed(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        (size, rate, 0, "" if rate == 16e-4 else 3 + (at - 2.2) ** 2 / 100, end if rate == 16e-4 else "finished")
        for size, end in ((1e6, "diverged"), (1e7, "diverged"), (1e8, "failed"))
        for at, rate in enumerate((1e-4, 2e-4, 4e-4, 8e-4, 16e-4))
    ]
    table = write_table(tmp_path / "law.csv", ("n_params", "lr", "seed", "loss", "status"), rows)
    typed("import", "csv", table, "--as", "law", *LOSS, "--size", "n_params", "--rate", "lr", place=workspace)
    found = answered("law", "fit", "law", place=workspace)
    assert [optimum["n_diverged"] for optimum in found["optima"]] == [1, 1, 0]
    assert found == answered("law", "fit", table, place=workspace)


def test_axes_are_the_columns_that_say_something_of_their_own(workspace: Workspace, tmp_path: Path) -> None:
    said = answered("import", "csv", wide_table(tmp_path), "--as", "wide", *LOSS, place=workspace)
    assert said["axes"] == {"optim.lr": [1e-4, 3e-4, 1e-3], "width": [64, 128]}
    assert {column: why.partition(";")[0] for column, why in said["left_out"].items()} == {
        "epochs": "the same in every run: 3",
        "note": "different in every run",
        "acc": "a number of its own in nearly every run",
        "n_params": "moves with width",
        "mlp": "moves with width",
        "data_seed": "moves with the seed",
    }
    assert said["trials"]["states"] == {"done": 17, "failed": 1}
    rows = results_of("wide", place=workspace)
    assert [row["arm"] for row in rows[::3]] == ["base", "width=128", "lr=0.0003", "lr=0.0003,width=128", "lr=0.001", "lr=0.001,width=128"]
    assert [row["loss"] for row in rows] == [None if at == 4 else 2 + at / 100 for at in range(18)]
    store = open_store(workspace.store_url)
    first = store.trials("wide")[0]
    assert first.config == {"optim": {"lr": 1e-4}, "width": 64, "n_params": 64000, "mlp": "relu", "epochs": 3, "note": "note 0",
                            "data_seed": 10, "seed": 0, "acc": 0.5}  # fmt: skip
    assert first.num_params == 64_000
    (attempt,) = store.attempts(first.chain)
    assert (attempt.host, attempt.started) == ("elsewhere", 1735725600.0)
    assert attempt.details is not None
    assert {key: attempt.details["imported"][key] for key in ("kind", "run")} == {"kind": "csv", "run": "run-0"}
    record = store.study("wide")
    assert record
    assert Study.model_validate(record.spec).question.startswith("Imported: runs made elsewhere (csv: ")
    store.close()


@pytest.mark.slow
def test_every_verb_works_on_it(workspace: Workspace, tmp_path: Path) -> None:
    typed("import", "csv", wide_table(tmp_path), "--as", "wide", *LOSS, place=workspace)
    typed("report", "wide", "-o", str(tmp_path / "report.html"), place=workspace)
    assert "Imported: runs made elsewhere" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "17 of 18" in typed("effects", "wide", place=workspace)
    assert "made elsewhere" in typed("status", place=workspace)
    trial = results_of("wide", place=workspace)[0]["trial"]
    assert "elsewhere" in typed("logs", trial, place=workspace)
    assert "imported" in typed("explain", trial, place=workspace)
    typed("export", "wide", "-o", str(tmp_path / "wide.zip"), place=workspace)
    other = Workspace(tmp_path / "other")
    assert "18 jobs were new here" in typed("import", str(tmp_path / "wide.zip"), place=other)
    assert results_of("wide", place=other) == results_of("wide", place=workspace)


def test_imported_runs_are_not_run_here(workspace: Workspace, tmp_path: Path) -> None:
    typed("import", "csv", wide_table(tmp_path), "--as", "wide", *LOSS, place=workspace)
    with pytest.raises(InputError, match="importing it again brings what has changed there"):
        typed("retry", "wide", place=workspace)
    with pytest.raises(InputError, match=r"trainer: runs that were imported were made elsewhere and cannot be run here.*model_zoo"):
        load_study({"schema": 1, "name": "x", "trainer": "imported", "axes": {"lr": [1, 2]}, "metric": {"name": "loss", "goal": "min"}})


def test_importing_again_adds_what_is_new(workspace: Workspace, tmp_path: Path) -> None:
    table = wide_table(tmp_path)
    lines = Path(table).read_text(encoding="utf-8").splitlines(keepends=True)
    Path(table).write_text("".join(lines[:10]), encoding="utf-8")
    typed("import", "csv", table, "--as", "wide", *LOSS, place=workspace)
    Path(table).write_text("".join(lines).replace("failed", "finished").replace("note 4,11,1,,", "note 4,11,1,2.04,"), encoding="utf-8")
    said = answered("import", "csv", table, "--as", "wide", place=workspace)
    assert (said["changed"], said["trials"]["new"], said["trials"]["updated"], said["trials"]["same"]) == (True, 9, 1, 8)
    assert [row["loss"] for row in results_of("wide", place=workspace)] == [2 + at / 100 for at in range(18)]
    assert answered("import", "csv", table, "--as", "wide", place=workspace)["changed"] is False
    assert "was here already" in typed("import", "csv", table, "--as", "wide", place=workspace)
    Path(table).write_text("".join(lines[:1] + lines[6:]), encoding="utf-8")
    said = answered("import", "csv", table, "--as", "wide", place=workspace)
    assert len(said["trials"]["gone"]) == 5
    assert len(results_of("wide", place=workspace)) == 18


def test_runs_that_run_there_wait_here_for_the_next_import(workspace: Workspace, tmp_path: Path) -> None:
    header = ("lr", "seed", "state", "loss")
    table = write_table(tmp_path / "runs.csv", header, [(0.1, 0, "finished", 1.0), (0.2, 0, "running", 5.0), (0.2, 1, "killed", 5.0)])
    typed("import", "csv", table, "--as", "runs", *LOSS, "--axis", "lr", place=workspace)
    said = typed("status", "runs", place=workspace)
    assert "nobody works on it" not in said
    assert [row["state"] for row in results_of("runs", place=workspace)] == ["done", "queued", "failed"]
    assert [row["loss"] for row in results_of("runs", place=workspace)] == [1.0, None, None]
    write_table(tmp_path / "runs.csv", header, [(0.1, 0, "finished", 1.0), (0.2, 0, "finished", 0.9), (0.2, 1, "killed", 5.0)])
    assert answered("import", "csv", table, "--as", "runs", place=workspace)["trials"]["updated"] == 1
    assert [row["loss"] for row in results_of("runs", place=workspace)] == [1.0, 0.9, None]


def test_contradiction_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    table = wide_table(tmp_path)
    typed("import", "csv", table, "--as", "wide", *LOSS, place=workspace)
    before = results_of("wide", place=workspace)
    text = Path(table).read_text(encoding="utf-8")
    Path(table).write_text(text.replace(",2.03,", ",2.5,").replace(",2.05,", ",2.6,"), encoding="utf-8")
    with pytest.raises(InputError) as error:
        typed("import", "csv", table, "--as", "wide", place=workspace)
    assert str(error.value).count("is done here with another loss") == 2
    for words in (
        ("--metric", "acc"),
        ("--goal", "max"),
        ("--axis", "mlp"),
        ("--axis", "width"),
        ("--size", "n_params", "--rate", "optim.lr"),
        ("--base", "width=128"),
    ):
        with pytest.raises(InputError, match="import under another name with --as") as error:
            typed("import", "csv", table, "--as", "wide", *words, place=workspace)
        assert "no usable run" not in str(error.value)
    assert results_of("wide", place=workspace) == before


def test_axes_typed_again_are_no_contradiction(workspace: Workspace, tmp_path: Path) -> None:
    table = law_table(tmp_path)
    for words in (
        (*LOSS, "--axis", "lr", "--size", "n_params", "--rate", "lr"),
        ("--axis", "lr"),
        ("--axis", "lr", "--axis", "n_params"),
        (),
    ):
        said = typed("import", "csv", table, "--as", "law", *words, place=workspace)
    assert said.startswith("'law' was here already")


def test_replacing_forgets_what_an_import_left(workspace: Workspace, tmp_path: Path) -> None:
    table = wide_table(tmp_path)
    first = typed("import", "csv", table, "--as", "wide", *LOSS, place=workspace)
    before = results_of("wide", place=workspace)
    other = ("--metric", "acc", "--goal", "max", "--axis", "width", "--repeats", "number", "--replace")
    said = answered("import", "csv", table, "--as", "wide", *other, place=workspace)
    assert (said["axes"], said["trials"]["replaced"], said["trials"]["gone"]) == ({"width": [64, 128]}, 18, [])
    assert [row["acc"] for row in results_of("wide", place=workspace)] == [None if at == 4 else 0.5 + at / 1000 for at in range(18)]
    text = Path(table).read_text(encoding="utf-8")  # jobs that were left behind come again, and say what the source says now
    Path(table).write_text(text.replace(",2.03,", ",2.5,"), encoding="utf-8")
    again = typed("import", "csv", table, "--as", "wide", *LOSS, "--replace", place=workspace)
    assert again.splitlines()[1:] == first.splitlines()[1:]
    assert results_of("wide", place=workspace) == [row | ({"loss": 2.5} if row["loss"] == 2.03 else {}) for row in before]
    fewer = "\n".join(row for row in text.splitlines() if ",1e-3," not in row)
    Path(table).write_text(fewer, encoding="utf-8")
    assert answered("import", "csv", table, "--as", "wide", *LOSS, "--replace", place=workspace)["trials"]["replaced"] == 18
    Path(table).write_text(text.replace(",2.12,", ",2.7,").replace("-13,2025-01-14T10:00:00Z,finished", "-13,,failed"), encoding="utf-8")
    assert answered("import", "csv", table, "--as", "wide", place=workspace)["trials"]["new"] == 6
    assert [row["loss"] for row in results_of("wide", place=workspace)][12:15] == [2.7, None, 2.14]


def test_replacing_spares_a_study_that_was_run(workspace: Workspace, tmp_path: Path) -> None:
    run(small_study(), workspace)
    before = results_of("small", place=workspace)
    with pytest.raises(InputError, match="'small' is a study of the store that was run, not imported"):
        typed("import", "csv", arms_table(tmp_path), "--as", "small", *LOSS, "--replace", place=workspace)
    assert results_of("small", place=workspace) == before


def grid_rows() -> list[list[Any]]:
    """Names, two axes, seeds: `name, state, lr, width, seed, loss`."""
    cells = [(lr, width, seed) for lr in (1e-4, 3e-4, 1e-3) for width in (64, 128) for seed in (0, 1, 2)]
    return [[f"run-{at}", "finished", *cell, 2 + at * at % 7 / 100] for at, cell in enumerate(cells)]


GRID = ("name", "state", "lr", "width", "seed", "loss")


@pytest.mark.parametrize("case", ["rerun", "same name twice", "all run twice", "blanks"])
def test_texts_of_single_runs_are_no_axis(case: str, workspace: Workspace, tmp_path: Path) -> None:
    rows, words = grid_rows(), list[str]()
    if case == "rerun":
        rows.append([*rows[4][:5], 2.5])
        rows[4][1], rows[4][5] = "failed", ""
    elif case == "same name twice":
        rows[7][0] = "run-3"
    elif case == "all run twice":
        rows, words = [*rows, *([*row[:5], row[5] + 1] for row in rows)], ["--repeats", "last"]
    else:
        rows = [["" if at % 3 else row[0], *row[1:]] for at, row in enumerate(rows)]
    table = write_table(tmp_path / "runs.csv", GRID, rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, *words, place=workspace)
    assert list(said["axes"]) == ["lr", "width"]
    assert said["left_out"] == {"name": "different in nearly every run"}
    assert all(effect["n"] for effect in answered("effects", "runs", place=workspace)["effects"])
    assert not any("nothing to compare" in note for note in said["notes"])
    named = answered(
        "import", "csv", table, "--as", "named", *LOSS, *words, "--axis", "name", "--axis", "lr", "--axis", "width", place=workspace
    )
    assert list(named["axes"]) == ["name", "lr", "width"]


@pytest.mark.parametrize("seeded", [True, False])
def test_variants_of_one_run_beside_a_baseline_are_an_axis(seeded: bool, workspace: Workspace, tmp_path: Path) -> None:
    rows = [("adam", 0.1, seed, 1.0 + seed) for seed in (0, 1, 2)]
    rows += [(name, 0.1, 0, 2.0) for name in ("sgd", "lion", "muon", "soap")] + [("adam", 0.2, 0, 3.0)]
    header = ("optimizer", "lr", "seed" if seeded else "constant", "loss")
    table = write_table(tmp_path / "runs.csv", header, [row if seeded else (*row[:2], 7, row[3]) for row in rows])
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert said["axes"] == {"optimizer": ["adam", "sgd", "lion", "muon", "soap"], "lr": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [("a", 1, 0, 1), ("b", 2, 0, 2), ("c", 2, 1, "nan"), ("a", 1, 1, 3), ("c", 3, 0, 4)],
            "name the axes that were varied with --axis",
        ),
        ([(kind, rate, seed, 1) for seed, (kind, rate) in enumerate((kind, rate) for kind in "ab" for rate in (1, 2))], "--repeats number"),
    ],
)
def test_runs_of_which_nothing_pairs_up_are_said(rows: list[Any], says: str, workspace: Workspace, tmp_path: Path) -> None:
    table = write_table(tmp_path / "runs.csv", ("kind", "lr", "seed", "loss"), rows)
    words = ("--axis", "kind", "--axis", "lr")
    (note,) = [
        note
        for note in answered("import", "csv", table, "--as", "runs", *LOSS, *words, place=workspace)["notes"]
        if "`ablate effects` has nothing to compare" in note
    ]
    assert says in note


def test_numbers_that_stand_once_were_drawn(workspace: Workspace, tmp_path: Path) -> None:
    for count, levels in ((7, 7), (8, 0), (20, 0)):
        rows = [(math.exp(-at / 3), "ab"[at % 2], 1 + at) for at in range(count)]
        table = write_table(tmp_path / "runs.csv", ("lr", "kind", "loss"), rows)
        said = answered("import", "csv", table, "--as", f"runs-{count}", *LOSS, "--axis", "lr", "--axis", "kind", place=workspace)
        assert len(said["axes"]["lr"]) == levels


def test_name_of_a_study_that_was_run_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    run(small_study(), workspace)
    with pytest.raises(InputError, match="'small' is a study of the store that was run, not imported"):
        typed("import", "csv", arms_table(tmp_path), "--as", "small", *LOSS, place=workspace)


def test_runs_without_seeds_are_numbered_and_keep_their_numbers(workspace: Workspace, tmp_path: Path) -> None:
    header = ("name", "created", "lr", "loss")
    rows = [(f"r{at}", f"2025-01-0{9 - at}", 0.1 if at % 2 else 0.2, 1 + at / 10) for at in range(6)]
    table = write_table(tmp_path / "runs.csv", header, rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert "no column says the seed: runs with the same levels are numbered as seeds 0 to 2" in said["notes"][0]
    before = {row["loss"]: row["seed"] for row in results_of("runs", place=workspace)}
    assert before == {1.0: 2, 1.2: 1, 1.4: 0, 1.1: 2, 1.3: 1, 1.5: 0}  # the last row ran first
    write_table(tmp_path / "runs.csv", header, [("new", "2025-01-01", 0.1, 9.0), *rows])
    answered("import", "csv", table, "--as", "runs", place=workspace)
    assert {row["loss"]: row["seed"] for row in results_of("runs", place=workspace)} == {**before, 9.0: 3}


def test_repeats_are_refused_or_resolved_as_asked(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        ("a", "finished", 0, 8, 1.0, "x"),
        ("b", "finished", 0, 8, 1.1, "y"),
        ("c", "failed", 1, 8, "", "x"),
        ("d", "finished", 1, 8, 1.2, "x"),
        ("e", "finished", 0, 16, 2.0, "x"),
        ("f", "finished", 1, 16, 2.1, "x"),
    ]
    table = write_table(tmp_path / "runs.csv", ("name", "state", "seed", "width", "loss", "host_kind"), rows)
    words = ("import", "csv", table, *LOSS, "--axis", "width", "--as")
    with pytest.raises(InputError, match="a, b have the same levels and seed 0") as error:
        typed(*words, "runs", place=workspace)
    assert "they differ in host_kind" in str(error.value)
    assert "--repeats last" in str(error.value)
    last = answered(*words, "last", "--repeats", "last", place=workspace)
    assert [row["loss"] for row in results_of("last", place=workspace)] == [1.1, 1.2, 2.0, 2.1]
    assert any(note.startswith("1 run that did not finish: dropped beside a repeat: c") for note in last["notes"])
    typed(*words, "number", "--repeats", "number", place=workspace)
    assert [row["seed"] for row in results_of("number", place=workspace)] == [0, 1, 2, 3, 0, 1]


def test_levels_that_are_not_set_are_told_from_axes_that_do_not_apply(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        (kind, depth, dropout, seed, 1.0 + seed)
        for kind, depth in (("mlp", ""), ("resampler", 2), ("resampler", 4))
        for dropout in ("", 0.1)
        for seed in (0, 1)
    ]
    table = write_table(tmp_path / "runs.csv", ("kind", "depth", "dropout", "seed", "loss"), rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert said["axes"] == {"kind": ["resampler", "mlp"], "depth": [2, 4], "dropout": ["null", 0.1]}
    assert said["notes"] == ["depth does not apply in 4 runs: whether it is set follows from kind",
                             "dropout is not set in 6 runs, which counts as its level 'null'"]  # fmt: skip
    found = {row["arm"]: (row["kind"], row["depth"], row["dropout"]) for row in results_of("runs", place=workspace)}
    assert found["kind=mlp"] == ("mlp", None, "null")
    assert found["kind=mlp,dropout=0.1"] == ("mlp", None, 0.1)
    assert "dropout = 0.1" in typed("effects", "runs", place=workspace)


def test_column_that_names_combinations_of_others_is_no_axis(workspace: Workspace, tmp_path: Path) -> None:
    rows = [(f"{lr}-{width}", lr, width, lr * width, seed, 1.0) for lr in (1, 2) for width in (3, 5) for seed in (0, 1)]
    table = write_table(tmp_path / "runs.csv", ("arm", "lr", "width", "params", "seed", "loss"), rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert list(said["axes"]) == ["lr", "width"]
    assert said["left_out"]["arm"] == "names a combination of lr, width"
    half = [(a, b, a ^ b, seed, 1.0) for a in (0, 1) for b in (0, 1) for seed in (0, 1)]  # a fraction: each column is a factor
    said = answered(
        "import", "csv", write_table(tmp_path / "half.csv", ("a", "b", "c", "seed", "loss"), half), "--as", "half", *LOSS, place=workspace
    )
    assert list(said["axes"]) == ["a", "b", "c"]


def test_flops_are_floats_from_size_and_tokens(workspace: Workspace, tmp_path: Path) -> None:
    rows = [(width, 10**11, 10**13, seed, 1.0) for width in (1, 2) for seed in (0, 1)]
    table = write_table(tmp_path / "runs.csv", ("width", "n_params", "tokens", "seed", "loss"), rows)
    typed("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    store = open_store(workspace.store_url)
    assert {(trial.num_params, trial.train_flops) for trial in store.trials("runs")} == {(10**11, 6e24)}
    store.close()


@pytest.mark.parametrize(
    ("text", "words", "messages"),
    [
        ("arm,seed,loss\na,0,1\nb,0,2\n", ("--metric", "los", "--goal", "min"), ["no column 'los'", "did you mean 'loss'?"]),
        (
            "arm,seed,loss\na,0,1\nb,0,2\n",
            ("--metric", "los", "--goal", "mim", "--axis", "amr", "--size", "sede"),
            ["no column 'los'", "--goal mim", "--axis: no column 'amr'", "did you mean 'arm'", "--size: no column 'sede'"],
        ),
        ("arm,seed,loss\na,0,1\nb,0,2\n", ("--goal", "min"), ["--metric is missing", "(seed, loss)"]),
        ("arm,seed,loss\na,0,1\nb,0,2\n", ("--metric", "loss"), ["--goal is missing"]),
        ("arm,seed,loss\na,0,1\nb,0,2\n", ("--metric", "loss", "--goal", "mim"), ["--goal mim: min or max; did you mean 'min'?"]),
        ("arm,seed,loss\na,0,x\nb,0,y\n", LOSS, ["line 2: loss is 'x', which is no number", "line 3: loss is 'y'"]),
        ("arm,seed,loss\na,0,\nb,0,nan\n", (*LOSS, "--axis", "arm", "--seed-column", "s"), ["--seed-column: no column 's'"]),
        ("arm,seed,loss,state\na,0,,done\nb,0,1,failed\n", LOSS, ["no usable run: none of 2 is finished and has loss"]),
        ("arm,seed,loss\na,-1,1\nb,x,2\n", LOSS, ["column seed:", "is no seed, a whole number from 0"]),
        ("arm,seed,loss\na,,1\nb,0,2\n", LOSS, ["1 run without seed: line 2"]),
        ("arm,seed,loss\na,0,1\nb,0,2\n", (*LOSS, "--axis", "amr"), ["--axis: no column 'amr'"]),
        ("arm,seed,loss\na,0,1\nb,0,2\n", (*LOSS, "--base", "arm=c"), ["no level 'c' (a, b)"]),
        (
            "arm,seed,loss\na,0,1\nb,0,2\n",
            (*LOSS, "--rate", "arm", "--size", "seed"),
            ["--rate arm: 'a' is not a number above 0", "--size seed: '0'"],
        ),
        ("arm,seed,loss\na,0,1\nb,0,2\n", (*LOSS, "--rate", "lr"), ["--rate: no column 'lr'"]),
        ("arm,loss,loss\na,0,1\nb,0,2\n", LOSS, ["the column 'loss' is there 2 times"]),
        ("arm,seed,loss\na,0\nb,0,2,3\n", LOSS, ["line 2: 2 cells below a header of 3", "line 3: 4 cells"]),
        ("arm,state,loss\na,dnoe,1\n", LOSS, ["line 2: state 'dnoe' is no state of a run", "did you mean 'done'?"]),
        ("x,seed,loss\n1,0,1\n1,1,2\n", LOSS, ["no column varies", "name one with --axis (x)"]),
        ("arm,seed,loss\n", LOSS, ["it has no rows below its header"]),
        ("", LOSS, ["it is empty"]),
        ('arm,seed,loss\n"a,0,1\n', LOSS, ["not a CSV table"]),
        ('[{"name": "a"}]', LOSS, ["JSON and no table", "ablate import wandb "]),
        ('\n{"name": "a"}\n{"name": "b"}\n', LOSS, ["JSON and no table", "ablate import wandb "]),
    ],
)
def test_bad_table_is_refused_with_all_that_is_wrong(text: str, words: tuple[str, ...], messages: list[str], tmp_path: Path) -> None:
    place, table = Workspace(tmp_path / "work"), tmp_path / "runs.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        typed("import", "csv", str(table), "--as", "runs", *words, place=place)
    assert [message for message in messages if message not in str(error.value)] == []
    assert not place.folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("csv", "none.csv", "--as", "x", *LOSS), "none.csv: there is no such file"),
        (("cvs", "none.csv", "--as", "x"), "unknown kind 'cvs' .*did you mean 'csv'"),
        (("csv", "TABLE", *LOSS), "--as is missing"),
        (("csv", "TABLE", "--as", "../x", *LOSS), r"--as \.\./x: no name of a study"),
        (("csv", "TABLE", "--as", "x", "--repeats", "lats", *LOSS), "did you mean 'last'"),
        (("csv", "TABLE", "--as", "x", "--base", "arm", *LOSS), "write --base COLUMN=LEVEL"),
        (("TABLE", "--as", "x", *LOSS), "--as, --metric, --goal: for runs made elsewhere; write their kind before"),
        (("csv",), "write a kind and one source"),
        (("csv", "FOLDER", "--as", "x", *LOSS), "cannot be read"),
    ],
)
def test_bad_words_are_refused(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    place, table = Workspace(tmp_path / "work"), arms_table(tmp_path)
    given = [{"TABLE": table, "FOLDER": str(tmp_path)}.get(word, word) for word in words]
    with pytest.raises(InputError, match=message):
        typed("import", *given, place=place)
    assert not place.folder.exists()


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    place, table = Workspace(tmp_path / "work"), tmp_path / "runs.csv"
    for data, message in ((b"arm,loss\n\xff\xfe\xfd,1\n", "byte 9 is not UTF-8"), (b"\xff\xfea\0", "UTF-16")):
        table.write_bytes(data)
        with pytest.raises(InputError, match=message):
            typed("import", "csv", str(table), "--as", "runs", *LOSS, place=place)


def test_hostile_texts_do_no_harm(workspace: Workspace, tmp_path: Path) -> None:
    odd = ["=HYPERLINK(1)", "a\x1b[31mred", "x\u202ey", "<script>alert(1)</script>", "a,b", "\0nul", "'; DROP TABLE jobs; --"]
    rows = [(level, f"v{place}" * 3_000, seed, place + seed) for place, level in enumerate(odd) for seed in (0, 1)]
    table = write_table(tmp_path / "runs.csv", ("=cmd\x07|x", "long", "seed", "loss"), rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    (axis,) = said["axes"]
    assert axis == "cmdU_0007_x" or axis.isascii()
    assert "\x1b" not in json.dumps(said)
    assert all(level.isprintable() for level in said["axes"][axis])
    assert "texts of up to" in said["left_out"]["long"]
    shown = typed("results", "runs", "--format", "csv", place=workspace)
    assert "\n=" not in shown
    assert ",=" not in shown
    typed("report", "runs", "-o", str(tmp_path / "report.html"), place=workspace)
    assert "<script>alert(1)</script>" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_columns_called_like_ours_are_given_other_names(workspace: Workspace, tmp_path: Path) -> None:
    names = ("trial", "model_config", "a.b", "a", "2d", "学習率", "model_size")
    rows = [[(place >> at) & 1 for at in range(len(names))] + [seed, 1.0] for place in range(2 ** len(names)) for seed in (0,)]
    table = write_table(tmp_path / "runs.csv", (*names, "seed", "loss"), rows)
    axes = [word for name in names for word in ("--axis", name)]
    said = answered("import", "csv", table, "--as", "runs", *LOSS, *axes, place=workspace)
    assert said["columns"] == {"imported_trial": "trial", "model_config_": "model_config", "a.b": "a.b", "a_2": "a", "x2d": "2d",
                               "column": "学習率", "model_size": "model_size"}  # fmt: skip
    typed("effects", "runs", place=workspace)


def test_column_of_seeds_is_remembered(workspace: Workspace, tmp_path: Path) -> None:
    rows = [(kind, number, 1.0 + number) for kind in "ab" for number in (7, 9)]
    table = write_table(tmp_path / "runs.csv", ("kind", "repetition", "loss"), rows)
    typed("import", "csv", table, "--as", "runs", *LOSS, "--seed-column", "repetition", place=workspace)
    write_table(tmp_path / "runs.csv", ("kind", "repetition", "loss"), [("a", 11, 3.0), *rows])
    assert answered("import", "csv", table, "--as", "runs", place=workspace)["trials"]["new"] == 1
    assert sorted(row["seed"] for row in results_of("runs", place=workspace)) == [7, 7, 9, 9, 11]


@pytest.mark.slow
def test_many_columns_are_left_where_they_are(workspace: Workspace, tmp_path: Path) -> None:
    count = 100_000
    rows = [[level, seed, 1.0 + seed, *range(count)] for level in "ab" for seed in (0, 1)]
    table = write_table(tmp_path / "runs.csv", ("kind", "seed", "loss", *(f"c{at}" for at in range(count))), rows)
    said = typed("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert "axis kind: 2 levels" in said
    assert f"and {count - 20:,} more columns are no axes" in said
    assert "1,000 are kept with each run" in said


@pytest.mark.slow
def test_ten_thousand_runs_come_in_within_seconds(workspace: Workspace, tmp_path: Path) -> None:
    noise = random.Random(3)
    rows = [(lr, width, depth, seed, 2 + noise.gauss(0, 0.1))
            for lr in range(1, 11) for width in range(10) for depth in range(10) for seed in range(10)]  # fmt: skip
    table = write_table(tmp_path / "runs.csv", ("lr", "width", "depth", "seed", "loss"), rows)
    said = answered("import", "csv", table, "--as", "runs", *LOSS, place=workspace)
    assert said["trials"]["states"] == {"done": 10_000}
    assert len(answered("effects", "runs", place=workspace)["effects"]) == 27
