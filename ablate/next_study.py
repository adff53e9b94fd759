"""What to run next in a study, for its law and to settle its open claims, and the study file that runs it.

The file is the study itself, going on: what it has stays as it is, so that `run` executes the new trials alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isclose, log
from pathlib import Path
from typing import Any

from ablate.analysis.lr_law import TARGET
from ablate.analysis.next_runs import NextRun, NextRuns, Per, next_runs
from ablate.analysis.optima import Cell
from ablate.analysis.settling import Settling
from ablate.analysis.statements import Sides, between, levels_of, numeric, sides_of, than_of
from ablate.analysis.verdicts import Verdict, settling
from ablate.conclude import conclude, trials_where
from ablate.errors import InputError, did_you_mean
from ablate.model import MAX_SEED, Level
from ablate.results import FINAL, law_cell
from ablate.stores import Store, TrialRecord
from ablate.study import Claim, Law, Study
from ablate.study_law import Asked, csv_law_runs, form_of
from ablate.tables import naming, sense
from ablate.trainers import IMPORTED
from ablate.yaml_text import yaml_text

HEADER = """What `ablate next` proposes for the study '{name}', which this goes on with under its own name: keep it beside the study's file.
`ablate plan` shows what it costs, `ablate run` executes what is not done yet."""
ENDED = (*FINAL, "failed", "stale")
NOTHING = "the study '{name}' has neither a law nor an inconclusive claim, so no run would settle anything; it has {claims} claims"
TABLE = "nothing of it runs here; add these to its runs once they are made, and read or import it again"


@dataclass(frozen=True)
class OpenClaim:
    """What it would take to settle a claim."""

    settling: Settling
    arms: tuple[Mapping[str, Level], ...]
    """Whose levels the claim compares, as axis -> level."""
    seeds: tuple[int, ...]
    """New ones for each of them; empty where it cannot be told how many."""
    train_flops: float | None
    """Of all new trials, by those of the arms' own; None where that is not known."""
    seconds: float | None
    """Of their last stages on one slot, by the finished trials of these arms."""

    @property
    def trials(self) -> int:
        return len(self.arms) * len(self.seeds)

    def to_json(self) -> dict[str, Any]:
        cost = {"trials": self.trials, "train_flops": self.train_flops, "seconds": self.seconds}
        return self.settling.to_json() | {"new_seeds": list(self.seeds)} | cost


@dataclass(frozen=True)
class Next:
    """For a study or a table."""

    law: NextRuns | None
    """None where there is no law to narrow, and `law_note` says why."""
    law_note: str
    claims: tuple[OpenClaim, ...]
    file: str
    """YAML: the study file that runs it, or of a table the runs; empty where nothing is new."""

    def to_json(self) -> dict[str, Any]:
        law = self.law.to_json() if self.law else {"runs": [], "stop": None, "reason": self.law_note, "sd": None, "warnings": []}
        return law | {"claims": [claim.to_json() for claim in self.claims]}


def study_next(store: Store, name: str, asked: Asked, *, count: int, per: str) -> Next:
    """For the law of a study that declares one, and for each of its claims that is inconclusive. Refused where there is neither."""
    conclusion = conclude(store, name)
    study, trials = conclusion.study, store.trials(name)
    law, note = None, "the study declares no law"
    if study.law is not None and conclusion.law_runs is not None:
        metric, target = study.metric, study.law.target if asked.target is None else asked.target
        how: dict[str, Any] = {
            "target": target,
            "at": asked.at,
            "form": form_of(asked.form or study.law.form),
            "count": count,
            "per": _per(per),
        }
        try:
            law, note = next_runs(conclusion.law_runs, metric=metric.name, goal=metric.goal, **how), ""
        except InputError as error:
            if not conclusion.verdicts:
                raise
            note = str(error)
    flops = {job.id: job.train_flops for job in store.jobs(name)}
    claims = open_claims(study, conclusion.verdicts, trials=trials, axes=conclusion.record.axes, flops=flops)
    if law is None and not claims:
        raise InputError(NOTHING.format(name=name, claims=len(conclusion.verdicts) or "no"))
    runs = () if law is None or law.stop else law.runs
    if not runs and not any(claim.seeds for claim in claims):
        file = ""
    elif study.trainer == IMPORTED:  # nothing of it runs here
        file = _runs_file(runs, of=name)
    else:
        file = _study_file(conclusion.record.spec, conclusion.record.axes, trials, law=study.law, runs=runs, claims=claims)
    return Next(law, note, claims, file)


