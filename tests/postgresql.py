"""A PostgreSQL server of the tests' own: Debian's binaries, a temporary folder, a free port of loopback, a user that is not root."""

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Server:
    """Started once; may be stopped as a crash would and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._numbers = itertools.count()
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", str(self._data), "-U", "tests", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -F -c max_connections=20"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", "-o", options, "start")

    def stop(self) -> None:
        """At once, as if its power had gone; the next start recovers."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"tests_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://tests@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str) -> Any:
        """Its first value, if it answers any."""
        engine = sa.create_engine(f"postgresql+pg8000://tests@127.0.0.1:{self.port}/postgres", isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(sa.text(statement))
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        # to a file: the server inherits the output, and a pipe would stay open as long as it lives
        with open(self._folder / "output", "ab") as output:
            command = [str(BINARIES[-1] / program), *arguments]
            done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, **self._user)
        assert done.returncode == 0, (self._folder / "output").read_text()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    if not BINARIES:
        pytest.skip("no PostgreSQL under /usr/lib/postgresql (apt-get install postgresql); .ci/run installs it")
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgresql-"))
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)
