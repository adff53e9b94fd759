"""Stores of earlier schemas become today's, whole or not at all; those of later ones are left alone."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ablate.errors import EnvironmentMissing
from ablate.stores import Store, open_store
from ablate.stores.sql_schema import VERSION_TABLE
from ablate.stores.tables import REVISION, metadata
from tests.postgresql import Server

RELEASED = Path(__file__).with_name("schema_1.sql").read_text(encoding="utf-8")
"""A store of schema 1: a study of four trials, two done, one failed, one queued."""
LATE = ("declarations", "identities", "stale_trials")
"""Tables that the first stores of schema 1 did not have."""
KILLED_AT = """
import os, signal, sys
import sqlalchemy as sa
from ablate.stores import open_store

@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

open_store(sys.argv[1], write=True)
"""
OPENED = "import sys; from ablate.stores import open_store; open_store(sys.argv[1], write=True); print('alembic' in sys.modules)"


@pytest.fixture(params=[(), LATE], ids=["last", "first"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "ablate.db"
    connection = sqlite3.connect(path)
    connection.executescript(RELEASED + "".join(f"DROP TABLE {table};" for table in request.param))
    connection.close()
    return path


@pytest.fixture
def old_server(postgresql: Server) -> str:
    url = postgresql.new_database()
    engine = sa.create_engine(url.replace("://", "+pg8000://"))
    with engine.begin() as connection:
        for statement in postgresql_dialect(RELEASED):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


def postgresql_dialect(script: str) -> list[str]:
    """The dump as PostgreSQL takes it, referred tables first."""
    script = (
        script.replace(" \n WITHOUT ROWID", "")
        .replace("WITHOUT ROWID", "")
        .replace("seq INTEGER NOT NULL, \n\ttime FLOAT NOT NULL, \n\tstudy", "seq SERIAL NOT NULL, time FLOAT NOT NULL, study")
    )
    statements = [part.strip() for part in script.split(";\n") if part.strip() not in ("BEGIN TRANSACTION", "COMMIT", "")]
    order = (
        "CREATE TABLE studies",
        "CREATE TABLE jobs",
        "CREATE TABLE",
        "CREATE INDEX",
        'INSERT INTO "studies"',
        'INSERT INTO "jobs"',
        "INSERT",
    )
    ranked = sorted(statements, key=lambda text: next(rank for rank, start in enumerate(order) if text.startswith(start)))
    return [text.replace(",1,0,1.", ",true,false,1.") if text.startswith('INSERT INTO "studies"') else text for text in ranked]


def standing(store: Store) -> list[tuple[str, str, object, str]]:
    return [(trial.id, trial.state, dict(trial.metrics), trial.reason) for trial in store.trials("small")]


def differences(url: str) -> list[object]:
    """What today's tables have and this database has not, or the other way round."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+pg8000://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found = list(compare_metadata(context, metadata))
    engine.dispose()
    return found


def revision(path: Path) -> str | None:
    connection = sqlite3.connect(path)
    try:
        (found,) = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return None
    finally:
        connection.close()
    return str(found)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.fault("F33")
def test_released_store_is_read_as_it_is_and_upgraded_by_a_writer(old: Path) -> None:
    url = f"sqlite:///{old}"
    reader = open_store(url)
    before = standing(reader)
    assert [state for _, state, _, _ in before] == ["done", "done", "failed", "queued"]
    jobs = [job.id for job in reader.jobs("small")]
    curve, attempts = reader.curve(jobs), reader.attempts(jobs)
    assert (len(curve), [attempt.details for attempt in attempts], reader.holder("small")) == (9, [None, None, None], None)
    assert revision(old) is None

    writer = open_store(url, write=True)
    assert revision(old) == REVISION
    assert differences(url) == []
    for opened in (writer, reader):
        assert standing(opened) == before
        assert (opened.curve(jobs), opened.attempts(jobs)) == (curve, attempts)
        record = opened.study("small")
        assert record is not None
        assert [declared.spec for declared in opened.declarations("small")] == [record.spec]
    lease = writer.claim("small", owner="test")
    assert reader.holder("small").lease == lease  # type: ignore[union-attr]
    for opened in (reader, writer):
        opened.close()


def test_study_whose_run_was_killed_is_live_no_more(tmp_path: Path) -> None:
    """Schema 2 had a mark that only an orderly end took away."""
    path = tmp_path / "ablate.db"
    connection = sqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("schema_2.sql").read_text(encoding="utf-8"))
    assert connection.execute("SELECT active FROM studies").fetchall() == [(1,)]
    connection.close()
    url = f"sqlite:///{path}"
    reader = open_store(url)
    before = standing(reader)
    assert [state for _, state, _, _ in before] == ["done", "done", "failed", "running"]
    assert reader.holder("small").lease.pid == 99  # type: ignore[union-attr]
    writer = open_store(url, write=True)
    assert (differences(url), revision(path)) == ([], REVISION)
    for opened in (reader, writer):
        assert standing(opened) == before
        assert opened.holder("small").lease.pid == 99  # type: ignore[union-attr]
        assert [record.active for record in opened.studies()] == [False]
        opened.close()


