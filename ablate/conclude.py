"""What a study in the store says: its effects, the verdicts on its claims, and its law. The one place where frames meet analysis."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from ablate.analysis.arm_effects import ArmEffects, arm_effects
from ablate.analysis.effects import USABLE, Effect, adjust, level_effects, paired_trials
from ablate.analysis.factors import FactorEffects, factor_effects, vary_together
from ablate.analysis.importance import Importance, forest_importance
from ablate.analysis.lr_law import LawReport
from ablate.analysis.verdicts import Verdict, verdicts
from ablate.arm_names import base_note, with_names
from ablate.axes import Axis
from ablate.conditions import Condition, ConditionError, Unknown, parse_condition
from ablate.design import search_space
from ablate.deviations import Registration, design_blocks, design_text, moment, registration, seeds_text
from ablate.difference import value_text
from ablate.errors import InputError
from ablate.fields import config_names, lookup_in, lookup_in_parts
from ablate.fingerprint import fingerprint
from ablate.guards import Guards, guards_of
from ablate.history import trained_with, versions_text
from ablate.metric_scales import scales_of
from ablate.report import MAX_CURVE_ARMS, Smallest, StudyDesign, StudyReport
from ablate.results import KEYS, at_baselines, curves_frame, law_runs, results_frame
from ablate.spent import study_spent
from ablate.stores import Store, StudyRecord, TrialRecord, find_study
from ablate.study import Claim, Contrast, Metric, Study
from ablate.study_law import law_so_far
from ablate.tables import read_csv, sense
from ablate.trainers import IMPORTED, trainer_of

SHOTS = (0, 4, 8)
LOWER_IS_BETTER = ("loss", "error", "perplexity", "ppl")
"""In a metric's name: it takes a goal to be judged."""
LOWER_IS_BETTER_WORDS = {"bpb", "bpc", "bpt", "cer", "entropy", "fid", "mae", "mse", "nats", "nll", "rmse", "ter", "wer", "xent"}
"""The same as words of their own: `answer` holds no WER."""
MADE_WITH = ("ablate", "device", "python", "torch", "trainer's commit", "transformers")
"""What a report says of how the trials were trained, beside whatever not all of them share."""


@dataclass(frozen=True)
class Conclusion:
    """All that a study's finished trials say so far."""

    record: StudyRecord
    study: Study
    results: pd.DataFrame
    effects: tuple[Effect, ...]
    """Every level of every axis against the axis's baseline, on the study's metric: one family."""
    verdicts: tuple[Verdict, ...]
    law: LawReport | None
    """None where the study has no `law:` section, or nothing to fit yet (`law_missing` says what)."""
    law_missing: str
    law_runs: pd.DataFrame | None
    """What the law is fitted to; None where the study has no `law:` section."""
    registration: Registration
    """When it was declared, and what was edited since."""
    guards: Guards
    """Noise, confounds, and what else keeps an effect from being overread."""

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study.name,
            **self.registration.to_json(),
            "metric": self.study.metric.name,
            "goal": self.study.metric.goal,
            "simulated": self.record.simulated,
            "effects": [asdict(effect) for effect in self.effects],
            "verdicts": [
                {
                    "lesson": verdict.claim.lesson,
                    "claim": verdict.statement,
                    "verdict": verdict.verdict,
                    "reason": verdict.reason,
                    "seeds": verdict.seeds,
                    "seeds_range": verdict.seeds_range,
                    "p": verdict.p,
                    "p_holm": verdict.p_holm,
                    "effect": asdict(verdict.effect) if verdict.effect else None,
                }
                for verdict in self.verdicts
            ],
            **self.guards.to_json(),
        }


def conclude(store: Store, name: str, *, trials: Sequence[TrialRecord] | None = None) -> Conclusion:
    """Raises InputError for an unknown study. One with nothing finished has no effects, and its claims are inconclusive.

    `trials`: the study's, where they were read already.
    """
    record, trials = find_study(store, name), store.trials(name) if trials is None else trials
    frame = results_frame(store, name, trials=trials)
    paired = at_baselines(frame, axes=record.axes)
    study = Study.model_validate(record.spec)
    runs = law_runs(trials, law=study.law, metric=study.metric.name, axes=record.axes) if study.law else None
    law, missing = law_so_far(study, runs)
    effects = _effects(paired, axes=record.axes, metric=study.metric)
    return Conclusion(
        record=record,
        study=study,
        results=frame,
        effects=effects,
        verdicts=judge_claims(study, paired, axes=record.axes, trials=trials),
        law=law,
        law_missing=missing,
        law_runs=runs.frame if runs else None,
        registration=registration(store, name, trials=trials),
        guards=guards_of(study, results=paired, axes=record.axes, trials=trials, effects=effects),
    )


