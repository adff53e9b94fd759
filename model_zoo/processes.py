"""One stage in several processes, on this machine and on others: what the worker does, which trains nothing itself.

    worker ── starts ──▶ launcher, one a machine ── torchrun ──▶ process, one a device (`model_zoo.rank`)

Launchers and processes call the worker, and it does over their lines what they ask of its context. They die with it, and it learns from the
launchers how processes ended.
"""

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

from model_zoo.config import Train
from model_zoo.context import Context
from model_zoo.launcher import Launch, ProcessLost, launched
from model_zoo.lines import ADDRESS_VARIABLE, KEY_VARIABLE, LOOPBACK, address_of, answer, open_to_calls
from model_zoo.objections import too_few_rows

MEETING_SECONDS = 300
"""How long machines and processes have to call in: a Ray worker to start, torch to import from a shared file system."""
LOOK_SECONDS = 1.0
"""How often those who have not called are looked for."""
BLAME_SECONDS = 1.0
"""Others notice a process that was killed by their broken connections, perhaps before its launcher has noticed."""
LAST_WORD_SECONDS = 10.0
"""How long a launcher has to say how a process ended that is gone; and how long processes have to be gone where they are killed."""
OUTPUT_BYTES = 65_536


class Task(NamedTuple):
    """What a process is told first; its place among the others is in its environment, as torchrun has it."""

    stage: Any
    """A `model_zoo.trainable.StageSpec`."""
    inputs: dict[str, Path]
    seed: int
    dir: Path
    device: str
    """Its own, `cpu` or `cuda:N`."""
    cpus: int
    """Its own share of them."""
    host: str
    """Address of its machine."""


class _Caller(NamedTuple):
    """Who is at the other end of a line."""

    kind: Literal["launcher", "process", "output"]
    number: int
    """Of the process, or of the machine; from 0."""


class _Crew(NamedTuple):
    """Who takes part in a stage."""

    hosts: tuple[str, ...]
    """Addresses of the machines, this one's first."""
    tasks: tuple[Task, ...]
    """Of each process, machine by machine."""

    @property
    def num_devices(self) -> int:
        """Of each machine."""
        return len(self.tasks) // len(self.hosts)

    @property
    def everyone(self) -> list[_Caller]:
        return [_Caller("launcher", number) for number in range(len(self.hosts))] + [
            _Caller("process", number) for number in range(len(self.tasks))
        ]

    def name(self, caller: _Caller) -> str:
        if caller.kind == "process":
            task = self.tasks[caller.number]
            where = f"{task.device} of {task.host}" if len(self.hosts) > 1 else task.device
            return f"process {caller.number + 1} of {len(self.tasks)} ({where})"
        return f"the launcher of machine {caller.number + 1} of {len(self.hosts)} ({self.hosts[caller.number]})"


def train_in_processes(stage: Any, inputs: Mapping[str, Path], context: Context, *, hosts: Sequence[str] = ()) -> None:
    """Runs a stage on the context's devices, a process each. `hosts`: addresses of the machines that have so many each, this one's first;
    where there are none, it is this one alone.

    Raises what one of them raised, ProcessLost where one was killed, MemoryError where the kernel did that for want of memory, and
    RuntimeError where one ended badly by itself. No process is left when this returns or raises. Where this process dies first, theirs are
    killed by the system (Linux).
    """
    crew = _crew(stage, inputs, context, hosts=tuple(hosts) or (LOOPBACK,))
    if message := too_few_rows(Train.model_validate(stage.config["train"]), num_devices=len(crew.tasks)):
        raise ValueError(message)
    key = secrets.token_bytes(32)
    with open_to_calls(crew.hosts[0]) as server, contextlib.ExitStack() as started:
        environment = {
            ADDRESS_VARIABLE: address_of(server),
            KEY_VARIABLE: key.hex(),
            "OMP_NUM_THREADS": str(crew.tasks[0].cpus),
        }
        exchange = Exchange(server, key, crew=crew, context=context)
        started.callback(exchange.close)
        own = started.enter_context(launched(0, environment))
        have_ended: list[Callable[[], bool]] = [lambda: own.poll() is not None]
        if len(crew.hosts) > 1:
            from model_zoo.machines import launched_on  # lazily: one machine needs no Ray

            have_ended += [started.enter_context(launched_on(number, environment)) for number in range(1, len(crew.hosts))]
        exchange.run(have_ended)


