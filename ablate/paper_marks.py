"""A paper's LaTeX becomes its marks, `\\ablate{KEY}{NUMBER}`, each with its file and line.

Comments are skipped, files that it reads in are read with it, and nothing outside its folder is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from ablate.errors import InputError

MAX_BYTES = 16 << 20
MAX_FILES = 200
MAX_EXPONENT = 300
"""Of ten; beyond it the last digit of a number is worth more or less than a float can say."""
_COMMENT = re.compile(r"((?<!\\)(?:\\\\)*)%.*")
_INPUT = re.compile(r"\\(?:input|include|subfile)(?![A-Za-z@])\s*(?:\{([^{}]*)\}|([^\s{}\\%]+))")
_MARK = re.compile(r"\\ablate(?![A-Za-z@])\s*\{")
_DRESS = re.compile(
    r"\\(?:textbf|textit|emph|mathbf|mathrm|boldmath|bfseries|num|ensuremath|text|textrm|left|right)(?![A-Za-z])|\\[,;:! ]|[\s~$]"
)
_WORDS = {r"\textminus": "-", r"\textless": "<", r"\textgreater": ">", r"\lt": "<", r"\gt": ">", r"\cdot": "×", r"\times": "×"}
_NUMBER = re.compile(r"([<>]?)([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d+))?(?:(?:[eE]|×10\^)([+-]?\d{1,3}))?")


@dataclass(frozen=True, order=True)
class Mark:
    """One number of a paper."""

    file: str
    line: int
    key: str
    printed: str


@dataclass(frozen=True)
class Marks:
    found: tuple[Mark, ...]
    not_read: tuple[str, ...]
    """`paper.tex:12: ../shared.tex: ...`: what is named and was not read, and why."""


@dataclass(frozen=True)
class Printed:
    """A number as it is printed."""

    bound: str
    """`<` or `>` where it is printed as one, else empty."""
    value: float
    unit: float
    """What its last digit is worth."""
    decimals: int
    exponent: int | None

    def agrees(self, now: float) -> bool:
        """Whether `now` is printed so; a half may be rounded either way."""
        if self.bound:
            return now < self.value if self.bound == "<" else now > self.value
        return abs(now - self.value) <= self.unit / 2 * (1 + 1e-6)

    def like(self, now: float) -> str:
        """`now` with as many digits."""
        if self.exponent is None or not now:
            return f"{now:.{self.decimals}f}"
        return f"{now / 10.0**self.exponent:.{self.decimals}f}e{self.exponent}"


def read_marks(paper: Path) -> Marks:
    """Raises InputError where there is no such file, or it is none to read."""
    text = _text_of(paper)
    reader = _Reader(paper.parent.resolve(), paper.parent, [], [], {paper.resolve()})
    reader.read(text, str(paper))
    return Marks(tuple(reader.marks), tuple(reader.not_read))


def printed_number(text: str) -> Printed | None:
    """None where it is no number alone (a unit beside it, a macro of the paper's own), or one that no float holds."""
    for word, sign in _WORDS.items():
        text = text.replace(word, sign)
    plain = re.sub(r"[{}]", "", _DRESS.sub("", text).replace("{,}", ",")).replace("−", "-").replace("–", "-").replace("--", "-")
    found = _NUMBER.fullmatch(plain)
    if found is None or not (found[3] or found[4]):
        return None
    decimals, exponent = len(found[4] or ""), int(found[5]) if found[5] else None
    value = float(f"{found[2]}{found[3].replace(',', '') or '0'}.{found[4] or '0'}e{exponent or 0}")
    if not isfinite(value) or abs(exponent or 0) > MAX_EXPONENT:
        return None
    return Printed(found[1], value, 10.0 ** ((exponent or 0) - decimals), decimals, exponent)


def printed_word(text: str) -> str:
    """A verdict as it is printed, in small letters."""
    return re.sub(r"[{}]", "", _DRESS.sub("", text)).lower()


@dataclass
class _Reader:
    folder: Path
    """The paper's."""
    shown: Path
    """The same as it was written."""
    marks: list[Mark]
    not_read: list[str]
    seen: set[Path]

    def read(self, text: str, name: str) -> None:
        """Marks of this file and, after them, of those that it reads in."""
        bare = "\n".join(_COMMENT.sub(r"\1", line) for line in text.split("\n"))
        self.marks += _marks_in(bare, name)
        for found in _INPUT.finditer(bare):
            target, line = (found[1] or found[2] or "").strip(), bare.count("\n", 0, found.start()) + 1
            path, why = _beside(target, self.folder)
            if path is None:
                self.not_read.append(f"{name}:{line}: {target}: {why}")
            elif path not in self.seen:
                if len(self.seen) >= MAX_FILES:
                    raise InputError(f"{name}:{line}: more than {MAX_FILES:,} files are read in")
                self.seen.add(path)
                self.read(_text_of(path), str(self.shown / path.relative_to(self.folder)))


def _beside(target: str, folder: Path) -> tuple[Path | None, str]:
    """The file in the paper's folder, or below it, that TeX would read; else None and why."""
    if "\\" in target or "\0" in target or not target:
        return None, "not a plain name"
    for name in (f"{target}.tex", target):
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            return None, "outside the paper's folder, so it is not read"
        if path.is_file():
            return path, ""
    return None, "not in the paper's folder"


def _text_of(file: Path) -> str:
    try:
        if not file.is_file():
            raise InputError(f"{file}: {'not a file' if file.exists() else 'there is no such file'}")
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no LaTeX file is")
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def _marks_in(text: str, file: str) -> Iterator[Mark]:
    for found in _MARK.finditer(text):
        key, after = _argument(text, found.end())
        opening = re.compile(r"\s*\{").match(text, after)
        printed, _ = _argument(text, opening.end()) if key is not None and opening else (None, after)
        line = text.count("\n", 0, found.start()) + 1
        if key is None or printed is None:
            raise InputError(rf"{file}:{line}: \ablate needs two arguments, a key and a number: \ablate{{KEY}}{{NUMBER}}")
        yield Mark(file, line, re.sub(r"\s", "", key), " ".join(printed.split()))


def _argument(text: str, start: int) -> tuple[str | None, int]:
    """What stands from here to the brace that closes, and where that ends; None where none does."""
    depth, place = 1, start
    while place < len(text):
        character = text[place]
        if character == "\\":
            place += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if not depth:
                return text[start:place], place + 1
        place += 1
    return None, start
