"""What a paper may quote of a study: every number of its tables under a key that stays its own while the study is what it is.

    STUDY/AXIS=LEVEL/QUANTITY/METRIC      an effect
    STUDY/claim-AXIS-HASH/QUANTITY/METRIC a verdict; the hash is of the claim's words, so that an edited claim is another one
    STUDY/law/QUANTITY/METRIC             the law

A key holds letters, digits and `. _ : + , - = /` only, so that TeX takes it as a macro's argument anywhere; other characters are `@` and
the hexadecimal number of each byte.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ablate.analysis.effects import Effect
from ablate.analysis.verdicts import Verdict
from ablate.fingerprint import fingerprint_of
from ablate.quantities import LONG, decimals
from ablate.report import StudyReport

PLAIN = re.compile(rb"[A-Za-z0-9._:+,-]")
SHORT_HASH = 6
SMALL_P = 0.001
"""Below it a p is printed as smaller than this."""


@dataclass(frozen=True)
class PaperNumber:
    key: str
    value: float | str | None
    """A word for a verdict; None where the study has no such number."""
    text: str
    """As tables print it, in ASCII; empty where there is none."""


Numbers = Mapping[str, PaperNumber]
"""Quantity -> number."""


def paper_numbers(reports: Iterable[StudyReport]) -> dict[str, PaperNumber]:
    """Key -> number, of all that tables of these studies print."""
    found: dict[str, PaperNumber] = {}
    for report in reports:
        groups = [effect_numbers(report, effect) for effect in report.effects]
        groups += [verdict_numbers(report, verdict) for verdict in report.verdicts]
        groups.append(law_numbers(report))
        found |= {number.key: number for group in groups for number in group.values()}
    return found


def effect_numbers(report: StudyReport, effect: Effect) -> Numbers:
    """`size` is the difference without its sign, for sentences such as "falls by 2.1"."""
    place = f"{key_part(report.study)}/{key_part(effect.axis)}={key_part(str(effect.level))}"
    places = _places(effect)
    texts = _difference_texts(effect) | {
        "mean": (effect.level_mean, _text(effect.level_mean, places)),
        "baseline": (effect.baseline_mean, _text(effect.baseline_mean, places)),
        "p": (effect.p, _p_text(effect.p)),
        "p_holm": (effect.p_holm, _p_text(effect.p_holm)),
        "g": (effect.hedges_g, "" if effect.hedges_g is None else f"{effect.hedges_g:.2f}"),
    }
    return _keyed(place, effect.metric, texts)


def verdict_numbers(report: StudyReport, verdict: Verdict) -> Numbers:
    place = f"{key_part(report.study)}/claim-{key_part(verdict.claim.axis)}-{fingerprint_of(verdict.statement)[:SHORT_HASH]}"
    texts: dict[str, tuple[float | str | None, str]] = {
        "verdict": (verdict.verdict, verdict.verdict),
        "p_holm": (verdict.p_holm, _p_text(verdict.p_holm)),
    }
    if verdict.effect is not None:
        texts |= _difference_texts(verdict.effect)
    return _keyed(place, verdict.claim.metric or report.metric, texts)


def law_numbers(report: StudyReport) -> Numbers:
    """Nothing where no law was fitted."""
    fit, prediction = (report.law.fit, report.law.prediction) if report.law else (None, None)
    if fit is None:
        return {}
    error = fit.se_slope
    places = 3 if error is None else decimals((-error, error))
    texts: dict[str, tuple[float | str | None, str]] = {
        "slope": (fit.slope, _text(fit.slope, places)),
        "slope_se": (error, _text(error, places)),
        "sizes": (len(fit.used), str(len(fit.used))),
    }
    if prediction is not None:
        low, high = prediction.interval or (None, None)
        rates = {"rate": prediction.lr, "rate_low": low, "rate_high": high}
        texts |= {name: (rate, "" if rate is None else f"{rate:.2e}") for name, rate in rates.items()}
    return _keyed(f"{key_part(report.study)}/law", report.metric, texts)


def key_part(text: str, *, slashes: bool = False) -> str:
    """The text in a key's letters; only the metric, which stands last, keeps its slashes."""
    kept = [bytes([byte]) for byte in text.encode()]
    return "".join(byte.decode() if PLAIN.fullmatch(byte) or (slashes and byte == b"/") else f"@{byte.hex()}" for byte in kept)


def _keyed(place: str, metric: str, texts: Mapping[str, tuple[float | str | None, str]]) -> Numbers:
    tail = key_part(metric, slashes=True)
    return {quantity: PaperNumber(f"{place}/{quantity}/{tail}", value, text) for quantity, (value, text) in texts.items()}


def _difference_texts(effect: Effect) -> dict[str, tuple[float | str | None, str]]:
    places, mean = _places(effect), effect.mean_diff
    low, high = effect.ci or (None, None)
    half = None if low is None or high is None else (high - low) / 2
    size = None if mean is None else abs(mean)
    numbers = {"size": size, "interval": half, "low": low, "high": high}
    texts: dict[str, tuple[float | str | None, str]] = {quantity: (value, _text(value, places)) for quantity, value in numbers.items()}
    signed = _text(mean, places)
    return texts | {"difference": (mean, f"+{signed}" if mean is not None and mean > 0 else signed), "n": (effect.n, str(effect.n))}


def _places(effect: Effect) -> int | None:
    """Decimals that show two digits of the interval's half width; None without one."""
    return None if effect.ci is None else decimals(effect.ci)


def _text(value: float | None, places: int | None) -> str:
    if value is None:
        return ""
    if abs(value) >= LONG or places is None:
        return f"{value:.4g}"
    return f"{value:.{places}f}"


def _p_text(value: float | None) -> str:
    if value is None:
        return ""
    return f"< {SMALL_P}" if value < SMALL_P else f"{value:.3f}"
