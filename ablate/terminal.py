"""What a person sees in a terminal: one live table while a study runs (plain lines without a terminal), and the answers as tables."""

import functools
import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ablate.deviations import moment
from ablate.difference import differences, value_text
from ablate.quantities import counted

if TYPE_CHECKING:
    from ablate.identity import Comparison, Explanation, StageView
    from ablate.progress import Progress
    from ablate.record import Summary

PLAIN_SECONDS = 10.0
PIPE_WIDTH = 2000
STYLE = {"done": "green", "running": "cyan", "failed": "red", "lost": "red", "queued": "dim", "pruned": "yellow", "stale": "yellow"}


class _Audience:
    """Standard output for as long as there is one: a terminal that was closed, or a reader that has gone, ends no run."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError:
            # what is still in the stream's buffer has to go somewhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def console(*, stderr: bool = False) -> Console:
    """Names and reasons are data: no markup, no highlighting. A file or a pipe has no width, so nothing is folded there."""
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=PIPE_WIDTH)


class RunScreen:
    """Shows a run's progress; a context manager, because a live table has to give the terminal back."""

    def __init__(self) -> None:
        self._console = console()
        self._console.file = cast("IO[str]", _Audience(self._console.file))
        self._live = Live(console=self._console, refresh_per_second=4, transient=True) if self._console.is_terminal else None
        self._said = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> "RunScreen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def wait(self, doing: str) -> None:
        """Something is under way that says nothing itself, until there is progress to watch."""
        if self._live:
            self._live.update(Spinner("dots", doing))
        else:
            self.say(doing)

    def watch(self, progress: "Progress") -> None:
        if self._live:
            self._live.update(_live_table(progress))
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            self.say(f"[{duration(time.monotonic() - self._began)}] {_line(progress)}")

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def total(self, summaries: "Sequence[Summary]") -> None:
        """The work of several studies together."""
        work = [summary.work for summary in summaries if summary.work]
        if len(work) > 1:
            whole = functools.reduce(operator.add, work)
            self.say(f"together: {duration(whole.ended - whole.began)}, slots busy {whole.busy:.0%} of the time")

    def summary(self, summary: "Summary", *, command: str, options: str) -> None:
        total = sum(summary.counts.values())
        self.say(f"{summary.study}: {_counted(summary.counts)} of {total} trials; {_work(summary)}")
        for trial, reason in summary.failures[:20]:
            self._console.print(Text.assemble(("  failed ", "red"), f"{trial}: {reason}"), soft_wrap=True)
        if len(summary.failures) > 20:
            self.say(f"  and {len(summary.failures) - 20} more (ablate status {summary.study}{options})")
        if summary.failures:
            self.say(f"  why: ablate logs TRIAL{options}; try them again: ablate retry {summary.study}{options}")
        if summary.refused_rows:
            rows = counted(summary.refused_rows, "row")
            self.say(f"  {rows} of metrics refused, so a value before may have counted as the last: why: ablate logs TRIAL{options}")
        if summary.stale:
            trials = "trial is" if summary.stale == 1 else "trials are"
            self.say(f"  {summary.stale} {trials} stale: ended, not in this plan any more, kept, and left out of every result")
            self.say(f"  which: ablate status {summary.study}{options}; what moved: ablate explain TRIAL{options}")
        if summary.deviations:
            edits = "1 deviation" if summary.deviations == 1 else f"{summary.deviations} deviations"
            self.say(f"  {edits} from what was first declared: ablate effects {summary.study}{options}")
        if summary.resumable:
            why = "interrupted" if summary.ended_by == "signal" else "the study's wall_minutes are used up"
            self.say(f"{why}: what is finished is kept; go on with: {command}")