def judge_claims(
    study: Study, paired: pd.DataFrame, *, axes: Mapping[str, Sequence[Any]], trials: Sequence[TrialRecord]
) -> tuple[Verdict, ...]:
    """A verdict a claim. `paired`: the results as effects pair them; `axes`: axis -> levels, the baseline first."""
    kept = trials_where(study, trials)
    return verdicts(paired, claims=_labelled(study), metric=study.metric, levels=axes, kept=kept)


def claim_trials(store: Store, name: str, *, which: str) -> pd.DataFrame:
    """The trials behind the verdict on each claim that `which` names, by its number from 1 or by its lesson: a row a trial, pair by pair,
    with the value that was compared. Raises InputError for a claim that is not there."""
    trials = store.trials(name)
    conclusion = conclude(store, name, trials=trials)
    axes, kept = conclusion.record.axes, trials_where(conclusion.study, trials)
    paired = at_baselines(conclusion.results, axes=axes)
    found = []
    for number, verdict in enumerate(conclusion.verdicts, 1):
        claim, effect = verdict.claim, verdict.effect
        if which not in (str(number), claim.lesson) or effect is None:
            continue
        frame = paired if claim.when is None else paired[paired["trial"].isin(kept[claim.when])]
        level, baseline = effect.level, effect.baseline
        rows = paired_trials(frame, axis=effect.axis, level=level, baseline=baseline, metric=effect.metric, axes=tuple(axes))
        found.append(rows[[*KEYS, *axes]].assign(claim=verdict.statement, metric=effect.metric, value=rows[effect.metric]))
    if found:
        return pd.concat(found)[["claim", *KEYS, *axes, "metric", "value"]]
    names = [f"{number}{f' or {one.claim.lesson}' if one.claim.lesson else ''}" for number, one in enumerate(conclusion.verdicts, 1)]
    why = f"nothing is compared yet by claim {which}" if any(which in name.split(" or ") for name in names) else f"no claim '{which}'"
    raise InputError(f"{why} in {name} (its claims: {', '.join(names) or 'none'})")


def study_factors(results: pd.DataFrame, *, axes: Mapping[str, Sequence[Any]], metric: str) -> FactorEffects | None:
    """Main effects and interactions; None where no two axes vary together, or too little has finished."""
    frame, varying = _factorial(results, axes=axes)
    if metric not in frame or len(varying) < 2 or not vary_together(frame, factors=varying):
        return None
    try:
        return factor_effects(frame, factors=varying, metric=metric)
    except InputError:
        return None  # nothing but one level has finished


def study_importance(results: pd.DataFrame, *, axes: Mapping[str, Sequence[Any]], metric: str) -> Importance:
    """Importance by fANOVA, which takes seconds. Raises InputError where there is too little to go on."""
    frame, varying = _factorial(results, axes=axes)
    return forest_importance(frame, factors=varying, metric=metric)


def study_report(store: Store, name: str) -> StudyReport:
    """What the HTML page says of a study."""
    trials = store.trials(name)
    conclusion = conclude(store, name, trials=trials)
    study, record = conclusion.study, conclusion.record
    curves = curves_frame(store, name, metrics=None if conclusion.results["arm"].nunique() <= MAX_CURVE_ARMS else ())
    states: dict[str, int] = {}
    for state in conclusion.results["state"]:
        states[state] = states.get(state, 0) + 1
    jobs = store.jobs(name)
    return StudyReport(
        study=study.name,
        question=study.question,
        simulated=record.simulated,
        metric=study.metric.name,
        goal=study.metric.goal,
        results=with_names(conclusion.results, trials=trials, axes=record.axes),
        curves=with_names(curves, trials=trials, axes=record.axes),
        base=base_note(trials, axes=record.axes),
        effects=conclusion.effects,
        verdicts=conclusion.verdicts,
        law=conclusion.law,
        states=states,
        spent=study_spent(store, study, trials=store.standings(name), since=record.created),
        provenance=_provenance(conclusion, made_with=trained_with(store, [job.id for job in jobs])),
        fingerprint=fingerprint(dict(record.spec)),
        updated=moment(record.updated),
        design=_declared(conclusion),
        axes=tuple(axis for axis, levels in record.axes.items() if len(levels) > 1),
        metrics=shot_family(study.metric.name, known=list(conclusion.results.columns)),
        scales=scales_of(record.spec),
        law_runs=conclusion.law_runs,
        target=study.law.target if study.law else None,
        registration=conclusion.registration,
        stale=len(store.stale_trials(name)),
        smallest=_smallest(conclusion.guards) if conclusion.effects else None,
        factors=study_factors(conclusion.results, axes=record.axes, metric=study.metric.name),
        warnings=conclusion.guards.cautions,
    )


def shot_family(metric: str, *, known: Collection[str]) -> tuple[str, ...]:
    """`few_shot/4` with its siblings at 0, 4 and 8 shots, as far as they were measured; any other metric alone."""
    family, slash, _ = metric.rpartition("/")
    siblings = tuple(f"{family}/{shots}" for shots in SHOTS if f"{family}/{shots}" in known)
    return siblings if slash and metric in siblings else (metric,)


