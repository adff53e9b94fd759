"""Tables that people bring: what is wrong with a file is said in a sentence, and no file of theirs is replaced."""

from pathlib import Path

import pytest

from ablate.conclude import csv_effects
from ablate.errors import InputError
from ablate.tables import naming, read_csv, sense, write_new


def test_arms_called_by_numbers_are_names(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("arm,seed,loss\n1,0,2.5\n02,0,2.25\n")
    frame = read_csv(tmp_path / "runs.csv")
    assert (list(frame["arm"]), list(frame["loss"])) == (["1", "02"], [2.5, 2.25])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_of_spreadsheets_are_read(tmp_path: Path, separator: str) -> None:
    (tmp_path / "runs.csv").write_text("arm,seed,loss\na,0,2.5\n".replace(",", separator))
    assert read_csv(tmp_path / "runs.csv").to_dict("records") == [{"arm": "a", "seed": 0, "loss": 2.5}]


def test_faults_of_rows_name_their_table(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    with pytest.raises(InputError, match=r"runs\.csv: one\n.*runs\.csv: two"), naming(path):
        raise InputError("one\ntwo")
    with pytest.raises(InputError) as said, naming(path):
        raise InputError(f"{path} is empty")
    assert str(said.value).count("runs.csv") == 1


def test_columns_that_are_names_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("width,seed,loss\n1e-3,0,2.5\ninf,0,2.25\n")
    assert list(read_csv(tmp_path / "runs.csv", names=("width",))["width"]) == ["1e-3", "inf"]


def test_states_are_read_in_the_words_of_their_sources(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("arm,status\na,Finished\nb,diverged\nc,CRASHED\nd,\ne,failed\n")
    frame = read_csv(tmp_path / "runs.csv")
    assert (list(frame["state"]), "status" in frame) == (["done", "diverged", "lost", "done", "failed"], False)
    (tmp_path / "runs.csv").write_text("arm,state\na,fine\n")
    with pytest.raises(InputError, match=r"line 2: state 'fine' is no state of a run \(done, finished, complete"):
        read_csv(tmp_path / "runs.csv")


def test_state_and_status_are_one_and_may_not_disagree(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("arm,State,status\na,,failed\nb,ok,finished\n")
    assert list(read_csv(path)["state"]) == ["failed", "done"]
    path.write_text("arm,state,status\na,ok,\n\nb,ok,failed\n")
    with pytest.raises(InputError, match=r"runs\.csv: line 4: state 'ok' and status 'failed' disagree"):
        read_csv(path)


def test_rows_are_counted_by_the_lines_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text('arm,seed,note,loss\na,0,"two\nlines",2\n\nb,0,,1\n')
    assert list(read_csv(tmp_path / "runs.csv").index) == [3, 5]


def test_an_empty_metric_without_a_state_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("lr,loss\n1,\n2,n/a\n3,nan\n4,2.5\n")
    assert list(read_csv(path, metric="loss")["state"]) == ["missing", "missing", "done", "done"]
    path.write_text("lr,loss,status\n1,,done\n2,,failed\n")
    assert list(read_csv(path, metric="loss")["state"]) == ["done", "failed"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no file"),
        (b"", "is empty; the first line names the columns"),
        (b"arm,seed\n", r"has no rows below its header \(arm, seed\)"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells below a header of 2"),
        (b"a,b\n1,2,3\n1,2,3\n", "line 2: 3 cells below a header of 2"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_broken_table_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_csv(path)
    with pytest.raises(InputError, match="is a folder"):
        read_csv(tmp_path)


def test_goal_is_one_of_two() -> None:
    assert (sense("min"), sense("max")) == ("min", "max")
    with pytest.raises(InputError, match="--goal mix: min or max; did you mean"):
        sense("mix")


def test_write_new_replaces_no_file(tmp_path: Path) -> None:
    write_new("a", tmp_path / "run.yaml")
    with pytest.raises(InputError, match="exists already"):
        write_new("b", tmp_path / "run.yaml")
    assert (tmp_path / "run.yaml").read_text() == "a"
    with pytest.raises(InputError, match="No such file or directory"):
        write_new("b", tmp_path / "nowhere" / "run.yaml")


@pytest.mark.parametrize("metric", ["nll", "val/WER", "image_mse", "loss", "FID-50k"])
def test_metric_that_falls_as_it_gets_better_takes_a_goal(tmp_path: Path, metric: str) -> None:
    (tmp_path / "runs.csv").write_text(f"arm,seed,{metric},answer\na,0,1,1\nb,0,2,2\n")
    with pytest.raises(InputError, match="say which way is better"):
        csv_effects(tmp_path / "runs.csv", baseline="a", metric=metric, goal="")
    assert csv_effects(tmp_path / "runs.csv", baseline="a", metric="answer", goal="").goal == "max"
