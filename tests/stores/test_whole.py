"""A whole study leaves a database of one kind and enters one of another."""

from collections.abc import Iterable
from pathlib import Path

from ablate.archive import export_study, read_archive
from ablate.arrival import import_study
from ablate.stores import open_store
from ablate.stores.rows import Row, StudyRow
from ablate.workspace import Workspace
from tests.postgresql import Server
from tests.stores.ran import run, said_of, small_study


def test_study_travels_between_kinds_of_database(workspace: Workspace, postgresql: Server, tmp_path: Path) -> None:
    run(small_study(), workspace)
    server = Workspace(tmp_path / "other", postgresql.new_database())
    server.create()
    for path, source, target in ((tmp_path / "a.zip", workspace, server), (tmp_path / "b.zip", server, workspace)):
        reader, writer = open_store(source.store_url), open_store(target.store_url, write=True)
        export_study(reader, "small", path=path, workspace=source, artefacts=False)
        import_study(read_archive(path), store=writer, workspace=target)
        assert untouched(reader.rows("small")) == untouched(writer.rows("small"))
        for opened in (reader, writer):
            opened.close()
    assert said_of(server) == said_of(workspace)
    assert untouched(read_archive(tmp_path / "a.zip").rows) == untouched(read_archive(tmp_path / "b.zip").rows)


def untouched(rows: Iterable[Row]) -> list[Row]:
    """But for when a store last heard of the study."""
    return [row.model_copy(update={"updated": 0.0}) if isinstance(row, StudyRow) else row for row in rows]
