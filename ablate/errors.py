"""What can go wrong, and the exit code that says so.

AblateError                1   finished, but something failed
├── InputError             2   bad input: every problem at once, nothing was changed
├── EnvironmentMissing     3   a package, device, store or lease that is not there
└── Interrupted          130   stopped by a signal, resumable
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a text a person wrote, and where; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class AblateError(Exception):
    """Root of the errors a person should read without a traceback."""

    exit_code = 1


class InputError(AblateError, ValueError):
    """Bad input. Holds every problem found; `str()` is one line a problem, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(sorted(set(problems)))
        super().__init__(problems if isinstance(problems, str) else "\n".join(map(str, self.problems)))


class EnvironmentMissing(AblateError):
    """Something this machine lacks; the message says how to mend it."""

    exit_code = 3


class Interrupted(AblateError):
    """A signal ended the run; the message says how to go on."""

    exit_code = 130


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no allowed word is close."""
    close = difflib.get_close_matches(found, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
