"""What is kept of the attempts of a trial or a job: what they wrote, how they ended, and where their numbers come from."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.deviations import moment
from ablate.errors import InputError
from ablate.quantities import counted
from ablate.stores import AttemptRecord, Store, TrialRecord
from ablate.workspace import Workspace

SHOWN_COMMIT = 12


def trials_of_jobs(store: Store, text: str) -> dict[str, list[TrialRecord]]:
    """The last job of each trial whose id begins so, or else the job of this id, with the trials that use it. Raises InputError."""
    names = [record.name for record in store.studies()]
    trials = [row for name in names for row in (*store.trials(name), *(stale.trial for stale in store.stale_trials(name)))]
    jobs = {row.chain[-1] for row in trials if row.id.startswith(text)} or {job for row in trials for job in row.chain if job == text}
    if not jobs:
        raise InputError(f"no trial '{text}' in the store; `ablate status STUDY` lists them")
    return {job: [row for row in trials if job in row.chain] for job in sorted(jobs)}


def attempt_numbers(store: Store, jobs: Collection[str], *, wanted: int | None) -> dict[str, int]:
    """Job -> its last attempt, 0 where it has not begun, or the wanted one. Raises InputError where there was no such attempt."""
    states = store.job_states(jobs)
    last = {job: states[job][1] for job in jobs}
    if wanted is None:
        return last
    problems = [f"{job} has no attempt {wanted}: {_there(number)}" for job, number in last.items() if wanted > number]
    if problems:
        raise InputError("\n".join(problems))
    return dict.fromkeys(last, wanted)


def attempt_text(store: Store, job: str, number: int, *, workspace: Workspace) -> str:
    """What an attempt wrote and how it ended, or where to look for that."""
    if not number:
        return f"-- {job}: it has not begun"
    folder, record = workspace.attempt(job, number), next((one for one in store.attempts([job]) if one.number == number), None)
    title = f"-- {job}, attempt {number}{f', {_ended(record)}' if record else ''}"
    log = folder / "log.txt"
    if log.exists():
        return f"{title}\n-- {log}\n{log.read_text(encoding='utf-8', errors='replace').rstrip() or '(it wrote nothing)'}"
    if record and record.host and not folder.exists():
        return f"{title}\n(it ran on {record.host}, outside this workspace, and its log stayed where it ran)"
    return f"{title}\n(it wrote nothing)"


@dataclass(frozen=True)
class PastAttempt:
    """An attempt that ended."""

    record: AttemptRecord
    diff: Path | None
    """The uncommitted changes it trained with; None where there were none, or they are not in this workspace."""

    @property
    def git(self) -> Mapping[str, Any]:
        """Commit, whether there were changes, files git does not know; empty outside a repository, or where that is not kept."""
        found: Mapping[str, Any] = (self.record.details or {}).get("git", {})
        return found

    @property
    def devices(self) -> Sequence[str]:
        found: Sequence[str] = (self.record.details or {}).get("devices", ())
        return found

    def to_json(self) -> dict[str, Any]:
        record = self.record
        said = {"job": record.job, "number": record.number, "state": record.state, "cause": record.cause, "reason": record.reason}
        said |= {"host": record.host or None, "started": record.started or None, "seconds": record.seconds}
        return said | {"git": dict(self.git), "diff": None if self.diff is None else str(self.diff), "devices": list(self.devices)}

    def row(self) -> dict[str, Any]:
        """The same in a line of a table."""
        record = self.record
        return {
            "job": record.job,
            "attempt": record.number,
            "state": record.state,
            "cause": record.cause,
            "host": record.host or None,
            "started": moment(record.started) if record.started else None,
            "seconds": record.seconds,
            "commit": self.commit,
            "device": ", ".join(self.devices) or None,
        }

    @property
    def commit(self) -> str | None:
        """Its beginning, and whether there were changes on top of it."""
        if "commit" not in self.git:
            return None
        changed = " dirty" if self.git.get("dirty") else "" if "dirty" in self.git else ", changes not known"
        return f"{str(self.git['commit'])[:SHOWN_COMMIT]}{changed}"


def past_attempts(store: Store, jobs: Iterable[str], *, workspace: Workspace | None) -> tuple[PastAttempt, ...]:
    """Every attempt of these jobs whose end is recorded, by job in the given order and number. Without a workspace no changes are found."""
    order = list(jobs)
    records = sorted(store.attempts(order), key=lambda record: (order.index(record.job), record.number))
    return tuple(PastAttempt(record, _diff_of(record, workspace)) for record in records)


def _diff_of(record: AttemptRecord, workspace: Workspace | None) -> Path | None:
    digest = (record.details or {}).get("git", {}).get("diff_sha256")
    return kept if workspace and digest and (kept := workspace.diff(digest)).exists() else None


def trained_with(store: Store, jobs: Iterable[str]) -> dict[str, dict[str, int]]:
    """What the numbers of these jobs were made with: interpreter, package, commit or device -> version -> how many jobs.

    A package counts where the attempt had it in memory. More than one version says that these numbers were not all made alike.
    """
    made = {record.job: record.details for record in store.attempts(jobs) if record.state == "done" and record.details}
    found: dict[str, dict[str, int]] = {}
    for details in made.values():
        for name, value in _ingredients(details):
            versions = found.setdefault(name, {})
            versions[value] = versions.get(value, 0) + 1
    return {name: dict(sorted(versions.items())) for name, versions in sorted(found.items())}


def versions_text(versions: Mapping[str, int]) -> str:
    """`2.12.0 (3 jobs), 2.13.0 (9 jobs)`, or the one there is."""
    if len(versions) == 1:
        return next(iter(versions))
    return ", ".join(f"{version} ({counted(jobs, 'job')})" for version, jobs in versions.items())


def mixtures(made_with: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """A line for each part of which `trained_with` saw several versions."""
    return tuple(f"{name}: {versions_text(versions)}" for name, versions in made_with.items() if len(versions) > 1)


def _ingredients(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from details.get("packages", {}).items()
    if "python" in details:
        yield "python", details["python"]
    git = details.get("git", {})
    if "commit" in git:
        changes = f" with changes {str(git.get('diff_sha256', ''))[:8]}".rstrip() if git.get("dirty") else ""
        yield "trainer's commit", str(git["commit"])[:SHOWN_COMMIT] + changes
    if devices := details.get("devices"):
        yield "device", ", ".join(devices)


def _there(last: int) -> str:
    match last:
        case 0:
            return "it has not begun"
        case 1:
            return "there is attempt 1 only"
    return f"there are attempts 1 to {last}"


def _ended(record: AttemptRecord) -> str:
    cause = f" ({record.cause})" if record.cause else ""
    return record.state + cause + (f": {record.reason}" if record.reason else "")
