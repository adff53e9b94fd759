"""A claim, written down before the runs, meets the results and becomes a verdict with its numbers.

The difference is `level` minus `against`, paired by seed (see effects.py), on the metric's raw value whatever its goal.

| claim      | verdict      | when                                                                                    |
|------------|--------------|-----------------------------------------------------------------------------------------|
| increases  | equivalent   | a margin `within` is given and the 90 % interval lies inside it: too small to matter    |
| (decreases | supported    | else the 95 % interval lies above 0                                                     |
| mirrored)  | contradicted | else the 95 % interval lies below 0                                                     |
|            | inconclusive | else                                                                                    |
| equivalent | supported    | the 90 % interval lies inside the margin (two one-sided tests at 5 %)                   |
|            | contradicted | the 95 % interval lies wholly outside the margin, on either side                        |
|            | inconclusive | else, and without a margin                                                              |
| best_level | contradicted | some other level is better (Holm over the other levels, 5 %)                            |
|            | supported    | else it is better than each other level (same family), or worse by less than the margin |
|            | inconclusive | else                                                                                    |
| larger_    | equivalent   | a margin is given and the 95 % interval of A - B, or that of A + B, lies inside it      |
| effect_    | supported    | else |A| > |B|: A' - B > 0 and A' + B > 0, each one-sided at 2.5 %, A' = sign(A) A      |
| than       | contradicted | else |B| > |A| by the same test                                                         |
|            | inconclusive | else                                                                                    |
| interior_  | supported    | a level between the ends is better than both: the worse of its two one-sided p, Holm    |
| optimum    |              | over the levels between (2.5 %); with `level` that one alone is tried                   |
|            | contradicted | else an end is better than every level tried: its worst one-sided p, Holm over the two  |
|            |              | ends (2.5 %)                                                                            |
|            | inconclusive | else                                                                                    |

`equivalent` is thus the verdict of a claim of order or size only; a claim of equivalence that holds is `supported`.
Without an interval (one seed, identical differences) nothing is decided.
For `larger_effect_than` A is the claim's own difference and B that of `than`, each averaged over its cells. Why these tests: compound.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, NamedTuple

import pandas as pd
from scipy import special

from ablate.analysis.compound import compare_sizes, locate_best
from ablate.analysis.effects import Effect, adjust, holm, level_effects, seed_differences
from ablate.analysis.power import ALPHA, MAX_SEEDS
from ablate.analysis.settling import Seeds, Settling, seeds_as_good, seeds_for_difference, seeds_for_distance, settles
from ablate.analysis.statements import Sides, between, change, levels_of, listed, numeric, sides_of, statement, than_of
from ablate.errors import did_you_mean
from ablate.model import Level
from ablate.quantities import LONG, decimals, interval_text, minus
from ablate.study import Claim, Metric

Outcome = Literal["supported", "contradicted", "equivalent", "inconclusive"]
EQUIVALENCE_CONFIDENCE = 0.9


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    verdict: Outcome
    effect: Effect | None
    """The difference that decided it: for `best_level` that to the closest rival, for `interior_optimum` that to the closer end, for
    `larger_effect_than` the claim's own."""
    reason: str
    """One sentence with the numbers; for `inconclusive` also what would settle it."""
    statement: str
    """The claim in words, its defaults filled in."""
    seeds: int | None = None
    """That would settle what is inconclusive, in all, if it is as it looks; None where that is above 1,000 or cannot be told."""
    seeds_range: tuple[int | None, int | None] | None = None
    """The same at both ends of the SD's 95 % interval; None where it is not known."""
    p: float | None = None
    """Of what is decided, taken alone, as a p whose line is 5 %; None where nothing is."""
    p_holm: float | None = None
    """The same over all claims of the study, of which those that are open count as 1 (Holm 1979)."""

    @property
    def beside(self) -> str:
        """What the reason says beside the effect's own numbers, for whoever shows these already."""
        return self.reason.removeprefix(numbers_of(self.effect)).lstrip(";, ") if self.effect else self.reason