def open_claims(
    study: Study,
    verdicts: Sequence[Verdict],
    *,
    trials: Sequence[TrialRecord],
    axes: Mapping[str, list[Level]],
    flops: Mapping[str, float],
) -> tuple[OpenClaim, ...]:
    """What each inconclusive claim would take. `axes`: axis -> its levels, the baseline first; `flops`: of each job."""
    open_ = [verdict for verdict in verdicts if verdict.verdict == "inconclusive"]
    kept = trials_where(study, trials) if open_ else {}
    return tuple(
        _open_claim(verdict, need, trials=trials, kept=kept, axes=axes, flops=flops)
        for verdict, need in zip(open_, settling(open_, metric=study.metric.name), strict=True)
    )


def csv_next(path: Path, asked: Asked, *, metric: str, goal: str, count: int, per: str) -> Next:
    """For the law of runs made elsewhere: `n_params, lr, seed, <metric>` and optionally `status`, `tokens` and `batch_tokens`."""
    target, form = TARGET if asked.target is None else asked.target, form_of(asked.form or "N")
    frame, better, by = csv_law_runs(path, metric=metric), sense(goal), _per(per)
    with naming(path):
        found = next_runs(frame, metric=metric, goal=better, target=target, at=asked.at, form=form, count=count, per=by)
    return Next(found, "", (), "" if found.stop else _runs_file(found.runs, of=path.name))


def _runs_file(runs: Iterable[NextRun], *, of: str) -> str:
    rows = [{name: value for name, value in run.to_json().items() if name not in ("cost", "sd", "gain")} for run in runs]
    return yaml_text({"runs": rows}, header=f"What `ablate next` proposes for {of}: {TABLE}.")


def _open_claim(
    verdict: Verdict,
    need: Settling,
    *,
    trials: Sequence[TrialRecord],
    kept: Mapping[str, set[str]],
    axes: Mapping[str, list[Level]],
    flops: Mapping[str, float],
) -> OpenClaim:
    claim = verdict.claim
    about = _compared(claim, [trial for trial in trials if claim.when is None or trial.id in kept[claim.when]], axes)
    arms = {trial.arm: _levels(trial) for trial in about}
    waiting = {trial.seed for trial in about if trial.state not in ENDED}  # their ends may settle it
    seeds = _unused({trial.seed for trial in about}, max(0, (need.more or 0) - len(waiting)))
    each = _flops_of_a_seed(about, all_trials=trials, flops=flops)
    seconds = [trial.seconds for trial in about if trial.state in FINAL and trial.seconds is not None]
    return OpenClaim(
        need,
        tuple(arms.values()),
        seeds,
        train_flops=len(seeds) * each if each and seeds else None,
        seconds=len(seeds) * len(arms) * sum(seconds) / len(seconds) if seconds and seeds else None,
    )


def _flops_of_a_seed(trials: Sequence[TrialRecord], *, all_trials: Sequence[TrialRecord], flops: Mapping[str, float]) -> float | None:
    """What a new seed of these arms trains, each job once: not what seeds share, which is there. None where a job's FLOPs are not known."""
    seeds_of: dict[str, set[int]] = {}
    for trial in all_trials:
        for job in trial.chain:
            seeds_of.setdefault(job, set()).add(trial.seed)
    found = []
    for seed in {trial.seed for trial in trials}:
        own = [flops[job] for job in {job for trial in trials if trial.seed == seed for job in trial.chain} if len(seeds_of[job]) == 1]
        if not all(own):
            return None
        found.append(sum(own))
    return max(found, default=None)


def _compared(claim: Claim, trials: Sequence[TrialRecord], axes: Mapping[str, list[Level]]) -> list[TrialRecord]:
    """The trials at whose levels the claim looks, in the cells of the other axes where it can compare them."""
    known = levels_of(claim.axis, axes)
    match claim.expect:
        case "best_level":
            level = sides_of(claim, known).level
            pairs = [Sides(claim.axis, level, other) for other in known if other != level]
        case "interior_optimum":
            ends = [end(numeric(known)) for end in (min, max)]
            pairs = [Sides(claim.axis, level, end) for level in between(claim, known) for end in ends]
        case "larger_effect_than":
            pairs = [sides_of(claim, known), than_of(claim, axes)]
        case _:
            pairs = [sides_of(claim, known)]
    found = {trial.id for pair in pairs for trial in _in_both(pair, trials, axes)}
    return [trial for trial in trials if trial.id in found]


