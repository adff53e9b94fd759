"""Files of a trainer: which of them are identity, and whether they are committed."""

import subprocess
from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.load import load_study
from ablate.sources import digest_of, refuse_uncommitted
from tests.own import REPORTS, load_own, write_study


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)


def sources_of(here: Path, *argv: str) -> list[str]:
    study = load_study(write_study(here, argv=list(argv)))
    assert study.command
    assert study.command.folder == str(here)
    assert all(digest == digest_of(here / name) for name, digest in study.command.sources.items())
    return list(study.command.sources)


def test_files_that_arguments_name_are_sources(tmp_path: Path) -> None:
    for name in ("train.py", "run.sh", "python", "pkg/main.py", "data/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    assert sources_of(tmp_path, "python", "train.py", "--lr={lr}", "gone.py", str(tmp_path / "run.sh"), "../x") == ["train.py"]
    assert sources_of(tmp_path, "./run.sh", "data/x.json", "data") == ["run.sh", "data/x.json"]
    assert sources_of(tmp_path, "python", "-m", "pkg.main") == ["pkg/main.py"]


def test_folder_is_that_of_the_file_that_names_the_program(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    parent = write_study(tmp_path / "common", argv=["python", "train.py"])
    (tmp_path / "common" / "train.py").write_text(REPORTS, encoding="utf-8")
    child = tmp_path / "child.yaml"
    child.write_text(f"schema: 1\nname: child\nextends: common/{parent.name}\n", encoding="utf-8")
    command = load_study(child).command
    assert command
    assert (command.folder, list(command.sources)) == (str(tmp_path / "common"), ["train.py"])


def test_uncommitted_trainer_is_refused_where_the_study_asks(tmp_path: Path) -> None:
    def refusal(**extra: bool) -> str:
        try:
            refuse_uncommitted(load_own(tmp_path, extra=extra, script=script))
        except InputError as error:
            return str(error)
        return ""

    script, asked = REPORTS, {"trainer_must_be_committed": True}
    assert refusal() == ""
    assert "is in no git repository" in refusal(**asked)
    git(tmp_path, "init")
    assert "uncommitted changes (train.py (not in git)); commit them" in refusal(**asked).replace(f"{tmp_path}/", "")
    git(tmp_path, "add", "train.py")
    assert "uncommitted changes (train.py)" in refusal(**asked)
    git(tmp_path, "commit", "-m", "first")
    assert refusal(**asked) == ""
    script += "# more\n"
    assert "study.yaml:1:" in refusal(**asked)
    assert "trainer_must_be_committed: the command trainer has uncommitted changes (train.py)" in refusal(**asked)
    assert refusal() == ""


def test_shipped_trainer_cannot_be_asked_to_be_committed(tmp_path: Path) -> None:
    file = write_study(tmp_path, argv=["x"], axes={"num_tokens": [16, 64]}, base={}, extra={"trainer": "synthetic"})
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 1, "trainer_must_be_committed": true'), encoding="utf-8")
    with pytest.raises(InputError, match="goes with a trainer of your own"):
        load_study(file)
