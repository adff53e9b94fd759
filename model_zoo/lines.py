"""Lines between the worker of a stage and its processes, on whatever machine: TCP, for those who know the stage's key.

The key is handed down by the environment. What comes over a line is unpickled, so both ends prove first that they know it
(`multiprocessing.connection`), and a caller who does not, or says nothing, is hung up on.
"""

import os
import socket
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

LOOPBACK = "127.0.0.1"
ADDRESS_VARIABLE = "ABLATE_STAGE_ADDRESS"
KEY_VARIABLE = "ABLATE_STAGE_KEY"
HANDSHAKE_SECONDS = 5.0
CALL_SECONDS, AGAIN_SECONDS = 60.0, 0.5
"""For how long, and how often, somebody calls who was hung up on: on a machine that is busy a handshake may take too long."""
SILENT_SECONDS, PROBE_SECONDS, NUM_PROBES = 10, 5, 4
"""When a machine that went without a word counts as gone: after half a minute."""
USER_TIMEOUT = ("TCP_USER_TIMEOUT", 1000 * (SILENT_SECONDS + NUM_PROBES * PROBE_SECONDS))
"""The same while something is on its way to it, milliseconds."""


def open_to_calls(host: str) -> socket.socket:
    """A socket on a free port of that address, and of no other."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=1024)


def address_of(server: socket.socket) -> str:
    host, port = server.getsockname()[:2]
    return f"{host}:{port}"


def answer(server: socket.socket, key: bytes) -> Connection | None:
    """A line to the next caller; None where it does not know the key."""
    with server.accept()[0] as caller:
        _notice_loss(caller)
        line = Connection(os.dup(caller.fileno()))
        # of all of it: a limit of each read would let a caller go on for minutes, a byte at a time
        limit = threading.Timer(HANDSHAKE_SECONDS, caller.shutdown, [socket.SHUT_RDWR])
        limit.start()
        try:
            deliver_challenge(line, key)
            answer_challenge(line, key)
        except (AuthenticationError, EOFError, OSError):
            line.close()
            return None
        finally:
            limit.cancel()
            limit.join()
    return line


def call() -> Connection:
    """A line to the worker whose address and key the environment has. Raises OSError or EOFError where it goes on hanging up."""
    until = time.monotonic() + CALL_SECONDS
    while True:
        try:
            return _called()
        except (EOFError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN_SECONDS)


def _called() -> Connection:
    host, _, port = os.environ[ADDRESS_VARIABLE].rpartition(":")
    key = bytes.fromhex(os.environ[KEY_VARIABLE])
    with socket.create_connection((host, int(port))) as server:
        _notice_loss(server)
        line = Connection(os.dup(server.fileno()))
    answer_challenge(line, key)
    deliver_challenge(line, key)
    return line


def _notice_loss(end: socket.socket) -> None:
    """Where the other end's machine is gone, reading and writing fail, though nobody has hung up."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    probes = ("TCP_KEEPIDLE", SILENT_SECONDS), ("TCP_KEEPINTVL", PROBE_SECONDS), ("TCP_KEEPCNT", NUM_PROBES)
    for option, value in (*probes, USER_TIMEOUT):
        if hasattr(socket, option):  # not everywhere is there all of them
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