def csv_effects(path: Path, *, baseline: str, metric: str, goal: str, within: float | None = None) -> ArmEffects:
    """Effects of runs made elsewhere: `arm, seed, <metric>`. Without a goal more is better, unless the metric's name speaks against it."""
    frame = read_csv(path)
    if not baseline or not metric:
        raise InputError(f"{path}: a CSV needs --baseline ARM and --metric NAME (columns: {', '.join(map(str, frame.columns))})")
    words = set(re.split(r"[^a-z]+", metric.lower()))
    if not goal and (any(word in metric.lower() for word in LOWER_IS_BETTER) or words & LOWER_IS_BETTER_WORDS):
        raise InputError(f"{metric}: say which way is better: --goal min (or --goal max)")
    return arm_effects(frame, baseline=baseline, metric=metric, goal=sense(goal or "max"), within=within)


def _factorial(results: pd.DataFrame, *, axes: Mapping[str, Sequence[Any]]) -> tuple[pd.DataFrame, list[str]]:
    """The trials as effects pair them, and the axes that vary among the finished ones."""
    frame = at_baselines(results, axes=axes)
    done = frame[frame["state"].isin(USABLE)]
    return frame, [axis for axis in axes if done[axis].nunique() > 1]


def _effects(frame: pd.DataFrame, *, axes: Mapping[str, list[Any]], metric: Metric) -> tuple[Effect, ...]:
    if metric.name not in frame:
        return ()
    found: list[Effect] = []
    for axis, levels in axes.items():
        if len(levels) > 1 and levels[0] in set(frame[axis]):
            found += level_effects(frame, axis=axis, baseline=levels[0], metric=metric.name, axes=list(axes))
    return adjust(found)


def trials_where(study: Study, trials: Sequence[TrialRecord]) -> dict[str, set[str]]:
    """Condition of a claim -> the trials in which it is true."""
    config = trainer_of(study).Config
    names = config_names(config)
    kept: dict[str, set[str]] = {}
    for claim in study.claims:
        if claim.when is None or claim.when in kept:
            continue
        try:
            condition = parse_condition(claim.when, names=names.names, open_names=names.open_names)
            kept[claim.when] = {trial.id for trial in trials if _holds(condition, config, trial.config)}
        except ConditionError as error:
            raise InputError(f"claim on {claim.axis}: when: {error}") from None
    return kept


def _holds(condition: Condition, config: type[BaseModel], written: Mapping[str, Any]) -> bool:
    """False where a name has no value, as in another kind of connector."""
    try:
        lookup = lookup_in(config.model_validate(dict(written)))
    except ValidationError:
        lookup = lookup_in_parts(config, written)  # a trial of an older version of the trainer
    try:
        return condition.holds(lookup)
    except Unknown:
        return False


def _labelled(study: Study) -> list[Claim]:
    """The claims with levels as results show them: a data mix given as shares becomes its ratio."""
    axes = {axis.name: axis for axis in search_space(study)} if study.claims else {}

    def labels(contrast: Claim | Contrast) -> dict[str, Any]:
        return {key: _label(axes[contrast.axis], getattr(contrast, key)) for key in ("level", "against")}

    return [
        claim.model_copy(update=labels(claim) | {"than": claim.than and claim.than.model_copy(update=labels(claim.than))})
        for claim in study.claims
    ]


def _label(axis: Axis, written: Any) -> Any:
    choice = axis.find(written) if isinstance(written, Mapping) else None
    return choice.label if choice else written


def _provenance(conclusion: Conclusion, *, made_with: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    shown = {name: versions for name, versions in made_with.items() if name in MADE_WITH or len(versions) > 1}
    versions = {f"trained with {name}": versions_text(found) for name, found in shown.items()}
    versions |= {f"written with {package}": version(package) for package in ("ablate", "plotly", "scipy")}
    return {"trainer": conclusion.study.trainer} | versions


def _declared(conclusion: Conclusion) -> StudyDesign:
    study = conclusion.study
    axes = {axis: [str(level) for level in levels] or [value_text(study.axes.get(axis))] for axis, levels in conclusion.record.axes.items()}
    return StudyDesign(
        kind="as it was run elsewhere" if study.trainer == IMPORTED else design_text(design_blocks(study)),
        axes={axis: tuple(levels) for axis, levels in axes.items()},
        where=study.where,
        seeds=seeds_text(study.seeds),
        claims=tuple(_claim_text(verdict) for verdict in conclusion.verdicts),
    )


def _claim_text(verdict: Verdict) -> str:
    """With its margin, which the statement of a claim of order leaves out."""
    within = verdict.claim.within
    if within is None or f"within ±{within:g}" in verdict.statement:
        return verdict.statement
    return f"{verdict.statement}; a difference within ±{within:g} does not matter"


def _smallest(guards: Guards) -> Smallest:
    return Smallest(guards.mde, guards.mde_pooled, guards.paired.df if guards.paired else 0)
