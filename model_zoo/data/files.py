"""A source's files to documents, in an order that its seed says; a stream tells where it is, and goes on from there.

Files are taken in a drawn order, their rows in blocks that are drawn too. A block is read again where a stream goes on inside it, so what
follows is what would have followed.
"""

import contextlib
import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from model_zoo.data.samples import BadRow, Document, Reader, unpacked

DATA_VARIABLE = "ABLATE_DATA"
"""The folder that relative paths start from; where it is not set, the one in which the run was started."""
BLOCK = 256
"""Rows that are drawn from at a time."""
MOST_SAID = 500
"""Characters of another's error: it may repeat the file."""
MAY_BE_EMPTY = (".json", ".jsonl")
"""Files of 0 bytes that are read, as ones without a row; the others have a head even then."""
FEW_ROWS = 100
"""As many are read before their share of bad ones is judged."""
_FILES, _ROWS = 0, 1

T = TypeVar("T")


class SourceError(RuntimeError):
    """A source that cannot go on: files that are not there or broken, too many bad rows, no row left."""


class RunDry(SourceError):
    """No row is left."""


class State(NamedTuple):
    """Where a stream is."""

    epoch: int = 0
    file: int = 0
    """Place in the epoch's order of files."""
    rows: dict[str, Any] | None = None
    """Where in the file the block begins, in the words of `datasets`; None at its beginning."""
    block: int = 0
    """Number of the block in its file."""
    taken: int = 0
    """Rows of the block that are behind."""
    read: int = 0
    bad: int = 0


class Stream(Generic[T]):
    """Documents of one source without end, or until its epochs are over.

    `reader` says what a row is, and `prepare` makes of its document what the caller wants. Both raise BadRow for one that is unusable,
    which is counted and left out.
    """

    def __init__(
        self,
        name: str,
        patterns: Sequence[str],
        *,
        reader: Reader,
        prepare: Callable[[Document], T],
        seed: tuple[int, ...],
        epochs: int,
        max_bad_share: float,
    ) -> None:
        self.name, self.paths = name, find(name, patterns)
        self.reasons: Counter[str] = Counter()
        """Why rows were left out."""
        self._last_bad = ""
        self._prepare, self._seed, self._epochs, self._max_bad_share = prepare, seed, epochs, max_bad_share
        self._reader = reader
        self.go_on(State())

    def go_on(self, state: State) -> None:
        self.state = state
        self._order: list[int] = []
        self._block: list[dict[str, Any]] = []
        self._after: dict[str, Any] | None = state.rows
        self._rows: Iterator[dict[str, Any]] | None = None
        self._dataset: Any = None

    def __next__(self) -> T:
        """Raises SourceError where there is none left, or too many before it were bad."""
        while True:
            path, row = self._next_row()
            number = self.state.block * BLOCK + self._order[self.state.taken] + 1
            self.state = self.state._replace(taken=self.state.taken + 1, read=self.state.read + 1)
            try:
                return self._prepare(self._reader(unpacked(row) if path.suffix == ".tar" else row, path.parent))
            except BadRow as error:
                where = f"row {row['__key__'] if path.suffix == '.tar' else number} of {path}"
                self._refuse(str(error), where=f"{where} ({error.what})" if error.what else where)

    @property
    def bad_rows(self) -> str:
        """How many there were and why, or nothing where there was none."""
        said = [f"{self.state.bad:,} of {self.state.read:,} rows were bad"] if self.state.bad else []
        if self.reasons:  # one that goes on knows those since then
            said.append(f"most often: {self.reasons.most_common(1)[0][0]}; the last: {self._last_bad}")
        return ", ".join(said)

    def _next_row(self) -> tuple[Path, dict[str, Any]]:
        while True:
            if self.state.epoch == self._epochs:
                files, times = (
                    f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in ((len(self.paths), "file"), (self._epochs, "time"))
                )
                raise RunDry(
                    f"source {self.name} has run dry after {self.state.read:,} rows of {files}, {times} over: "
                    f"lower its share in data.mix, train fewer steps, add files, or raise data.files.epochs above {self._epochs}"
                    + (f" ({self.bad_rows})" if self.bad_rows else "")
                )
            path = self.paths[self._drawn(_FILES, self.state.epoch, number=len(self.paths))[self.state.file]]
            if not self._block:
                self._read_block(path)
            if self.state.taken < len(self._block):
                return path, self._block[self._order[self.state.taken]]
            if len(self._block) == BLOCK:
                self.state = self.state._replace(rows=self._after, block=self.state.block + 1, taken=0)
            else:
                self._next_file()
            self._block = []

    def _next_file(self) -> None:
        if self.state.read == self.state.bad and self.state.file + 1 == len(self.paths):
            what = f": {self.bad_rows}" if self.bad_rows else f" has no row in any of {len(self.paths)} files, such as {self.paths[0]}"
            raise SourceError(f"source {self.name}{what}")
        epoch, file = divmod(self.state.epoch * len(self.paths) + self.state.file + 1, len(self.paths))
        self.state = State(epoch=epoch, file=file, read=self.state.read, bad=self.state.bad)
        self._rows = self._after = None

    def _read_block(self, path: Path) -> None:
        try:
            if self._rows is None:
                self._rows, self._dataset = _open(path, after=self.state.rows)
            self._block = list(islice(self._rows, BLOCK))
            self._after = self._dataset.state_dict() if self._block else None
        except Exception as error:  # whatever pyarrow, tarfile or fsspec raise: all of them mean that the file is broken
            cause = error.__cause__ or error
            what = "JSON nested too deeply" if isinstance(cause, RecursionError) else f"{type(cause).__name__}: {cause}"[:MOST_SAID]
            what = _bad_line(path) or what
            raise SourceError(f"source {self.name}: {path} cannot be read: {what}") from error
        where = (self.state.epoch, self.state.file, self.state.block)
        self._order = self._drawn(_ROWS, *where, number=len(self._block))

    def _drawn(self, use: int, *where: int, number: int) -> list[int]:
        order: list[int] = np.random.default_rng((*self._seed, use, *where)).permutation(number).tolist()
        return order

    def _refuse(self, why: str, *, where: str) -> None:
        self.reasons[why] += 1
        self._last_bad = where if self.reasons.most_common(1)[0][0] == why else f"{where}: {why}"
        self.state = self.state._replace(bad=self.state.bad + 1)
        bad, read = self.state.bad, self.state.read
        if read >= FEW_ROWS and bad > self._max_bad_share * read:
            raise SourceError(f"source {self.name}: {self.bad_rows}; more than data.files.max_bad_share {self._max_bad_share:g} allows")


