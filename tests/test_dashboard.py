"""How the pages are started: by the verb, and beside a run, where they end with it."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ablate.dashboard import TOKEN_VARIABLE, pages_environment, pages_of_run
from ablate.errors import InputError
from ablate.stores import open_store
from ablate.workspace import Workspace
from tests.conftest import make_small_plan

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "BROWSER", TOKEN_VARIABLE)}


def make_store(workspace: Workspace) -> None:
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    store.record_plan(make_small_plan(), axes={}, simulated=True)
    store.close()


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
        return port


def test_environment_of_the_pages_holds_the_token_and_their_arguments_do_not(workspace: Workspace) -> None:
    assert pages_environment("a token that is long")[TOKEN_VARIABLE] == "a token that is long"
    assert pages_environment(None) == dict(os.environ)


def test_run_is_refused_a_token_that_is_too_short(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(InputError, match="at least 16"), pages_of_run(workspace, studies=["small"]):
        pass


@pytest.mark.slow
def test_pages_of_a_run_show_its_study_and_end_with_it(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    make_store(workspace)
    with pages_of_run(workspace, studies=["a small"]):
        line = capfd.readouterr().out
        assert "/study/a%20small (they end with this run" in line
        address = line.split()[2]
        with pytest.raises(urllib.error.HTTPError) as early:
            urllib.request.urlopen(address)  # noqa: S310
        assert early.value.code == 404  # the page is there and waits for the study, which comes with its plan
        assert "dash-renderer" in early.value.read().decode()
        early.value.close()
    with pytest.raises(urllib.error.URLError) as ended:
        urllib.request.urlopen(address)  # noqa: S310
    assert not isinstance(ended.value, urllib.error.HTTPError)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_pages_of_a_run_end_when_it_dies(workspace: Workspace) -> None:
    make_store(workspace)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from ablate.dashboard import pages_of_run; from ablate.workspace import Workspace\n"
        "with pages_of_run(Workspace(Path(sys.argv[1])), studies=['small', 'other']):\n"
        "    sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(workspace.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        address = run.stdout.readline().split()[2]
        assert address.endswith("/")  # several studies: the list of them
        with urllib.request.urlopen(address) as answer:  # noqa: S310
            assert answer.status == 200
        run.stdin.write("\n")
        run.stdin.flush()
        assert run.stdout.read() == ""  # the pages held the other end
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)  # noqa: S310


@pytest.mark.slow
def test_verb_asks_for_a_made_token_and_shows_it_to_nobody_but_on_its_line(workspace: Workspace, tmp_path: Path) -> None:
    make_store(workspace)
    command = [sys.executable, "-m", "ablate", "dashboard", "--token", "auto", "--allow-control", "--workspace", str(workspace.folder)]
    with subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, cwd=tmp_path
    ) as pages:
        assert pages.stdout is not None
        line = pages.stdout.readline()
        address, _, token = line.split()[2].partition("?token=")
        assert len(token) >= 43
        arguments = Path(f"/proc/{pages.pid}/cmdline")
        if arguments.exists():
            assert token not in arguments.read_text()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address)  # noqa: S310
        assert refused.value.code == 401
        refused.value.close()
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with visitor.open(f"{address}?token={token}") as answer:
            assert answer.status == 200
            assert answer.url == address
        with visitor.open(f"{address}_dash-dependencies") as answer:
            assert b"control-said" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as wrong:
            urllib.request.urlopen(f"{address}?token=wrong-{token}")  # noqa: S310
        wrong.value.close()
        pages.terminate()
        rest = pages.stdout.read()
    assert token not in rest
    assert "a wrong token from 127.0.0." in rest
