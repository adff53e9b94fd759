"""A whole study as one file that another machine goes on with: a zip of JSON lines, and with it the artefacts if they are wanted.

    manifest.json               what the file is, and the size and SHA-256 of every other member
    rows/<table>.jsonl          one row a line, as `ablate.stores.rows` describes them
    artifacts/<job>/<path>      the folders of finished jobs

Reading believes nothing: names, sizes, digests and every row are checked before the store or the workspace is touched.
"""

import hashlib
import itertools
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ablate.artefacts import damage
from ablate.errors import EnvironmentMissing, InputError, did_you_mean
from ablate.stores import Store
from ablate.stores.rows import KINDS, AttemptRow, DeclarationRow, IdentityRow, JobRow, MetricRow, PointRow, Row, StudyRow, TrialRow
from ablate.study import Study
from ablate.workspace import Workspace

MAX_MANIFEST, MAX_LINE = 64 << 20, 16 << 20
"""Bytes."""
PIECE = 1 << 20
SHOWN_PROBLEMS = 20
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
"""What opening a member of a strange zip may raise."""
R = TypeVar("R", bound=Row)
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_PART = re.compile(r"[^\x00-\x1f\\/:]{1,200}")


class _Member(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    bytes: int
    sha256: str


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    format: Literal["ablate study"]
    version: Literal[2]
    study: str
    members: dict[str, _Member]


@dataclass(frozen=True)
class Exported:
    path: Path
    jobs: int
    done: int
    artefacts: int
    without_artefact: int
    """Finished jobs whose artefact is not in the workspace any more."""


@dataclass(frozen=True)
class Archive:
    """A file that was read and found whole."""

    path: Path
    study: str
    rows: tuple[Row, ...]
    """All but the points, which may be many."""
    artefacts: tuple[str, ...]
    """Jobs whose artefact is in the file."""
    members: dict[str, _Member] = field(repr=False)

    def points(self) -> Iterator[PointRow]:
        with zipfile.ZipFile(self.path) as file:
            yield from _rows_in(file, PointRow, self.members)


def export_study(store: Store, study: str, *, path: Path, workspace: Workspace, artefacts: bool) -> Exported:
    """Writes the file, whole or not at all. Raises InputError where the store has no such study."""
    names = [record.name for record in store.studies()]
    if study not in names:
        raise InputError(f"no study '{study}' in the store ({', '.join(names) or 'it is empty'}){did_you_mean(study, names)}")
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file:
            members, jobs = _write_rows(file, store.rows(study))
            done = sorted(job.id for job in jobs if job.state == "done")
            present = [job for job in done if (workspace.artifacts / job).is_dir()] if artefacts else []
            for job in present:
                members |= _write_artefact(file, workspace.artifacts / job)
            manifest = Manifest(format="ablate study", version=2, study=study, members=members)
            file.writestr("manifest.json", manifest.model_dump_json(indent=1))
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    missing = len(done) - len(present) if artefacts else 0
    return Exported(path=path, jobs=len(jobs), done=len(done), artefacts=len(present), without_artefact=missing)


def read_archive(path: Path) -> Archive:
    """Reads all of a file. Raises InputError with every problem in it."""
    try:
        file = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: not a file that `ablate export` wrote: {error}") from error
    with file:
        manifest = _manifest(file, path)
        problems = [*_odd_members(file, manifest), *_other_bytes(file, manifest)]
        rows: list[Row] = []
        if not problems:
            rows, problems = _all_rows(file, manifest)
    if problems:
        raise refused(path, problems)
    folders = {name.split("/")[1] for name in manifest.members if name.startswith("artifacts/")}
    return Archive(path=path, study=manifest.study, rows=tuple(rows), artefacts=tuple(sorted(folders)), members=manifest.members)


def unpack_artefacts(archive: Archive, *, workspace: Workspace) -> int:
    """Puts the artefacts that are not there into the workspace, each whole or not at all; answers how many."""
    wanted = [job for job in archive.artefacts if not (workspace.artifacts / job).is_dir()]
    size = sum(archive.members[name].bytes for job in wanted for name in _members_of(archive, job))
    if size > (free := shutil.disk_usage(workspace.artifacts).free):
        raise EnvironmentMissing(f"{archive.path} holds {size:,} bytes of artefacts, {workspace.artifacts} has room for {free:,}")
    with zipfile.ZipFile(archive.path) as file:
        for job in wanted:
            _unpack(file, archive, job, workspace.artifacts)
    return len(wanted)


def _unpack(file: zipfile.ZipFile, archive: Archive, job: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{job}.tmp-", dir=target) as folder:
        partial = Path(folder) / job
        for name in _members_of(archive, job):
            path = partial / name.removeprefix(f"artifacts/{job}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as stream:
                for piece in _pieces(file, name, archive.members[name]):
                    stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())
        if trouble := damage(partial):
            raise InputError(
                f"{archive.path}: the artefact of {job} was damaged before it was exported: {trouble}; export without --artifacts"
            )
        os.rename(partial, target / job)


def _members_of(archive: Archive, job: str) -> list[str]:
    return [name for name in archive.members if name.startswith(f"artifacts/{job}/")]


def _write_rows(file: zipfile.ZipFile, rows: Iterable[Row]) -> tuple[dict[str, _Member], list[JobRow]]:
    members: dict[str, _Member] = {}
    jobs: list[JobRow] = []
    for table, of_kind in itertools.groupby(rows, key=attrgetter("table")):
        with _written(file, f"rows/{table}.jsonl", members) as stream:
            for row in of_kind:
                stream.write(row.model_dump_json().encode() + b"\n")
                if isinstance(row, JobRow):
                    jobs.append(row)
    return members, jobs


def _write_artefact(file: zipfile.ZipFile, folder: Path) -> dict[str, _Member]:
    members: dict[str, _Member] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        with (
            _written(file, f"artifacts/{folder.name}/{path.relative_to(folder).as_posix()}", members) as stream,
            open(path, "rb") as source,
        ):
            while piece := source.read(PIECE):
                stream.write(piece)
    return members


class _Counted:
    """A member while it is written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest, self._bytes = stream, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def member(self) -> _Member:
        return _Member(bytes=self._bytes, sha256=self._digest.hexdigest())


@contextmanager
def _written(file: zipfile.ZipFile, name: str, members: dict[str, _Member]) -> Iterator[_Counted]:
    with file.open(name, "w", force_zip64=True) as stream:
        counted = _Counted(stream)
        yield counted
    members[name] = counted.member()


def _manifest(file: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        with file.open("manifest.json") as stream:
            return Manifest.model_validate_json(stream.read(MAX_MANIFEST))
    except (KeyError, ValidationError, *UNREADABLE) as error:
        found = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"manifest.json: {'.'.join(map(str, found['loc']))}: {found['msg']}" if found else str(error)
        raise InputError(f"{path}: not a file that `ablate export` of this version wrote: {why}") from error


def _odd_members(file: zipfile.ZipFile, manifest: Manifest) -> Iterator[str]:
    """Names that do not belong there, before anything is opened by them."""
    sizes = {info.filename: info.file_size for info in file.infolist()}
    listed = {"manifest.json", *manifest.members}
    if len(sizes) != len(file.infolist()):
        yield "a name is in it twice"
    yield from (f"{name!r} is not in its manifest" for name in sorted(set(sizes) - listed))
    yield from (f"{name!r} is missing" for name in sorted(listed - set(sizes)))
    folders = {parent.as_posix() for name in listed for parent in PurePosixPath(name).parents}
    for name, member in manifest.members.items():
        if not _is_ours(name) or name in folders:
            yield f"{name!r} is no name that an export has"
        elif sizes.get(name, member.bytes) != member.bytes:
            yield f"{name!r} has {sizes[name]} bytes, its manifest says {member.bytes}"


def _is_ours(name: str) -> bool:
    kind, *rest = name.split("/")
    if kind == "rows":
        return len(rest) == 1 and rest[0].removesuffix(".jsonl") in KINDS and rest[0].endswith(".jsonl")
    inside = rest[1:]
    return kind == "artifacts" and len(rest) > 1 and bool(_JOB.fullmatch(rest[0])) and all(map(_is_plain, inside))


def _is_plain(part: str) -> bool:
    return bool(_PART.fullmatch(part)) and part not in (".", "..")


def _other_bytes(file: zipfile.ZipFile, manifest: Manifest) -> Iterator[str]:
    for name, member in manifest.members.items():
        if _is_ours(name) and name in file.NameToInfo:
            try:
                for _ in _pieces(file, name, member):
                    pass
            except (InputError, *UNREADABLE) as error:
                yield f"{name!r}: {error}"


def _pieces(file: zipfile.ZipFile, name: str, member: _Member) -> Iterator[bytes]:
    """A member's bytes, never more than its manifest says; raises InputError at the end where they are others."""
    digest, left = hashlib.sha256(), member.bytes
    with file.open(name) as stream:
        while left > 0 and (piece := stream.read(min(PIECE, left))):
            digest.update(piece)
            left -= len(piece)
            yield piece
    if digest.hexdigest() != member.sha256:
        raise InputError("its bytes are not those that were exported")


def _all_rows(file: zipfile.ZipFile, manifest: Manifest) -> tuple[list[Row], list[str]]:
    """Every row but the points, which are only looked at; and what is wrong with any."""
    rows: list[Row] = []
    problems: list[str] = []
    known: set[str] = set()
    for kind in KINDS.values():
        try:
            for row in _rows_in(file, kind, manifest.members):
                if isinstance(row, PointRow):
                    if row.job not in known:
                        raise InputError(f"rows/points.jsonl: a point of {row.job!r}, which is no job of it")
                else:
                    rows.append(row)
        except InputError as error:
            problems.append(str(error))
        known = {row.id for row in rows if isinstance(row, JobRow)}
    return rows, problems or list(_contradictions(rows, manifest))


def _rows_in(file: zipfile.ZipFile, kind: type[R], members: Mapping[str, _Member]) -> Iterator[R]:
    name = f"rows/{kind.table}.jsonl"
    if name not in members:
        return
    with file.open(name) as stream:
        for number in itertools.count(1):
            line = stream.readline(MAX_LINE)
            if not line:
                return
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                found = error.errors()[0]
                raise InputError(f"{name}:{number}: {'.'.join(map(str, found['loc']))}: {found['msg']}") from error


def _contradictions(rows: Sequence[Row], manifest: Manifest) -> Iterator[str]:
    """Rows that refer to what is not there, or to another study."""
    jobs = {row.id: row for row in rows if isinstance(row, JobRow)}
    studies = [row for row in rows if isinstance(row, StudyRow)]
    if [row.name for row in studies] != [manifest.study]:
        yield f"its manifest says study '{manifest.study}', its rows {[row.name for row in studies]}"
    for study in studies:
        try:
            Study.model_validate(study.spec)
        except ValidationError as error:
            yield f"the study's declaration is not one: {error.errors()[0]['msg']}"
    for row in rows:
        if isinstance(row, TrialRow | DeclarationRow) and row.study != manifest.study:
            yield f"rows/{row.table}.jsonl: a row of study '{row.study}'"
        if isinstance(row, TrialRow) and (not set(row.chain) <= set(jobs) or [row.final] != row.chain[-1:]):
            yield f"rows/{row.table}.jsonl: the jobs of trial {row.id!r} are not in it"
        if isinstance(row, IdentityRow | AttemptRow | MetricRow) and row.job not in jobs:
            yield f"rows/{row.table}.jsonl: a row of {row.job!r}, which is no job of it"
    for job in sorted({name.split("/")[1] for name in manifest.members if name.startswith("artifacts/")}):
        if job not in jobs or jobs[job].state != "done":
            yield f"an artefact of {job!r}, which is no finished job of it"


def refused(path: Path, problems: Sequence[str]) -> InputError:
    more = f"\n... and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return InputError("\n".join(f"{path}: {problem}" for problem in problems[:SHOWN_PROBLEMS]) + more)
