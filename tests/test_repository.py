"""A repository's commit and uncommitted changes, without what nobody may see; no repository is no error."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate import repository
from ablate.repository import MAX_DIFF_BYTES, redacted, repository_of

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git in a new repository with one commit of `train.py`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {f"GIT_{who}_{what}": "x@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    run("init", "--quiet")
    (tmp_path / "train.py").write_text("lr = 1\n")
    run("add", ".")
    run("commit", "--quiet", "--message=one")
    return run


def test_repository_as_committed_has_a_commit_and_no_diff(git: Git, tmp_path: Path) -> None:
    found = repository_of(tmp_path, files=[tmp_path / "train.py"])
    assert found
    assert (found.commit, found.diff, found.untracked) == (git("rev-parse", "HEAD").strip(), "", ())


def test_diff_is_of_the_whole_repository_staged_or_not_and_applies(git: Git, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "staged é.py").write_text("new\n")
    git("add", ".")
    (tmp_path / "train.py").write_text("lr = 2\n")
    found = repository_of(inner)
    assert found
    assert found.diff
    assert "+lr = 2" in found.diff
    assert "+++ b/inner/staged é.py" in found.diff
    (tmp_path / "git.diff").write_text(found.diff)
    git("reset", "--quiet", "--hard")
    git("apply", "git.diff")
    assert ((tmp_path / "train.py").read_text(), (inner / "staged é.py").read_text()) == ("lr = 2\n", "new\n")


def test_files_that_git_does_not_know_are_named(git: Git, tmp_path: Path) -> None:
    for name in ("[new].py", "n.py", "unasked.py", "ignored.py"):
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    files = [tmp_path / "train.py", tmp_path / "[new].py", tmp_path / "ignored.py", Path("/elsewhere/x.py")]
    found = repository_of(tmp_path, files=files)
    assert found
    assert found.untracked == ("[new].py", "ignored.py")


def test_large_diff_is_cut_at_a_line_and_says_so(git: Git, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("".join(f"line {number}\n" for number in range(200_000)))
    found = repository_of(tmp_path)
    assert found
    assert found.diff
    *kept, notice, end = found.diff.split("\n")
    assert MAX_DIFF_BYTES * 0.99 < len(found.diff) < MAX_DIFF_BYTES + 100
    assert kept[-1].startswith("+line ")
    assert (notice.startswith("... cut by ablate: 2,"), end) == (True, "")


def test_no_repository_no_commit_and_no_git_are_no_answer(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git("init", "--quiet", "fresh")
    assert repository_of(fresh) is None
    assert repository_of(Path("/")) is None
    assert repository_of(tmp_path / "gone") is None
    monkeypatch.setenv("PATH", str(fresh))
    assert repository_of(tmp_path) is None


def test_git_that_does_not_answer_in_time_is_not_waited_for(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text('#!/bin/sh\ncase "$*" in *rev-parse*) echo abc;; *) exec /bin/sleep 60;; esac\n')
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(repository, "GIT_SECONDS", 0.2)
    found = repository_of(tmp_path)
    assert found
    assert (found.commit, found.diff) == ("abc", None)


def test_repository_that_a_hook_names_is_not_asked(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    found = repository_of(tmp_path)
    assert found
    assert found.commit == git("rev-parse", "HEAD").strip()


def test_diff_runs_no_program_of_the_repository(git: Git, tmp_path: Path) -> None:
    git("config", "diff.external", f"touch {tmp_path}/pwned;")
    git("config", "diff.text.textconv", f"touch {tmp_path}/pwned;")
    (tmp_path / ".gitattributes").write_text("*.py diff=text\n")
    (tmp_path / "train.py").write_text("lr = 2\n")
    found = repository_of(tmp_path)
    assert found
    assert found.diff
    assert "+lr = 2" in found.diff
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "line",
    [
        "HF_TOKEN=canary",
        "+api_token: 'x canary'",
        "  auth-token = canary  # mine",
        '{"access_token": "canary", "other": 1}',
        "password: correct horse canary",
        "PASSWORD = 12345canary",
        "tokenizer_secret: canary",
        "--password=canary",
        "client_secret := canary",
        "AWS_SECRET_ACCESS_KEY=canary",
        "api-key: canary",
        "my_tokens: 'canary'",
        "token_of_mine = f(x, 'canary')",
        "url = postgresql://me:canary@host/x",
    ],
)
def test_value_of_what_is_named_like_a_secret_is_taken_out(line: str) -> None:
    assert "canary" in line
    found = redacted(f"+one\n{line}\n+two")
    assert "canary" not in found
    assert "[redacted]" in found
    assert (found.startswith("+one\n"), found.endswith("\n+two")) == (True, True)


@pytest.mark.parametrize(
    "line",
    [
        "num_tokens: [4, 16]",
        "max_token = 12",
        "def f(tokens: Tensor, token_ids: list[int]) -> None:",
        "+    tokens = embed(text)",
        "if token == end:",
        "token:",
        "tokenizer: llama",
        "see https://host/path",
        "+++ b/secrets.py",
    ],
)
def test_code_about_tokens_stays_as_it_is(line: str) -> None:
    assert redacted(line) == line