def _crew(stage: Any, inputs: Mapping[str, Path], context: Context, *, hosts: tuple[str, ...]) -> _Crew:
    tasks = [
        Task(
            stage=stage,
            inputs={name: path.absolute() for name, path in inputs.items()},
            seed=context.seed,
            dir=context.dir.absolute(),
            device=f"cuda:{number}" if context.device.startswith("cuda") else context.device,
            cpus=max(1, context.cpus // context.num_devices),
            host=host,
        )
        for host in hosts
        for number in range(context.num_devices)
    ]
    return _Crew(hosts, tuple(tasks))


class Exchange:
    """The worker's ends of all lines."""

    def __init__(self, server: socket.socket, key: bytes, *, crew: _Crew, context: Context) -> None:
        self._server, self._key, self._crew, self._context = server, key, crew, context
        self._lines: dict[Connection, _Caller] = {}
        self._missing = set(crew.everyone)
        """Those who have not called yet."""
        self._meeting: int | None = None
        """The port at which launchers and processes meet."""
        self._ended: set[int] = set()
        """Machines all of whose processes have ended well."""

    def run(self, have_ended: Sequence[Callable[[], bool]]) -> None:
        """Does for all of them what they ask, until they have ended well. `have_ended`: whether the launcher of each machine has."""
        until = time.monotonic() + MEETING_SECONDS
        phases = list[AbstractContextManager[None]]()
        try:
            # a process hangs up after its last word, which may still be on its way when its launcher has said that it ended
            while len(self._ended) < len(self._crew.hosts) or self._lines_of("process"):
                for source in wait([self._server, *self._lines], timeout=LOOK_SECONDS):
                    if source is self._server:
                        self._answer()
                    elif isinstance(source, Connection) and (said := self._heard(source)):
                        self._do(source, *said, phases=phases)
                self._look_for_the_missing(have_ended, until=until)
        finally:
            for phase in reversed(phases):
                phase.__exit__(None, None, None)

    def close(self) -> None:
        """Hangs up on launchers, which end then, and waits until all processes are gone."""
        for line in self._lines_of("launcher"):
            self._forget(line)
        until = time.monotonic() + LAST_WORD_SECONDS
        while (lines := list(self._lines)) and (left := until - time.monotonic()) > 0:
            for ended in wait(lines, timeout=left):
                assert isinstance(ended, Connection)
                self._heard(ended)
        for line in list(self._lines):
            self._forget(line)

    def _answer(self) -> None:
        line = answer(self._server, self._key)
        if line is None:
            return
        with contextlib.suppress(EOFError, OSError):  # that it died meanwhile is what its launcher says next
            caller = _Caller(*line.recv())
            self._missing.discard(caller)
            self._lines[line] = caller
            if caller.kind == "process":
                line.send(self._crew.tasks[caller.number])
            elif caller.kind == "launcher":
                line.send(Launch(len(self._crew.hosts), self._crew.num_devices, self._crew.hosts, MEETING_SECONDS))
                if self._meeting is not None:
                    line.send(self._meeting)
            return
        self._forget(line)

    def _heard(self, line: Connection) -> tuple[Any, ...] | None:
        """What is said on a line: the word and what goes with it. None where it has ended, and for mere output."""
        caller = self._lines[line]
        if caller.kind == "output":
            self._print(line)
            return None
        try:
            said: tuple[Any, ...] = line.recv()
            return (*said, line.recv_bytes()) if said[0] == "checkpoint" else said
        except (EOFError, OSError):
            self._forget(line)
        if caller.kind == "launcher" and caller.number not in self._ended:
            name = self._crew.name(caller)
            raise ProcessLost(f"{name} is gone, and its processes with it; a next attempt goes on from the last checkpoint")
        return None

    def _do(self, line: Connection, word: str, *said: Any, phases: list[AbstractContextManager[None]]) -> None:
        match word:
            case "report":
                self._context.report(said[0], **said[1])
            case "checkpoint":
                self._context.checkpoint(said[0])
            case "restore":
                _reply(line, self._context.restore() or b"")
            case "should_stop":
                _reply(line, b"yes" if self._context.should_stop() else b"")
            case "begin":
                phases.append(self._context.phase(said[0]))
                phases[-1].__enter__()
            case "end":
                phases.pop().__exit__(None, None, None)
            case "meeting":
                self._meeting = said[0]
                for launcher in self._lines_of("launcher"):
                    with contextlib.suppress(OSError):
                        launcher.send(self._meeting)
            case "ended":
                self._note_end(line, *said)
            case "failed":
                self._blame_the_dead()
                error, traceback = said
                error.add_note(f"in {self._crew.name(self._lines[line])}:\n{traceback}")
                raise error

    def _note_end(self, line: Connection, failures: Mapping[int, int], is_short_of_memory: bool) -> None:
        """Raises where processes of a machine ended badly: for the first of them that torchrun did not end for another's sake."""
        self._ended.add(self._lines[line].number)
        if not failures:
            return
        number = next((number for number, code in failures.items() if code != -signal.SIGTERM), next(iter(failures)))
        name, code = self._crew.name(_Caller("process", number)), failures[number]
        if code == -signal.SIGKILL and is_short_of_memory:
            raise MemoryError(f"the kernel ended {name} for want of memory")
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        kind = RuntimeError if code > 0 else ProcessLost
        raise kind(f"{name} ended by {how}; all of them were ended, and a next attempt goes on from the last checkpoint")

    def _blame_the_dead(self) -> None:
        """Raises for a process that died, where another one failed: it failed for want of the first."""
        until = time.monotonic() + BLAME_SECONDS
        while (left := until - time.monotonic()) > 0:
            for line in wait([*self._lines_of("process"), *self._lines_of("launcher")], timeout=left):
                assert isinstance(line, Connection)
                is_process = self._lines[line].kind == "process"
                said = self._heard(line)
                if said and said[0] == "ended":
                    self._note_end(line, *said[1:])
                if said is None and is_process:
                    until = time.monotonic() + LAST_WORD_SECONDS

    def _look_for_the_missing(self, have_ended: Sequence[Callable[[], bool]], *, until: float) -> None:
        if not self._missing:
            return
        for number, has_ended in enumerate(have_ended):
            caller = _Caller("launcher", number)
            if caller in self._missing and has_ended():
                raise ProcessLost(f"{self._crew.name(caller)} ended before it called")
        if time.monotonic() > until:
            names = ", ".join(self._crew.name(caller) for caller in sorted(self._missing))
            raise ProcessLost(f"not there after {MEETING_SECONDS} s: {names}")

    def _print(self, line: Connection) -> None:
        text = b""
        with contextlib.suppress(OSError):
            text = os.read(line.fileno(), OUTPUT_BYTES)
        if not text:
            self._forget(line)
        while text:
            text = text[os.write(1, text) :]

    def _lines_of(self, kind: str) -> list[Connection]:
        return [line for line, caller in self._lines.items() if caller.kind == kind]

    def _forget(self, line: Connection) -> None:
        self._lines.pop(line, None)
        line.close()


def _reply(line: Connection, content: bytes) -> None:
    with contextlib.suppress(OSError):  # that it died meanwhile is what its launcher says next
        line.send_bytes(content)
