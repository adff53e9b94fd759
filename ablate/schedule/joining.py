"""Why Ray does not start or cannot be joined, in words that say what to do: its own name neither a full disk nor what is missing here."""

import contextlib
import os
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from ablate.errors import EnvironmentMissing, InputError
from ablate.schedule.course import fullness

TEMP_BYTES = 50 * 2**20
"""What Ray is to find in its temporary folder: 0.2 MiB will start it, its logs grow, and without room it dies without a reason."""
ANSWER_SECONDS = 5.0
"""How long a head may take to accept a connection: minutes of Ray's own patience cannot be interrupted."""
REFUSED = ("InvalidAuthToken", "AuthenticationError", "Unauthenticated", "UNAUTHENTICATED")


def refuse_full_temp() -> None:
    if why := _why_full():
        raise EnvironmentMissing(why)


def refuse_unanswered(address: str) -> None:
    """`ray.init` waits in C for a head that is not there, where no signal reaches Python: whether somebody listens is asked first."""
    try:
        socket.create_connection(head_of(address), timeout=ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
        raise EnvironmentMissing(why_not(address, error)) from error


def head_of(address: str) -> tuple[str, int]:
    """Host and port of a cluster's head, out of HOST:PORT or ray://HOST:PORT."""
    place = address.removeprefix("ray://")
    with contextlib.suppress(ValueError):  # a port that is no number or too large
        parts = urlsplit(f"//{place}")
        if parts.netloc == place and "@" not in place and parts.hostname and parts.port:
            return parts.hostname, parts.port
    why = "joins whatever Ray it finds" if address == "auto" else "names no host and port from 1 to 65535"
    raise InputError(
        f"--address '{address}' {why}; give the head's HOST:PORT, such as HEAD:6379, or ray://HOST:PORT, such as ray://HEAD:10001, "
        "or leave --address out to run on this machine"
    )


def why_not(address: str, error: BaseException) -> str:
    """What to tell a person of an error out of `ray.init`."""
    said = " ".join(str(link) + type(link).__name__ for link in _chain(error))
    if "ray[client]" in said:
        return (
            f"'{address}' needs Ray's client, which is not installed: pip install 'ablate[client]', or give --address the head's HOST:PORT"
        )
    if any(word in said for word in REFUSED):
        return (
            f"Ray at '{address}' refuses this client, whose token is missing or another one; "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what the cluster was started with"
        )
    if address == "local":
        return _why_full() or f"Ray does not start on this machine: {_short(error)}; its logs are in {ray_temp()}"
    return (
        f"Ray at '{address}' does not answer: {_short(error)}; see whether it is there and whether it wants a token "
        "(RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as it was started with), or leave --address out to run on this machine"
    )


def ray_temp() -> Path:
    """Where Ray keeps its sessions on this machine: sockets, logs, objects that do not fit in memory."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"


def _why_full() -> str:
    folder = ray_temp().parent
    if not folder.is_dir():
        return ""
    share, free = fullness(folder)
    if free > TEMP_BYTES:
        return ""
    return (
        f"no space left for Ray's temporary files in {ray_temp()}: its disk is {100 * share:.0f} % full, {free / 2**20:.0f} MiB are left "
        f"and {TEMP_BYTES / 2**20:.0f} needed; make room there, or name another folder with RAY_TMPDIR"
    )


def _chain(error: BaseException) -> list[BaseException]:
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None and cause not in links:
        links.append(cause)
    return links


def _short(error: BaseException, *, limit: int = 300) -> str:
    """One line; the end of a long error, since a traceback says what happened last."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"...{text[-limit:]}"
