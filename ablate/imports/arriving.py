"""Declared runs enter a store: what is new of them is added, what is here stays, and a contradiction changes nothing.

A trial is known by its study, its levels and its seed. One that is done here and that its source tells with other metrics is refused.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.errors import InputError
from ablate.fingerprint import LENGTH, fingerprint, slug
from ablate.holding import held
from ablate.imports.declared import OTHERWISE, Declared, Known
from ablate.imports.placed import Trial
from ablate.imports.runs import DIVERGED_THERE, Found, listed, said
from ablate.journal import make_point
from ablate.stores import Store
from ablate.stores.rows import AttemptRow, DeclarationRow, IdentityRow, JobRow, MetricRow, PointRow, Row, StudyRow, TrialRow
from ablate.trainers import IMPORTED

OWNER = "ablate import"
ELSEWHERE = "elsewhere"
"""Host of a run whose source does not say where it ran."""
VERSION = "imported-1"


@dataclass(frozen=True)
class Arrived:
    study: str
    new: int
    """Trials that were not here."""
    changed: int
    """Trials that were here and of which the source says more now."""
    same: int
    gone: tuple[str, ...]
    """Trials here that the source has no more; they stay."""
    replaced: int
    """Trials of an earlier import that gave way."""
    states: Mapping[str, int]
    """State -> how many trials of the study."""
    is_changed: bool
    """Whether the store holds anything that it did not."""


@dataclass(frozen=True)
class _Here:
    """The study as the store has it."""

    study: StudyRow | None
    declarations: tuple[DeclarationRow, ...]
    trials: Mapping[str, TrialRow]
    """Job -> its trial."""
    jobs: Mapping[str, JobRow]
    metrics: Mapping[str, Mapping[str, tuple[float | None, str]]]
    runs: Mapping[str, str]
    """Job -> the run it was."""
    with_curves: frozenset[str]


def known_study(store: Store, name: str) -> Known | None:
    """What an earlier import left. Raises InputError where the name belongs to a study that was run."""
    record = store.study(name)
    if record is None:
        return None
    if record.spec.get("trainer") != IMPORTED:
        raise InputError(f"'{name}' is a study of the store that was run, not imported; choose another name with --as")
    seeds = {job: trial.seed for trial in store.standings(name) for job in trial.chain}
    told = [(attempt.job, attempt.details["imported"]) for attempt in store.attempts(seeds) if _run_of(attempt.details) and attempt.details]
    column = next((origin["seed_column"] for _, origin in told if origin.get("seed_column")), "")
    metric = next((origin["metric"] for _, origin in told if origin.get("metric")), record.spec["metric"]["name"])
    return Known(record.spec, record.axes, {origin["run"]: seeds[job] for job, origin in told}, column, metric)


def take_in(declared: Declared, found: Found, *, store: Store, known: Known | None, replace: bool = False) -> Arrived:
    """Raises InputError with every contradiction; then nothing was changed. `replace`: what is here gives way, and contradicts nothing."""
    name = declared.study.name
    with held(store, study=name, owner=OWNER) as (fenced, _):
        here = _here(fenced.rows(name))
        if (here.study.spec if here.study else None) != (known.spec if known else None):
            raise InputError(f"'{name}' was changed by somebody else meanwhile; import it again")
        return _take_in(declared, found, here=here, store=fenced, old=set(here.jobs) if replace else set())


def _take_in(declared: Declared, found: Found, *, here: _Here, store: Store, old: set[str]) -> Arrived:
    """`old`: jobs that give way."""
    name, problems, replaced = declared.study.name, list[str](), len(here.trials) if old else 0
    if old:
        here = _Here(here.study, here.declarations, {}, {}, {}, {}, frozenset())
    trials = {_job_id(name, trial): trial for trial in declared.trials}
    changed = set[str]()
    for job in trials.keys() & here.jobs.keys():
        differs, contradiction = _against(here, job, trials[job])
        changed |= {job} if differs else set()
        problems += [contradiction] if contradiction else []
    if problems:
        raise said(sorted(problems), about=found.source)
    new = [job for job in trials if job not in here.jobs]
    gone = [trial for job, trial in here.trials.items() if job not in trials]
    rows = [_trial_row(name, job, trial, place=place) for place, (job, trial) in enumerate(trials.items())]
    rows += [trial.model_copy(update={"place": len(trials) + number}) for number, trial in enumerate(gone)]
    spec = declared.study.model_dump(mode="json", by_alias=True)
    spec["seeds"] = sorted({*spec["seeds"], *(trial.seed for trial in gone)})
    told = here.study is None or (here.study.spec, here.study.axes) != (spec, dict(declared.axes)) or rows != list(here.trials.values())
    if told or changed or new:
        study = _study_rows(name, spec, declared, here=here)

        def all_rows() -> Iterator[Row]:
            fresh = [job for job in trials if job in changed or job not in here.jobs]
            yield from (_job_row(job, trials[job]) for job in fresh)
            yield from (IdentityRow(job=job, identity=_identity(name, trials[job])) for job in fresh)
            yield from study
            yield from rows
            yield from (row for job in fresh for row in _attempt_rows(job, trials[job], found, declared))
            yield from (row for job in fresh for row in _metric_rows(job, trials[job]))
            yield from (row for job in fresh for row in _point_rows(job, trials[job]))

        # also of new ones: a study that was replaced leaves its jobs behind, and one of them may come again
        store.add_rows(all_rows, study=name, jobs={*changed, *new, *old})
    states: dict[str, int] = {}
    for trial in declared.trials:
        states[trial.run.state] = states.get(trial.run.state, 0) + 1
    for row in gone:
        states[here.jobs[row.final].state] = states.get(here.jobs[row.final].state, 0) + 1
    same = len(trials) - len(new) - len(changed)
    return Arrived(name, len(new), len(changed), same, tuple(row.id for row in gone), replaced, states, told or bool(changed))


def _here(rows: Iterable[Row]) -> _Here:
    study: StudyRow | None = None
    declarations, trials = list[DeclarationRow](), dict[str, TrialRow]()
    jobs, runs, with_curves = dict[str, JobRow](), dict[str, str](), set[str]()
    metrics: dict[str, dict[str, tuple[float | None, str]]] = {}
    for row in rows:
        match row:
            case StudyRow():
                study = row
            case DeclarationRow():
                declarations.append(row)
            case TrialRow():
                trials[row.final] = row
            case JobRow():
                jobs[row.id] = row
            case AttemptRow():
                runs[row.job] = str(_run_of(row.details) or "")
            case MetricRow():
                metrics.setdefault(row.job, {})[row.key] = row.value, row.kind
            case PointRow():
                with_curves.add(row.job)
    ordered = dict(sorted(trials.items(), key=lambda item: item[1].place))
    return _Here(study, tuple(sorted(declarations, key=lambda row: row.seq)), ordered, jobs, metrics, runs, frozenset(with_curves))


def _run_of(details: Mapping[str, Any] | None) -> Any:
    return ((details or {}).get("imported") or {}).get("run")


def _against(here: _Here, job: str, trial: Trial) -> tuple[bool, str]:
    """Whether the source says something else of a trial than the store, and how that contradicts it."""
    old, before = here.jobs[job], here.metrics.get(job, {})
    now = {row.key: (row.value, row.kind) for row in _metric_rows(job, trial)}
    what = f"{trial.arm}, seed {trial.seed} ({trial.run.name})"
    if old.state == "done":
        if trial.run.state != "done":
            return True, f"{what}: it is done here, and its source says {trial.run.state} now; {OTHERWISE}"
        other = sorted(key for key in before.keys() & now.keys() if not _equal(before[key], now[key]))
        if other:
            return True, f"{what}: it is done here with another {listed(other, most=5)}; {OTHERWISE}"
    new = _job_row(job, trial)
    more = set(now) - set(before) or (trial.run.curves and job not in here.with_curves)
    return bool(more or (old.state, old.num_params, old.train_flops, old.reason) != (new.state, new.num_params, new.train_flops, new.reason)
                or (old.state != "done" and before != now)), ""  # fmt: skip


def _equal(left: tuple[float | None, str], right: tuple[float | None, str]) -> bool:
    """To the last bits: a table may have been written with fewer digits than a database has."""
    if left[0] is None or right[0] is None:
        return left == right
    return math.isclose(left[0], right[0], rel_tol=1e-12)


def _identity(study: str, trial: Trial) -> dict[str, Any]:
    config = {"study": study, "levels": dict(trial.levels)}
    return {"trainer": IMPORTED, "stage": IMPORTED, "version": VERSION, "config": config, "seed": trial.seed, "needs": {}}


def _job_id(study: str, trial: Trial) -> str:
    return f"{IMPORTED}-{fingerprint(_identity(study, trial))}"


def _job_row(job: str, trial: Trial) -> JobRow:
    run = trial.run
    ended = run.state != "queued"
    return JobRow(
        id=job,
        stage=IMPORTED,
        state=run.state,
        cause=_cause(trial),
        reason=run.reason,
        num_params=trial.num_params,
        train_flops=trial.train_flops,
        attempts=int(ended),
        started=run.started,
        seconds=run.seconds if ended else None,
    )


def _cause(trial: Trial) -> str | None:
    if trial.run.reason == DIVERGED_THERE:
        return "nan"
    return {"failed": "user", "lost": "lost", "pruned": "pruned"}.get(trial.run.state)


def _study_rows(name: str, spec: dict[str, Any], declared: Declared, *, here: _Here) -> Sequence[Row]:
    now = time.time()
    created = here.study.created if here.study else now
    axes = {axis: list(levels) for axis, levels in declared.axes.items()}
    rows: list[Row] = [StudyRow(name=name, spec=spec, axes=axes, simulated=False, created=created, updated=now)]
    if not here.declarations or here.declarations[-1].spec != spec:
        last = here.declarations[-1].seq if here.declarations else 0
        rows.append(DeclarationRow(study=name, seq=last + 1, time=now, spec=spec))
    return rows


def _trial_row(study: str, job: str, trial: Trial, *, place: int) -> TrialRow:
    return TrialRow(
        study=study,
        id=f"{slug(trial.arm)}.s{trial.seed}-{job[-LENGTH:-4]}",
        place=place,
        arm=trial.arm,
        seed=trial.seed,
        levels=dict(trial.levels),
        changes=dict(trial.changes),
        config=dict(trial.config),
        chain=[job],
        final=job,
    )


def _attempt_rows(job: str, trial: Trial, found: Found, declared: Declared) -> Iterator[AttemptRow]:
    """How it ended, and where it comes from."""
    run = trial.run
    if run.state == "queued":
        return
    origin = {"kind": found.kind, "source": found.source, "run": run.id, "name": run.name}
    origin |= {"metric": declared.metric, "seed_column": declared.seed_column}
    details: dict[str, Any] = {"imported": origin | ({"sha256": found.digest} if found.digest else {})}
    if run.commit:
        details["git"] = {"commit": run.commit}
    yield AttemptRow(
        job=job,
        number=1,
        state=run.state,
        cause=_cause(trial),
        reason=run.reason,
        started=run.started or 0.0,
        seconds=run.seconds,
        host=run.host or ELSEWHERE,
        pid=0,
        details=details,
    )


def _metric_rows(job: str, trial: Trial) -> Iterator[MetricRow]:
    curves = trial.curves
    for key, value in trial.metrics.items():
        points = curves.get(key)
        point = make_point(points[-1][0] if points else 0, key, value)
        yield MetricRow(job=job, key=key, step=point.step, value=point.value, kind=point.kind)


def _point_rows(job: str, trial: Trial) -> Iterator[PointRow]:
    for key, points in trial.curves.items():
        for step, value in points:
            point = make_point(step, key, value)
            yield PointRow(job=job, attempt=1, key=key, step=step, value=point.value, kind=point.kind)
