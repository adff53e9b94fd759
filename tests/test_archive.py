"""A study as one file: whole when it is read, refused with every reason when it is not what an export wrote."""

import hashlib
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ablate.archive import Archive, export_study, read_archive
from ablate.arrival import Imported, import_study
from ablate.artefacts import publish
from ablate.errors import EnvironmentMissing, InputError
from ablate.journal import make_point
from ablate.stores import open_store, rows
from ablate.stores.tables import metadata
from ablate.workspace import Workspace
from tests.stores.ran import run, said_of, small_study, workspace_at

STUDY = small_study()


@pytest.fixture
def origin(tmp_path: Path) -> Workspace:
    made = workspace_at(tmp_path / "origin")
    run(STUDY, made)
    for folder in sorted(made.artifacts.iterdir()):  # this trainer leaves nothing by itself
        shutil.rmtree(folder)
        partial = tmp_path / "partial"
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "weights").write_bytes(folder.name.encode() * 1000)
        publish(partial, folder)
    return made


@pytest.fixture
def other(tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path / "other")


def export(workspace: Workspace, path: Path, *, artefacts: bool = False) -> Path:
    store = open_store(workspace.store_url)
    export_study(store, STUDY.name, path=path, workspace=workspace, artefacts=artefacts)
    store.close()
    return path


