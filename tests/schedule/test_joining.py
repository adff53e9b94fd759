"""What a person is told of a Ray that cannot be joined or started."""

from pathlib import Path

import pytest

from ablate.schedule.joining import refuse_full_temp, why_not


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
