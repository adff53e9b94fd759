"""The pages as a program beside this one: where they listen, whom they let in, and those of a run, which end with it."""

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import quote

from ablate.errors import EnvironmentMissing, InputError
from ablate.workspace import Workspace

TOKEN_VARIABLE = "ABLATE_DASHBOARD_TOKEN"  # noqa: S105
"""Where the pages find their token: unlike arguments, no list of processes shows another user's environment."""
AUTO = "auto"
TOKEN_LENGTH = 16
PORT = 8050


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(host: str, *, port: int, token: str | None) -> None:
    """Raises InputError for a token that is too short, and for a host beyond this machine without one."""
    if token is not None and token != AUTO and len(token) < TOKEN_LENGTH:
        raise InputError(
            f"the dashboard's token has {len(token)} characters, and at least {TOKEN_LENGTH} are needed; "
            f"--token {AUTO} makes one and prints it"
        )
    if token is None and not is_loopback(host):
        raise InputError(
            f"--host {host} lets other machines in, which need a token: set {TOKEN_VARIABLE} to one of at least {TOKEN_LENGTH} characters, "
            f"or add --token {AUTO}, which prints a fresh one; without a token the pages stay on loopback (127.0.0.1, localhost, ::1), "
            f"and another machine reaches them by ssh -L {port}:127.0.0.1:{port} <this machine>"
        )


def pages_command(workspace: Workspace, *more: str) -> list[str]:
    """The dashboard is a program of its own that shares nothing with a run but the store, and reads the logs in the workspace."""
    return [sys.executable, "-m", "dashboards.app", "--store", workspace.store_url, "--workspace", str(workspace.folder), *more]


def pages_environment(token: str | None) -> dict[str, str]:
    """This program's environment, with the token where one is given."""
    return os.environ | ({TOKEN_VARIABLE: token} if token else {})


@contextmanager
def pages_of_run(workspace: Workspace, *, studies: Sequence[str]) -> Iterator[None]:
    """Serves the pages on loopback for the time of the body, or less should this process die, and prints where; needs no browser."""
    check_access("127.0.0.1", port=PORT, token=os.environ.get(TOKEN_VARIABLE) or None)
    place = _listening()
    port = place.getsockname()[1]
    path = f"/study/{quote(studies[0], safe='')}" if len(studies) == 1 else "/"
    # the socket listens already, so the address is right from here on, and a browser that is faster than the pages waits for them
    command = pages_command(workspace, "--socket", str(place.fileno()))
    with place:
        pages = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[place.fileno()])  # noqa: S603
    print(f"live pages: http://127.0.0.1:{port}{path} (they end with this run; `ablate dashboard` shows them later)", flush=True)
    try:
        yield
    finally:
        pages.terminate()
        pages.communicate()


def _listening() -> socket.socket:
    """On the usual port of this machine, or on any other where something listens there already."""
    for port in (PORT, 0):
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            place.bind(("127.0.0.1", port))
            place.listen(128)
            return place
        place.close()
    raise EnvironmentMissing("no free port on 127.0.0.1 for the pages; run without --dashboard")