def test_upgrade_leaves_a_copy_of_what_was_there(old: Path) -> None:
    before = b"\n".join(line.encode() for line in dump(old))
    open_store(f"sqlite:///{old}", write=True).close()
    copy = old.with_name("ablate.db.schema-0")
    assert b"\n".join(line.encode() for line in dump(copy)) == before
    assert copy.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in old.parent.iterdir()) == ["ablate.db", "ablate.db.schema-0"]


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_database_made_new_equals_an_upgraded_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    open_store(url, write=True).close()
    assert (differences(url), revision(tmp_path / "new.db")) == ([], REVISION)


def test_released_store_on_a_server_is_upgraded(old_server: str) -> None:
    reader = open_store(old_server)
    before = standing(reader)
    assert [state for _, state, _, _ in before] == ["done", "done", "failed", "queued"]
    writer = open_store(old_server, write=True)
    assert differences(old_server) == []
    assert standing(writer) == before
    lease = writer.claim("small", owner="test")
    assert reader.holder("small").lease == lease  # type: ignore[union-attr]
    for opened in (reader, writer):
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE IF NOT EXISTS declarations",
        "ALTER TABLE attempts",
        "CREATE TABLE leases",
        "DROP COLUMN active",
        "ADD COLUMN process",
        "UPDATE ablate_revision",
    ],
)
@pytest.mark.fault("F33")
def test_upgrade_killed_half_way_did_not_happen_and_completes_when_run_again(old: Path, statement: str) -> None:
    url = f"sqlite:///{old}"
    before = dump(old)
    assert python(KILLED_AT, url, statement).returncode == -signal.SIGKILL
    assert dump(old) == before
    writer = open_store(url, write=True)
    assert (differences(url), revision(old)) == ([], REVISION)
    assert [state for _, state, _, _ in standing(writer)] == ["done", "done", "failed", "queued"]
    writer.close()


@pytest.mark.slow
def test_upgrade_of_a_server_killed_half_way_completes_when_run_again(old_server: str) -> None:
    assert python(KILLED_AT, old_server, "CREATE TABLE leases").returncode == -signal.SIGKILL
    reader = open_store(old_server)
    assert [state for _, state, _, _ in standing(reader)] == ["done", "done", "failed", "queued"]
    reader.close()
    open_store(old_server, write=True).close()
    assert differences(old_server) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", ["new", "old"])
@pytest.mark.fault("F20")
def test_four_programs_at_once_make_or_upgrade_the_tables_once(make: str, old: Path, tmp_path: Path) -> None:
    path = old if make == "old" else tmp_path / "new.db"
    command = [sys.executable, "-c", OPENED, f"sqlite:///{path}"]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [(program.communicate(timeout=60), program.returncode) for program in programs]
    assert [code for _, code in ended] == [0, 0, 0, 0], ended
    assert (differences(f"sqlite:///{path}"), revision(path)) == ([], REVISION)
    assert sum(f"now has {REVISION}" in errors for (_, errors), _ in ended) == (make == "old")


@pytest.mark.slow
def test_alembic_is_imported_only_for_an_upgrade(old: Path, tmp_path: Path) -> None:
    fresh, behind = f"sqlite:///{tmp_path / 'new.db'}", f"sqlite:///{old}"
    assert [python(OPENED, url).stdout.strip() for url in (fresh, fresh, behind, behind)] == ["False", "False", "True", "False"]


def test_program_from_before_migrations_would_refuse(old: Path) -> None:
    open_store(f"sqlite:///{old}", write=True).close()
    connection = sqlite3.connect(old)
    # what that program compared with '1' after opening
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (REVISION,)
    connection.close()


@pytest.mark.parametrize("found", [str(int(REVISION) + 1), "abc"])
@pytest.mark.fault("F33")
def test_schema_this_program_does_not_know_is_refused_and_left_alone(found: str, tmp_path: Path) -> None:
    path = tmp_path / "ablate.db"
    open_store(f"sqlite:///{path}", write=True).close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (found,))  # noqa: S608
    connection.commit()
    connection.close()
    before = dump(path)
    for write in (True, False):
        with pytest.raises(EnvironmentMissing, match=f"schema {found}, this program reads up to {REVISION}"):
            open_store(f"sqlite:///{path}", write=write)
    assert dump(path) == before


def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE metrics (key TEXT)")
    connection.close()
    with pytest.raises(EnvironmentMissing, match=r"tables of another program \(metrics\)"):
        open_store(f"sqlite:///{path}", write=True)
    with pytest.raises(EnvironmentMissing, match="there is no store in"):
        open_store(f"sqlite:///{path}")
    assert len(dump(path)) == 3
