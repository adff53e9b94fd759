"""What a Ray worker does around an attempt: output into its log, a guardian beside the process, a fresh process after a failure."""

import contextlib
import gc
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray

from ablate.attempt import AttemptContext, Origin, Outcome, execute, log_to_output
from ablate.planned import Job
from ablate.schedule import grace_seconds, guardian
from ablate.workspace import Workspace

LEAK_BYTES = 256 * 2**20
HOSTS_VARIABLE = "ABLATE_HOSTS"
"""Addresses of the machines of a job of several, the one that runs the attempt first."""

_control: socket.socket | None = None
"""To this process's guardian, which is started by the first attempt."""


def get_ready() -> None:
    """A task that does nothing: the process that was started for it has imported this module."""


def execute_watched(
    job: Job,
    *,
    workspace: Workspace,
    number: int,
    origin: Origin | None = None,
    context_type: type[AttemptContext] = AttemptContext,
) -> Outcome:
    """`execute` with everything the process prints, C libraries included, in log.txt, and its limits enforced from outside."""
    folder = workspace.attempt(job.id, number)
    folder.mkdir(parents=True, exist_ok=True)
    origin = replace(origin or Origin(), node=ray.get_runtime_context().get_node_id())
    with _watched(job, folder=folder, number=number, origin=origin), _hosts_named(job):
        return execute(job, workspace=workspace, number=number, origin=origin, context_type=context_type, log=log_to_output)


def execute_and_recycle(job: Job, *, workspace: Workspace, number: int, origin: Origin) -> Outcome:
    """A task: a process in which a trainer has failed, or lost something, ends itself, and the driver reads the outcome from the attempt's
    folder.

    What such a trainer leaves (threads, a broken device context, programs of its own) must not reach the next trial.
    """
    outcome = execute_watched(job, workspace=workspace, number=number, origin=origin)
    if outcome.state in ("failed", "lost") or (outcome.state == "done" and _device_bytes() > LEAK_BYTES):
        os._exit(1)
    return outcome


@contextlib.contextmanager
def _hosts_named(job: Job) -> Iterator[None]:
    """In the environment: the machines reserved for the job, for a trainer that starts processes on them."""
    if job.resources.nodes == 1:
        yield
        return
    placed = ray.util.placement_group_table(ray.util.get_current_placement_group())["bundles_to_node_id"]
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    os.environ[HOSTS_VARIABLE] = ",".join(addresses[node] for _, node in sorted(placed.items()))
    try:
        yield
    finally:
        del os.environ[HOSTS_VARIABLE]


def _device_bytes() -> int:
    """Memory of the GPU that the trainer's tensors still hold, though it has returned."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    gc.collect()
    held: int = torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    return held


@contextlib.contextmanager
def _watched(job: Job, *, folder: Path, number: int, origin: Origin) -> Iterator[None]:
    outgoing, incoming = os.pipe()
    try:
        _tell_guardian(json.dumps({"begin": _beginning(job, folder=folder, number=number, origin=origin)}), pipe=outgoing)
    finally:
        os.close(outgoing)
    try:
        with _output_to(incoming):
            yield
    finally:
        _tell_guardian('{"end": true}')


def _tell_guardian(message: str, *, pipe: int | None = None) -> None:
    """Begins or ends a watch; the end is waited for, since the log is complete then. A guardian that died is replaced at the next begin."""
    global _control
    if pipe is not None:
        _control = _control or _start_guardian()
        try:
            socket.send_fds(_control, [message.encode()], [pipe])
        except OSError:
            _control = _start_guardian()
            socket.send_fds(_control, [message.encode()], [pipe])
        return
    assert _control
    try:
        _control.send(message.encode())
        _control.recv(1)
    except OSError:
        _control = None


def _start_guardian() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    marker = secrets.token_hex(8)
    environment = {name: value for name, value in os.environ.items() if name != guardian.MARKER}
    with theirs:
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", guardian.__file__, str(theirs.fileno()), str(os.getpid()), marker],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    os.environ[guardian.MARKER] = marker
    return ours


def _beginning(job: Job, *, folder: Path, number: int, origin: Origin) -> dict[str, Any]:
    asked = job.resources
    seconds, stall = (None if minutes is None else 60 * minutes for minutes in (asked.minutes, asked.stall_minutes))
    outcome = Outcome(job.id, number, "lost", started=time.time(), host=socket.gethostname(), pid=os.getpid(), node=origin.node)
    return {
        "folder": str(folder),
        "seconds": seconds,
        "stall_seconds": stall,
        "grace_seconds": grace_seconds(job),
        "memory_bytes": None if asked.memory_gib is None else asked.memory_gib * 2**30,
        "outcome": asdict(outcome),
    }


@contextlib.contextmanager
def _output_to(pipe: int) -> Iterator[None]:
    """The pipe in place of standard output and error; it is closed in the end."""
    saved = os.dup(1), os.dup(2)
    try:
        _flush()
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        os.close(pipe)
        yield
    finally:
        _flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    with contextlib.suppress(ValueError):  # a trainer may have closed them
        sys.stdout.flush()
        sys.stderr.flush()
