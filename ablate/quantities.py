"""Quantities as people read them: three digits and a unit."""

from collections.abc import Sequence
from math import floor, isfinite, log10

GIB = 2**30
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

LONG = 1e6
"""Numbers from here on are written with an exponent: nobody reads their digits."""
FAR = 1e3
"""Ratio of two ends of one sign from which each has three significant digits: the wide end has no decimals for the narrow one."""


def counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def large(count: int) -> str:
    """Three digits and a unit: 1.31B."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return "–" if count == 0 else str(count)


def money_text(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def scientific(value: float | None) -> str:
    if value is None:
        return "–"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def bytes_text(count: float | None) -> str:
    if count is None:
        return "–"
    for size, unit in ((GIB, "GiB"), (2**20, "MiB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"


def duration_text(seconds: float | None) -> str:
    """Two units at most: 3 d 4 h, 12 min 30 s, 0.25 s; an en dash for what is missing, never for none at all, which is 0 s."""
    if seconds is None or not isfinite(seconds):
        return "–"
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    place = next(place for place, (size, _) in enumerate(units) if round(seconds) >= size)
    (size, unit), (small, smaller) = units[place], units[place + 1]
    whole, rest = divmod(round(seconds / small), size // small)
    return f"{whole:,} {unit}" + (f" {rest} {smaller}" if rest else "")


def joined(*notes: str) -> str:
    """Notes as one, without those that are empty."""
    return "; ".join(note for note in notes if note)


def interval_text(interval: Sequence[float]) -> str:
    """`[39.9, 51.6]`, as every page, table and figure writes it."""
    return "[{}, {}]".format(*ends_text(interval))


def ends_text(interval: Sequence[float]) -> tuple[str, str]:
    """Both ends to the same place, that of two digits of the half width."""
    low, high = interval
    same_sign = low * high > 0
    if max(abs(low), abs(high)) >= LONG or (same_sign and not 1 / FAR < low / high < FAR):
        return minus(f"{low:.3g}"), minus(f"{high:.3g}")
    places = decimals(interval)
    return minus(f"{low:z.{places}f}"), minus(f"{high:z.{places}f}")


def decimals(interval: Sequence[float]) -> int:
    """Decimal places that show two digits of the half width."""
    half = (interval[1] - interval[0]) / 2
    return min(12, max(0, 1 - floor(log10(half) + 1e-9))) if half > 0 else 3


def minus(text: str) -> str:
    """With the minus sign of typography, which a browser does not break from its number."""
    return text.replace("-", "−")
