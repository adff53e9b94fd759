"""Lines between the worker of a stage and its processes, on whatever machine: TCP, for those who know the stage's key.

The key is handed down by the environment. What comes over a line is unpickled, so both ends prove first that they know it
(`multiprocessing.connection`), and a caller who does not, or says nothing, is hung up on.
"""

import os
import socket
import struct
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

LOOPBACK = "127.0.0.1"
ADDRESS_VARIABLE = "ABLATE_STAGE_ADDRESS"
KEY_VARIABLE = "ABLATE_STAGE_KEY"
HANDSHAKE_SECONDS = 5.0
SILENT_SECONDS, PROBE_SECONDS, NUM_PROBES = 10, 5, 4
"""When a machine that went without a word counts as gone: after half a minute."""


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
        _limit_silence(caller, HANDSHAKE_SECONDS)
        line = Connection(os.dup(caller.fileno()))
        try:
            deliver_challenge(line, key)
            answer_challenge(line, key)
        except (AuthenticationError, EOFError, OSError):
            line.close()
            return None
        _limit_silence(caller, 0)
    return line


def call() -> Connection:
    """A line to the worker whose address and key the environment has."""
    host, _, port = os.environ[ADDRESS_VARIABLE].rpartition(":")
    key = bytes.fromhex(os.environ[KEY_VARIABLE])
    with socket.create_connection((host, int(port))) as server:
        _notice_loss(server)
        line = Connection(os.dup(server.fileno()))
    answer_challenge(line, key)
    deliver_challenge(line, key)
    return line


def _notice_loss(end: socket.socket) -> None:
    """Where the other end's machine is gone, reading fails, though nobody has hung up."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in (("TCP_KEEPIDLE", SILENT_SECONDS), ("TCP_KEEPINTVL", PROBE_SECONDS), ("TCP_KEEPCNT", NUM_PROBES)):
        if hasattr(socket, option):  # not everywhere is there all of them
            end.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _limit_silence(end: socket.socket, seconds: float) -> None:
    """0: none. By the system, since a socket with a limit of Python's does not wait in `Connection`."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
