"""What a person is told of a Ray that cannot be joined or started."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ablate.errors import EnvironmentMissing, InputError
from ablate.schedule import joining
from ablate.schedule.joining import head_of, refuse_full_temp, refuse_unanswered, why_not

STUDY = """\
schema: 1
name: small
trainer: synthetic
axes: {num_tokens: [16, 64]}
metric: {name: loss, goal: min}
"""


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port of this machine that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def ablate_run(here: Path, *, address: str) -> "subprocess.CompletedProcess[str]":
    (here / "study.yaml").write_text(STUDY, encoding="utf-8")
    command = [sys.executable, "-m", "ablate", "run", "study.yaml", "--address", address]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=60)


def test_missing_client_package_is_named_with_what_to_install() -> None:
    said = why_not("ray://head:10001", ImportError("Ray Client requires pip package `ray[client]`."))
    assert "'ray://head:10001' needs Ray's client, which is not installed: pip install 'ablate[client]'" in said


def test_refused_token_is_found_behind_the_error_that_is_raised() -> None:
    error = ConnectionError("Failed to connect to Ray cluster at head:6379")
    error.__cause__ = RuntimeError("RPC error: InvalidAuthToken: Authentication token is missing or incorrect")
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what the cluster was started with" in why_not("head:6379", error)


def test_cluster_that_does_not_answer_is_named_with_what_it_said_last() -> None:
    said = why_not("head:6379", ConnectionError("first\n" + "x" * 1000 + " last"))
    assert said.startswith("Ray at 'head:6379' does not answer: ...xxx")
    assert "x last; see whether it is there" in said
    assert "leave --address out" in said


def test_ray_that_does_not_start_here_says_where_its_logs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    refuse_full_temp()
    said = why_not("local", RuntimeError("no port"))
    assert said == f"Ray does not start on this machine: no port; its logs are in {tmp_path}/ray"


@pytest.mark.parametrize(
    ("address", "head"), [("head:6379", ("head", 6379)), ("ray://head:10001", ("head", 10001)), ("[::1]:6379", ("::1", 6379))]
)
def test_address_names_host_and_port(address: str, head: tuple[str, int]) -> None:
    assert head_of(address) == head


@pytest.mark.parametrize(
    "address",
    [
        "",
        "head",
        "head:",
        "head:0",
        "head:99999",
        "head:port",
        ":6379",
        "ray://head",
        "http://head:8265",
        "me@head:6379",
        "head:6379/",
        "::1:6379",
        "[::1",
    ],
)
def test_malformed_address_is_refused_with_what_is_allowed(address: str) -> None:
    with pytest.raises(
        InputError, match=re.escape(f"--address '{address}' names no host and port from 1 to 65535; give the head's HOST:PORT")
    ):
        head_of(address)


def test_whatever_ray_there_is_is_not_joined_and_nothing_is_written(tmp_path: Path) -> None:
    ran = ablate_run(tmp_path, address="auto")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "--address 'auto' joins whatever Ray it finds; give the head's HOST:PORT" in " ".join(ran.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_address_where_nobody_listens_is_refused(deaf: int, scheme: str) -> None:
    with pytest.raises(EnvironmentMissing, match=f"Ray at '{scheme}127.0.0.1:{deaf}' does not answer: .*refused; see whether it is there"):
        refuse_unanswered(f"{scheme}127.0.0.1:{deaf}")


def test_head_that_accepts_no_connection_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "ANSWER_SECONDS", 0.2)
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # its queue: what comes after is never answered
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        with pytest.raises(EnvironmentMissing, match="does not answer: timed out; "):
            refuse_unanswered(f"127.0.0.1:{full.getsockname()[1]}")


def test_name_that_no_resolver_takes_is_refused() -> None:
    with pytest.raises(EnvironmentMissing, match=r"Ray at 'a\.\.b:6379' does not answer: "):
        refuse_unanswered("a..b:6379")


@pytest.mark.slow
def test_run_at_an_address_where_nobody_listens_comes_back(deaf: int, tmp_path: Path) -> None:
    ran = ablate_run(tmp_path, address=f"127.0.0.1:{deaf}")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert f"Ray at '127.0.0.1:{deaf}' does not answer: " in " ".join(ran.stderr.split())