def show_rows(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> None:
    """Records with the same keys as a table; a missing value is a dash."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for position, key in enumerate(rows[0] if rows else ()):
        numeric = all(isinstance(row[key], int | float | None) for row in rows)
        table.add_column(key, justify="right" if numeric and position else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(number(value), style=STYLE.get(str(value), "")) for value in row.values()))
    console().print(table)


def show_explanation(explanation: "Explanation") -> None:
    """What a trial or a job is made of."""
    out, subject = console(), explanation.subject
    if subject.kind == "trial":
        place, trial = subject.place, subject.place.trial
        also = f" (also in {', '.join(subject.also_in)})" if subject.also_in else ""
        out.print(Text.assemble((subject.id, "bold"), ": ", (place.state, STYLE.get(place.state, ""))), soft_wrap=True)
        out.print(f"study {place.study}{also}, arm {trial.arm}, seed {trial.seed}", soft_wrap=True)
        changes = ", ".join(f"{path} = {value_text(value)}" for path, value in trial.changes.items())
        out.print(f"the base with {changes}" if changes else "the base itself", soft_wrap=True)
    else:
        used = ", ".join(place.trial.id for place in subject.places[:8]) + (", ..." if len(subject.places) > 8 else "")
        out.print(Text.assemble((subject.id, "bold"), f": a job, used by {used or 'no trial any more'}"), soft_wrap=True)
    for stage in subject.stages:
        _print_stage(out, stage)
    if explanation.stale and subject.place.stale_since is not None:
        out.print()
        since = f" since {moment(subject.place.stale_since)}: "
        out.print(Text.assemble(("stale", STYLE["stale"]), since, explanation.stale), soft_wrap=True)
        if explanation.present:
            out.print("in the present plan (second) the same arm and seed differ from it (first) in", soft_wrap=True)
            _print_comparison(out, explanation.present)


def show_comparison(comparison: "Comparison") -> None:
    """What moved between two trials or jobs, and what they share."""
    out, first, second = console(), comparison.first, comparison.second
    for place, subject in (("first ", first), ("second", second)):
        trial = f", arm {subject.place.trial.arm}, seed {subject.place.trial.seed}" if subject.kind == "trial" else ""
        out.print(Text.assemble((place, "dim"), " ", (subject.id, "bold"), trial), soft_wrap=True)
    if first.id == second.id:
        out.print(f"these are the same {first.kind}")
    elif comparison.same:
        out.print("these are two names of the same jobs")
    else:
        _print_comparison(out, comparison)


def number(value: Any) -> str:
    """Four significant digits, or a dash for what is missing."""
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _print_stage(out: Console, stage: "StageView") -> None:
    sharing = "one trial" if stage.trials == 1 else f"{stage.trials} trials"
    out.print()
    out.print(Text.assemble((stage.stage, "bold"), f"  {stage.job}, {stage.state}, for {sharing}"), soft_wrap=True)
    if stage.identity is None:
        out.print("  what its id is made of was not recorded: the store is older than that", soft_wrap=True)
        return
    identity = stage.identity
    seed = "shared by all seeds" if identity["seed"] is None else f"seed {identity['seed']}"
    needs = ", ".join(identity["needs"].values())
    reads = f", reads {needs}" if needs else ""
    out.print(f"  trainer {identity['trainer']}, version {identity['version']}, {seed}{reads}", soft_wrap=True)
    fields = ", ".join(f"{moved.path} {value_text(moved.second)}" for moved in differences({}, identity["config"]))
    out.print(f"  config: {fields}", soft_wrap=True, style="dim")


def _print_comparison(out: Console, comparison: "Comparison") -> None:
    if comparison.fields:
        rows = [{"field": one.path, "first": value_text(one.first), "second": value_text(one.second)} for one in comparison.fields]
        show_rows(rows)
    out.print()
    for pair in comparison.stages:
        if pair.shared and pair.first:
            out.print(f"{pair.stage}: shared, {pair.first.job}", soft_wrap=True)
            continue
        jobs = " and ".join(view.job if view else "none" for view in (pair.first, pair.second))
        if pair.moved is None and pair.first and pair.second:
            why = "what moved is not known, the store is older than that"
        else:
            why = "; ".join(map(str, pair.moved or ()))
        out.print(f"{pair.stage}: {jobs}" + (f": {why}" if why else ""), soft_wrap=True)


def _live_table(progress: "Progress") -> Group:
    total, done = sum(progress.counts.values()), progress.counts.get("done", 0)
    head = Text.assemble((progress.study, "bold"), f"  {_line(progress).partition(': ')[2]}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("running", "time", "step", "newest"):
        table.add_column(column)
    for job in progress.running:
        newest = f"{job.last[0]} {number(job.last[1])}" if job.last else ""
        table.add_row(Text(job.label), duration(job.seconds), number(job.step), newest)
    bar = Table.grid()  # a bar alone ends without a new line
    bar.add_row(ProgressBar(total=max(total, 1), completed=done, width=60))
    return Group(head, bar, table)


def _line(progress: "Progress") -> str:
    total = sum(progress.counts.values())
    left = "" if progress.seconds_left is None else f", about {duration(progress.seconds_left)} left"
    return f"{progress.study}: {_counted(progress.counts)} of {total} trials{left}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in STYLE if counts.get(state)) or "0"


def _work(summary: "Summary") -> str:
    if not summary.work:
        return "nothing to run"
    return f"{_jobs(summary.executed)} in {duration(summary.seconds)}, slots busy {summary.work.busy:.0%} of the time"