def take_in(path: Path, workspace: Workspace) -> Imported:
    archive = read_archive(path)
    store = open_store(workspace.store_url, write=True)
    try:
        return import_study(archive, store=store, workspace=workspace)
    finally:
        store.close()


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rewritten(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The file with its members changed as a forger would: digests and sizes in the manifest fit again."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(members)
    manifest["members"] = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in (members | {"manifest.json": json.dumps(manifest).encode()}).items():
            file.writestr(name, data)
    return path


def with_row(table: str, **fields: Any) -> Callable[[dict[str, bytes]], None]:
    """Changes fields of a table's first row."""

    def change(members: dict[str, bytes]) -> None:
        first, *others = members[f"rows/{table}.jsonl"].splitlines(keepends=True)
        members[f"rows/{table}.jsonl"] = b"".join([json.dumps(json.loads(first) | fields).encode() + b"\n", *others])

    return change


def test_rows_have_the_columns_of_their_tables() -> None:
    columns = {name: set(metadata.tables[name].columns.keys()) for name in rows.KINDS}
    assert {name: set(kind.model_fields) for name, kind in rows.KINDS.items()} == columns
    assert set(metadata.tables) - set(rows.KINDS) == {"meta", "leases", "events"}


def test_study_goes_on_elsewhere_and_executes_nothing_that_is_done(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    imported = take_in(export(origin, tmp_path / "small.zip", artefacts=True), other)
    said = said_of(origin)
    assert (imported.changed, imported.jobs, imported.artefacts) == (True, len(said["jobs"]), imported.done)
    assert said_of(other) == said
    assert files(other.artifacts) == files(origin.artifacts)
    assert run(STUDY, other).executed == 0
    grown = small_study(seeds=[0, 1, 2])
    assert run(grown, other).executed == 3
    # and back again: the longer history holds
    back = export(other, tmp_path / "back.zip")
    assert take_in(back, origin).jobs == 3
    assert said_of(origin)["trials"] == said_of(other)["trials"]
    assert take_in(tmp_path / "small.zip", origin).changed is False
    assert said_of(origin)["trials"] == said_of(other)["trials"]


def test_importing_twice_changes_nothing(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip", artefacts=True)
    take_in(path, other)
    before = said_of(other), files(other.artifacts)
    assert take_in(path, other).changed is False
    assert (said_of(other), files(other.artifacts)) == before
    assert take_in(path, origin).changed is False


def test_results_of_jobs_that_are_not_done_here_are_taken_over(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    take_in(export(origin, tmp_path / "small.zip"), other)
    done = next(job.id for job in said_of(origin)["jobs"] if job.state == "done")
    store = open_store(other.store_url, write=True)
    first = next(store.rows("small"))
    assert isinstance(first, rows.JobRow)
    store.add_rows(lambda: [first.model_copy(update={"id": done, "state": "queued"})], study=None, jobs=[done])
    store.close()
    assert take_in(tmp_path / "small.zip", other).jobs == 1
    assert said_of(other) == said_of(origin)


def test_values_that_are_not_finite_travel_with_their_kind(other: Workspace, origin: Workspace, tmp_path: Path) -> None:
    job = next(job.id for job in said_of(origin)["jobs"] if job.state == "done")
    points = (make_point(7, "odd", float("nan")), make_point(7, "odder", float("-inf")))
    store = open_store(origin.store_url, write=True)
    store.add_points({(job, 1): points})
    store.close()
    take_in(export(origin, tmp_path / "small.zip"), other)
    assert said_of(other)["curve"] == said_of(origin)["curve"]
    assert {point.kind for point in archived_points(tmp_path / "small.zip") if point.key.startswith("odd")} == {"nan", "-inf"}


def archived_points(path: Path) -> list[rows.PointRow]:
    archive: Archive = read_archive(path)
    return list(archive.points())


def test_study_that_declares_something_else_here_is_refused(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    run(small_study(question="Another one?"), other)
    before = said_of(other)
    with pytest.raises(InputError, match=r"declares something else \(declaration 1: question\)"):
        take_in(export(origin, tmp_path / "small.zip", artefacts=True), other)
    assert said_of(other) == before


def test_job_that_is_done_here_with_other_metrics_is_refused(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip")
    take_in(path, other)
    with pytest.raises(InputError, match="is done here with other metrics"):
        take_in(rewritten(path, other_values), other)
    assert said_of(other) == said_of(origin)


def other_values(members: dict[str, bytes]) -> None:
    lines = [json.loads(line) | {"value": 0.125} for line in members["rows/metrics.jsonl"].splitlines()]
    members["rows/metrics.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_study_that_is_being_run_here_is_not_touched(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip")
    store = open_store(other.store_url, write=True)
    with running(store, "small"), pytest.raises(EnvironmentMissing, match="another run works on 'small': ablate run"):
        take_in(path, other)
    assert store.studies() == []
    store.close()


@contextmanager
def running(store: Any, study: str) -> Iterator[None]:
    lease, ended = store.claim(study, owner="ablate run"), threading.Event()

    def beat() -> None:
        while not ended.wait(0.02):
            store.beat(lease)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_unknown_study_is_refused_with_those_there_are(origin: Workspace, tmp_path: Path) -> None:
    store = open_store(origin.store_url)
    with pytest.raises(InputError, match=r"no study 'smal' in the store \(small\); did you mean 'small'\?"):
        export_study(store, "smal", path=tmp_path / "x.zip", workspace=origin, artefacts=False)
    store.close()
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89PNG\r\n", b"{}"])
def test_file_that_is_no_export_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"small\.zip: not a file that `ablate export` wrote"):
        read_archive(path)


def test_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.txt", "x")
    with pytest.raises(InputError, match="no item named 'manifest"):
        read_archive(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("manifest.json", '{"format": "ablate study", "version": 1, "study": "small", "members": {}}')
    with pytest.raises(InputError, match=r"manifest.json: version: Input should be 2"):
        read_archive(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_archive(tmp_path / "none.zip")


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_file_that_was_cut_is_refused(cut: float, origin: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip", artefacts=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(InputError):
        read_archive(path)


def test_flipped_bit_anywhere_is_refused_or_harmless(origin: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip", artefacts=True)
    whole, content = read_archive(path), path.read_bytes()
    refused = 0
    for place in range(0, len(content), len(content) // 150):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            assert read_archive(path) == whole  # a time stamp of a member, say
        except InputError:
            refused += 1
    assert refused > 120


def test_member_with_other_bytes_than_its_manifest_says_is_refused(origin: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    points = members["rows/points.jsonl"]
    members["rows/points.jsonl"] = points.replace(b'"step":1,', b'"step":2,')
    assert len(members["rows/points.jsonl"]) == len(points)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(InputError, match=r"rows/points.jsonl': its bytes are not those that were exported"):
        read_archive(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/evil",
        "artifacts/../../evil",
        "artifacts/JOB/../../evil",
        "artifacts/JOB//evil",
        "artifacts/JOB/.",
        "artifacts/JOB/c:evil",
        "artifacts/JOB/a\\evil",
        "artifacts/JOB",
        "artifacts/../x/evil",
        "rows/../evil.jsonl",
        "rows/evil.jsonl",
        "evil",
    ],
)
def test_name_that_leads_elsewhere_is_refused(name: str, origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip", artefacts=True)
    job = next(iter(origin.artifacts.iterdir())).name
    name = name.replace("JOB", job)
    with pytest.raises(InputError, match="is no name that an export has"):
        take_in(rewritten(path, lambda members: members.update({name: b"x"})), other)
    assert not list(tmp_path.rglob("*evil*"))
    assert files(other.folder) == {}


def test_link_in_a_zip_is_written_as_the_plain_file_it_is(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip", artefacts=True)
    with zipfile.ZipFile(path) as file:
        members = [(info, file.read(info)) for info in file.infolist()]
    with zipfile.ZipFile(path, "w") as file:
        for info, data in members:
            info.external_attr = 0o120777 << 16
            file.writestr(info, data)
    take_in(path, other)
    assert not any(place.is_symlink() for place in other.artifacts.rglob("*"))
    assert files(other.artifacts) == files(origin.artifacts)


def test_member_larger_than_it_says_is_not_read_to_its_end(origin: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip")
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["rows/points.jsonl"] = bytes(200_000_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    with pytest.raises(InputError, match="has 200000000 bytes, its manifest says"):
        read_archive(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_row("jobs", state="finished"), r"rows/jobs.jsonl:1: state: Input should be 'queued'"),
        (with_row("jobs", attempts="1"), "attempts: Input should be a valid integer"),
        (with_row("jobs", extra=1), "extra: Extra inputs are not permitted"),
        (with_row("trials", study="another"), "a row of study 'another'"),
        (with_row("trials", chain=["unknown-1"], final="unknown-1"), "the jobs of trial .* are not in it"),
        (with_row("metrics", job="unknown-1"), "a row of 'unknown-1', which is no job of it"),
        (with_row("points", job="unknown-1"), "a point of 'unknown-1', which is no job of it"),
        (with_row("studies", name="another"), r"its manifest says study 'small', its rows \['another'\]"),
        (with_row("studies", spec={"name": "small"}), "the study's declaration is not one"),
        (lambda members: members.update({"rows/jobs.jsonl": b"\xff\xfe"}), "rows/jobs.jsonl:1"),
        (lambda members: members.update({"artifacts/unknown-1/x": b"x"}), "an artefact of 'unknown-1'"),
    ],
)
def test_rows_that_are_none_are_refused(
    change: Callable[[dict[str, bytes]], object], message: str, origin: Workspace, other: Workspace, tmp_path: Path
) -> None:
    path = rewritten(export(origin, tmp_path / "small.zip"), change)
    with pytest.raises(InputError, match=message):
        take_in(path, other)
    assert files(other.folder) == {}


def test_every_problem_is_told_at_once(origin: Workspace, tmp_path: Path) -> None:
    path = export(origin, tmp_path / "small.zip")

    def change(members: dict[str, bytes]) -> None:
        with_row("trials", study="another")(members)
        with_row("metrics", job="unknown-1")(members)

    with pytest.raises(InputError) as error:
        read_archive(rewritten(path, change))
    assert len(str(error.value).splitlines()) == 2


def test_artefact_that_was_damaged_before_its_export_is_not_brought_in(origin: Workspace, other: Workspace, tmp_path: Path) -> None:
    victim = next(path for path in sorted(origin.artifacts.rglob("*")) if path.is_file() and path.name != "SHA256SUMS")
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(InputError, match="was damaged before it was exported"):
        take_in(export(origin, tmp_path / "small.zip", artefacts=True), other)
    assert not (other.artifacts / victim.relative_to(origin.artifacts).parts[0]).exists()


def test_export_that_fails_leaves_no_file(origin: Workspace, tmp_path: Path) -> None:
    store = open_store(origin.store_url)
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "small.zip").mkdir()
    with pytest.raises(IsADirectoryError):
        export_study(store, "small", path=folder / "small.zip", workspace=origin, artefacts=False)
    store.close()
    assert os.listdir(folder) == ["small.zip"]