def find(name: str, patterns: Sequence[str]) -> list[Path]:
    """The files that patterns such as `shards/*.tar` mean. Raises SourceError for a pattern that means none."""
    found = list[Path]()
    for pattern in patterns:
        matched = matching(pattern)
        if not matched:
            raise SourceError(f"source {name}: {no_file(pattern)}")
        found += matched
    return found


def matching(pattern: str) -> list[Path]:
    """The files that it means, sorted."""
    whole = str(Path(glob.escape(str(_root()))) / pattern)  # brackets in the folder's own name stand for themselves
    return sorted(path for path in map(Path, glob.glob(whole, recursive=True)) if path.is_file())


def no_file(pattern: str) -> str:
    """That it means none."""
    return f"no file matches {pattern} in {_root().resolve()} (set {DATA_VARIABLE} to the folder of the data)"


def _root() -> Path:
    return Path(os.environ.get(DATA_VARIABLE, "."))


def _open(path: Path, *, after: dict[str, Any] | None) -> tuple[Iterator[dict[str, Any]], Any]:
    """The rows of one file from a place on, and the data set that tells how far they have come."""
    import datasets

    from model_zoo.data.shards import Shards, has_rows

    datasets.disable_progress_bars()
    if not (has_rows(path) if path.suffix == ".tar" else path.stat().st_size):  # the library looks for the columns in the first row
        return iter(()), None
    named = [glob.escape(str(path))]
    if path.suffix == ".tar":
        found = Shards(data_files=named).as_streaming_dataset(split="train")
    elif path.suffix == ".parquet":
        found = datasets.load_dataset("parquet", data_files=named, split="train", streaming=True, batch_size=BLOCK)
    else:
        found = datasets.load_dataset("json", data_files=named, split="train", streaming=True)
    for column, feature in (found.features or {}).items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(column, datasets.Image(decode=False))  # `images.decode` says what is wrong with one
    if after is not None:
        found.load_state_dict(after)
    return iter(found), found


def _bad_line(path: Path) -> str:
    """Which line of a text file is not UTF-8, or is no JSON where lines are rows, which the library does not say; else nothing."""
    if path.suffix in (".json", ".jsonl") and path.is_file():
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    text = line.decode()
                    if path.suffix == ".jsonl" and text.strip():
                        with contextlib.suppress(RecursionError):  # nested too deeply, which is said already
                            json.loads(text.rstrip())
                except UnicodeDecodeError as error:
                    return f"line {number:,} is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start + 1:,})"
                except json.JSONDecodeError as error:
                    return f"line {number:,} is no JSON: {error.msg} (character {error.colno:,})"
    return ""