class Decision(NamedTuple):
    """What a test of one claim comes to."""

    outcome: Outcome
    effect: Effect | None
    reason: str
    seeds: int | None = None
    seeds_range: tuple[int | None, int | None] | None = None
    p: float | None = None


def verdicts(
    results: pd.DataFrame,
    *,
    claims: Iterable[Claim],
    metric: Metric,
    levels: Mapping[str, Sequence[Level]],
    kept: Mapping[str, Collection[str]] | None = None,
    unit: str = "",
) -> tuple[Verdict, ...]:
    """One verdict a claim, in their order. `kept`: a claim's condition -> the trials in which it is true."""

    def about(claim: Claim) -> pd.DataFrame:
        return results if claim.when is None else results[results["trial"].isin((kept or {})[claim.when])]

    return family(judge(claim, results=about(claim), metric=metric, levels=levels, unit=unit) for claim in claims)


def family(judged: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """With Holm's p over the claims, which were declared together. A verdict stays what its own interval says; where it would not stand
    among so many claims, its reason says so."""
    judged = tuple(judged)
    corrected = holm([1.0 if verdict.p is None else verdict.p for verdict in judged]) if judged else []
    return tuple(
        verdict if verdict.p is None else _in_family(verdict, p_holm=p_holm, claims=len(judged))
        for verdict, p_holm in zip(judged, corrected, strict=True)
    )


def _in_family(verdict: Verdict, *, p_holm: float, claims: int) -> Verdict:
    weak = f"; taken alone: over the {claims} claims of the study Holm's p is {p_holm:.2g}" if p_holm >= ALPHA else ""
    return replace(verdict, p_holm=p_holm, reason=verdict.reason + weak)


def judge(
    claim: Claim,
    *,
    results: pd.DataFrame,
    metric: Metric,
    levels: Mapping[str, Sequence[Level]],
    unit: str = "",
    confidence: float = 0.95,
) -> Verdict:
    """`levels`: for every axis its labels as in the results, the baseline first, the rest in the author's order.

    A claim's own levels must be labels too: whoever reads the study file turns a data mix into a ratio. Of a claim with `when` the results
    hold only the trials in which it is true. The study's goal is taken to hold for a claim's own metric; `best_level` and
    `interior_optimum` need it.
    """
    data = _Data(results, claim.metric or metric.name, tuple(levels), confidence)
    said = statement(claim, levels=levels, metric=metric.name)
    decided = data.missing(claim) or _decide(data, claim, levels, goal=metric.goal, unit=unit)
    return Verdict(claim, decided.outcome, decided.effect, decided.reason, said, decided.seeds, decided.seeds_range, decided.p)


def settling(found: Iterable[Verdict], *, metric: str) -> tuple[Settling, ...]:
    """For each inconclusive claim the seeds that would settle it, in all and beyond those there are. `metric`: the study's own."""
    return tuple(_settling(verdict, metric=verdict.claim.metric or metric) for verdict in found if verdict.verdict == "inconclusive")


def _settling(verdict: Verdict, *, metric: str) -> Settling:
    now = verdict.effect.n if verdict.effect else 0
    if verdict.seeds is not None:
        more, note = max(0, verdict.seeds - now), "if the difference is as it looks, with power 0.8" + _maybe_nothing(verdict.effect)
    elif now == 1:
        more, note = 1, "a second seed gives a first estimate of the noise"
    else:
        more, note = None, verdict.reason
    return Settling(verdict.statement, metric, now, verdict.seeds, more, verdict.seeds_range, note)


def _maybe_nothing(effect: Effect | None) -> str:
    """Seeds for a difference that lies inside its own error are bought for what may be nothing."""
    if effect is None or effect.mean_diff is None or not effect.se or abs(effect.mean_diff) > effect.se:
        return ""
    return "; but it is smaller than its standard error and may be nothing: a margin (`within`) would let fewer seeds show that"


def _decide(data: "_Data", claim: Claim, levels: Mapping[str, Sequence[Level]], *, goal: Literal["min", "max"], unit: str) -> "Decision":
    known = levels_of(claim.axis, levels)
    if claim.expect == "interior_optimum":
        return _interior(data, claim.axis, between(claim, known), known, goal=goal, unit=unit)
    sides = sides_of(claim, known)
    if claim.expect == "larger_effect_than":
        return _larger(data, sides, than_of(claim, levels), within=claim.within, unit=unit)
    return _simple(data, claim, sides, goal=goal, unit=unit)


def numbers_of(effect: Effect, *, unit: str = "", confidence: float | None = None) -> str:
    """`+39.1 points [35.2, 43.0], n = 3 seeds`; two digits of the interval's half width, three of a bare mean."""
    if effect.mean_diff is None:
        return f"nothing to compare, n = {effect.n} seeds"
    interval = effect.ci if confidence is None else effect.interval(confidence)
    count = f"n = {effect.n} {'seed' if effect.n == 1 else 'seeds'}"
    if interval is None:
        return f"{signed(effect.mean_diff)}{unit and ' ' + unit}, no interval, {count}"
    long = max(map(abs, interval)) >= LONG
    mean = signed(effect.mean_diff) if long else minus(f"{effect.mean_diff:+.{decimals(interval)}f}")
    return f"{mean}{unit and ' ' + unit} {interval_text(interval)}, {count}"


def signed(value: float) -> str:
    return minus(f"{value:+.3g}")


class _Data(NamedTuple):
    """What every test of one claim looks at."""

    results: pd.DataFrame
    metric: str
    axes: tuple[str, ...]
    confidence: float

    def missing(self, claim: Claim) -> Decision | None:
        """Why nothing can be compared yet."""
        if claim.when and self.results.empty:
            return Decision("inconclusive", None, f"no trial where {claim.when}")
        if self.metric in self.results:
            return None
        close = did_you_mean(self.metric, [str(column) for column in self.results.columns])
        return Decision("inconclusive", None, f"no finished trial has reported {self.metric}{close}")

    def effects(self, axis: str, *, baseline: Level, of: Sequence[Level] | None = None) -> dict[Level, Effect]:
        """Level -> the effect `level` minus `baseline`; none at all while the baseline has no trial yet."""
        frame = self.results if of is None or axis not in self.results else self.results[self.results[axis].isin([*of, baseline])]
        if axis in frame and not frame[axis].isin([baseline]).any():
            return {}
        found = level_effects(frame, axis=axis, baseline=baseline, metric=self.metric, axes=self.axes, level=self.confidence)
        return {effect.level: effect for effect in found}

    def difference(self, sides: Sides) -> Effect | None:
        return self.effects(sides.axis, baseline=sides.against, of=[sides.level]).get(sides.level)

    def by_seed(self, sides: Sides) -> dict[int, float]:
        return seed_differences(
            self.results, axis=sides.axis, level=sides.level, baseline=sides.against, metric=self.metric, axes=self.axes
        )


def _simple(data: _Data, claim: Claim, sides: Sides, *, goal: Literal["min", "max"], unit: str) -> Decision:
    """The kinds of claim that compare one level with another, or with each other one."""
    if claim.expect == "best_level":
        effects = adjust(effect.reversed() for effect in data.effects(claim.axis, baseline=sides.level).values())
        return _best(effects, goal=goal, within=claim.within, alpha=1 - data.confidence, unit=unit)
    effect = data.difference(sides)
    if effect is None:
        return _no_trial(sides)
    if claim.expect == "equivalent":
        return _equivalence(effect, within=claim.within, unit=unit)
    return judge_order(effect, sign=1 if claim.expect == "increases" else -1, within=claim.within, unit=unit)


def _no_trial(sides: Sides) -> Decision:
    return Decision("inconclusive", None, f"no trial at {sides.level!r}")


def _larger(data: _Data, sides: Sides, other: Sides, *, within: float | None, unit: str) -> Decision:
    own, rival = data.difference(sides), data.difference(other)
    if own is None or rival is None:
        return Decision("inconclusive", own, f"no trial at {change(sides if own is None else other)}")
    sizes = compare_sizes(data.by_seed(sides), data.by_seed(other), metric=data.metric, within=within, confidence=data.confidence)
    said = f"{numbers_of(own, unit=unit)}, against {numbers_of(rival, unit=unit)}; larger by {numbers_of(sizes.excess, unit=unit)}"
    match sizes.order:
        case "alike":
            return Decision("equivalent", own, f"{said}, inside ±{within:g}", p=sizes.p)
        case "larger":
            return Decision("supported", own, said, p=sizes.p)
        case "smaller":
            return Decision("contradicted", own, said, p=sizes.p)
    if not sizes.excess.ci:
        return Decision("inconclusive", own, f"{said}; {sizes.excess.note}")
    return Decision("inconclusive", own, f"{said}; {_seeds(sizes.seeds)}", sizes.seeds)


def _interior(
    data: _Data, axis: str, tried: Sequence[Level], known: Sequence[Level], *, goal: Literal["min", "max"], unit: str
) -> Decision:
    ends = [end(numeric(known)) for end in (min, max)]
    found = locate_best(
        tried, ends={end: data.effects(axis, baseline=end, of=tried) for end in ends}, goal=goal, confidence=data.confidence
    )
    if found is None:
        return Decision("inconclusive", None, f"no level between {ends[0]} and {ends[1]} was measured with the same seeds as both")
    sign = 1 if goal == "max" else -1
    closest = min(found.against, key=lambda effect: sign * (effect.mean_diff or 0.0) / (effect.se or 1.0))
    holm = "" if found.p is None else f", one-sided Holm p = {found.p:.2g} over"
    if found.place == "end":
        said = f"{found.best} is better than {listed(tried)}; closest is {closest.baseline}: {numbers_of(closest, unit=unit)}{holm} 2 ends"
        return Decision("contradicted", closest, said, p=_doubled(found.p))
    said = f"{found.best}: " + " and ".join(f"{numbers_of(effect, unit=unit)} against {effect.baseline}" for effect in found.against)
    if found.p is not None:
        said += f"{holm} {len(tried)} {'level' if len(tried) == 1 else 'levels'}"
    if found.place == "inside":
        return Decision("supported", closest, said, p=_doubled(found.p))
    return Decision("inconclusive", closest, f"{said}; {closest.note if found.p is None else _seeds(found.seeds)}", found.seeds)


def judge_order(effect: Effect, *, sign: int, within: float | None, unit: str = "") -> Decision:
    """The claim that the level's metric is higher (`sign` 1) or lower (-1) than the baseline's."""
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    if within is not None and narrow and -within < narrow[0] and narrow[1] < within:
        inside = f"{numbers_of(effect, unit=unit, confidence=EQUIVALENCE_CONFIDENCE)} (90 %), inside ±{within:g}"
        return Decision("equivalent", effect, inside, p=effect.p_within(within))
    said = numbers_of(effect, unit=unit)
    if effect.ci is None:
        return Decision("inconclusive", effect, f"{said}; {effect.note}")
    low, high = sorted((sign * effect.ci[0], sign * effect.ci[1]))
    if low > 0:
        return Decision("supported", effect, said, p=effect.p)
    if high < 0:
        return Decision("contradicted", effect, said, p=effect.p)
    return _open(effect, said, seeds_for_difference(effect))


def _open(effect: Effect, said: str, seeds: Seeds | None) -> Decision:
    if seeds is None:
        return Decision("inconclusive", effect, f"{said}; {effect.note}")
    return Decision("inconclusive", effect, f"{said}; {settles(seeds)}", seeds.likely, (seeds.low, seeds.high))


def _equivalence(effect: Effect, *, within: float | None, unit: str) -> Decision:
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    said = numbers_of(effect, unit=unit)
    if within is None:
        return Decision("inconclusive", effect, f"{said}; no margin: `within` says how small a difference does not matter")
    if narrow is None or effect.ci is None:
        return Decision("inconclusive", effect, f"{said}; {effect.note}")
    if -within < narrow[0] and narrow[1] < within:
        inside = f"{numbers_of(effect, unit=unit, confidence=EQUIVALENCE_CONFIDENCE)} (90 %), inside ±{within:g}"
        return Decision("supported", effect, inside, p=effect.p_within(within))
    if effect.ci[0] > within or effect.ci[1] < -within:
        p = _doubled(1 - (effect.p_within(within) or 0.0))
        return Decision("contradicted", effect, f"{said}, wholly outside ±{within:g}", p=p)
    return _open(effect, f"{said}, against ±{within:g}", seeds_for_distance(effect, within=within))


def _best(effects: Sequence[Effect], *, goal: Literal["min", "max"], within: float | None, alpha: float, unit: str) -> Decision:
    measured = [effect for effect in effects if effect.mean_diff is not None]
    if not measured:
        return Decision("inconclusive", None, "no other level has a trial with the same seed")
    sign = 1 if goal == "max" else -1
    rival = min(measured, key=lambda effect: sign * (effect.mean_diff or 0.0))
    said = f"closest is {rival.baseline}: {numbers_of(rival, unit=unit)}"
    if rival.ci is not None and rival.p_holm is not None:
        said += f", Holm p = {rival.p_holm:.2g} over {len(effects)}"
    beaten = [effect for effect in measured if effect.p_holm is not None and effect.p_holm < alpha and sign * (effect.mean_diff or 0) < 0]
    if beaten:
        return Decision("contradicted", rival, said, p=min(effect.p_holm or 0.0 for effect in beaten))
    if all(_as_good(effect, sign=sign, within=within, alpha=alpha) for effect in effects):
        p = max(_p_as_good(effect, sign=sign, within=within) for effect in effects)
        return Decision("supported", rival, said + ("" if within is None else f", margin {within:g}"), p=p)
    open_ = [effect for effect in effects if not _as_good(effect, sign=sign, within=within, alpha=alpha)]
    needs = [seeds_as_good(effect, sign=sign, within=within, alpha=alpha / len(effects)) for effect in open_]
    known = [need for need in needs if need is not None]
    most = max(known, key=lambda need: inf if need.likely is None else need.likely) if len(known) == len(needs) else None
    return _open(rival, said, most)


def _as_good(effect: Effect, *, sign: int, within: float | None, alpha: float) -> bool:
    if effect.p_holm is None or effect.mean_diff is None:
        return False
    narrow = effect.interval(EQUIVALENCE_CONFIDENCE)
    not_worse = within is not None and narrow is not None and min(sign * narrow[0], sign * narrow[1]) > -within
    return not_worse or (effect.p_holm < alpha and sign * effect.mean_diff > 0)


def _p_as_good(effect: Effect, *, sign: int, within: float | None) -> float:
    """The smaller of those that it is better, and that it is worse by less than the margin."""
    better = effect.p_holm if effect.p_holm is not None and sign * (effect.mean_diff or 0.0) > 0 else 1.0
    if within is None or effect.mean_diff is None or not effect.se:
        return better
    return min(better, float(special.stdtr(effect.df, -(within + sign * effect.mean_diff) / effect.se)))


def _doubled(p: float | None) -> float | None:
    """Of a one-sided test at 2.5 %."""
    return None if p is None else min(1.0, 2 * p)


def _seeds(needed: int | None) -> str:
    if needed is None:
        return f"over {MAX_SEEDS:,} seeds would be needed if it is as it looks"
    return f"about {needed} seeds would settle it if the difference is as it looks (power 0.8)"