def _in_both(pair: Sides, trials: Sequence[TrialRecord], axes: Mapping[str, list[Level]]) -> Iterable[TrialRecord]:
    """Those of the cells that both levels have; an axis that does not apply stands at its baseline, as effects pair them."""
    cells: dict[tuple[Level, ...], dict[Level, list[TrialRecord]]] = {}
    for trial in trials:
        levels = {axis: trial.levels.get(axis) if trial.levels.get(axis) is not None else known[0] for axis, known in axes.items() if known}
        at = levels.pop(pair.axis)
        if at in (pair.level, pair.against):
            cells.setdefault(tuple(levels.values()), {}).setdefault(at, []).append(trial)
    return (trial for sides in cells.values() if len(sides) == 2 for some in sides.values() for trial in some)


def _unused(seeds: set[int], count: int) -> tuple[int, ...]:
    fresh = (seed for seed in range(MAX_SEED) if seed not in seeds)
    return tuple(seed for seed, _ in zip(fresh, range(count), strict=False))


def _study_file(
    spec: Mapping[str, Any],
    axes: Mapping[str, list[Level]],
    trials: Sequence[TrialRecord],
    *,
    law: Law | None,
    runs: Sequence[NextRun],
    claims: Sequence[OpenClaim],
) -> str:
    """The study as it was declared, with the proposed arms and seeds."""
    study = Study.model_validate(spec)
    written = {key: value if key in ("base", "axes") else _said(value) for key, value in spec.items()}
    written = {key: value for key, value in written.items() if value not in (None, [], {}, False)}
    blocks: list[dict[str, Any]] = list(written["design"])
    if runs and law:
        rate = law.hyperparameter
        new = [(_arm_at(run, trials, law=law), run.seed) for run in runs]
        own = spec["axes"][rate]
        listed = own.get("list") if isinstance(own, Mapping) else own  # as the author wrote it: its order is no deviation
        levels = [*(listed or axes[rate]), *(level for level in dict.fromkeys(arm[rate] for arm, _ in new) if level not in axes[rate])]
        written["axes"] = {**spec["axes"], rate: _relisted(spec["axes"][rate], levels)}
        # arm by arm: a grid would take the new rates at every size, and a condition could leave the proposed arms out
        blocks = [*_listed((_levels(trial), trial.seed) for trial in trials), *_listed(new)]
        written.pop("where", None)
    blocks += _listed((arm, seed) for claim in claims for arm in claim.arms for seed in claim.seeds)
    for block in blocks:
        if block.get("seeds") == list(study.seeds):
            del block["seeds"]
    return yaml_text(written | {"design": blocks}, header=HEADER.format(name=study.name))


def _said(value: Any) -> Any:
    """Without what the author left out."""
    if isinstance(value, Mapping):
        return {key: _said(part) for key, part in value.items() if part is not None}
    return [_said(part) for part in value] if isinstance(value, list | tuple) else value


def _listed(trials: Iterable[tuple[Mapping[str, Level], int]]) -> list[dict[str, Any]]:
    """Blocks of listed arms, one for each set of seeds."""
    seeds: dict[tuple[tuple[str, Level], ...], list[int]] = {}
    for arm, seed in trials:
        own = seeds.setdefault(tuple(arm.items()), [])
        own.extend([seed] if seed not in own else [])
    blocks: dict[tuple[int, ...], list[dict[str, Level]]] = {}
    for levels, own in seeds.items():
        blocks.setdefault(tuple(own), []).append(dict(levels))
    return [{"kind": "list", "arms": arms, "seeds": list(own)} for own, arms in blocks.items()]


def _levels(trial: TrialRecord) -> dict[str, Level]:
    return {axis: level for axis, level in trial.levels.items() if level is not None}


def _arm_at(run: NextRun, trials: Sequence[TrialRecord], *, law: Law) -> dict[str, Level]:
    """A trial of that cell at the run's rate, which is one of the study's where it is one."""
    near = min(trials, key=lambda trial: _apart(law_cell(trial, law=law), run.cell))
    rates = [trial.levels[law.hyperparameter] for trial in trials]
    same = (rate for rate in rates if isinstance(rate, float) and isclose(rate, run.lr, rel_tol=1e-9))
    return _levels(near) | {law.hyperparameter: next(same, float(f"{run.lr:.6g}"))}


def _apart(cell: Mapping[str, float], other: Cell) -> float:
    """In ln units; cells of one study differ by more than what was measured of them does."""
    return sum(abs(log(cell[name] / value)) if cell[name] > 0 else inf for name, value in other._asdict().items() if value is not None)


def _relisted(axis: Any, levels: Sequence[Level]) -> Any:
    """The axis with these levels, its condition kept."""
    when = axis.get("when") if isinstance(axis, Mapping) else None
    return list(levels) if when is None else {"list": list(levels), "when": when}


def _per(text: str) -> Per:
    if text in ("run", "flop"):
        return "run" if text == "run" else "flop"
    raise InputError(f"--per {text}: run or flop{did_you_mean(text, ('run', 'flop'))}")
