from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.analysis import compound
from ablate.analysis.compound import compare_sizes, locate_best
from ablate.analysis.effects import Effect, level_effects, paired_effect

STEADY = (0.0, 0.1, -0.1)
TIMES = 800
ERROR = 0.016
"""Two standard errors of a rate of 5 % over 800 draws; 0.011 of 2.5 %."""


def differences(mean: float, noise: tuple[float, ...] = STEADY) -> dict[int, float]:
    return {seed: mean + value for seed, value in enumerate(noise)}


def order(own: float, other: float, *, within: float | None = None) -> str:
    noise = (0.1, -0.1, 0.0)  # another order than STEADY's, so that the difference of two differences has a spread
    found = compare_sizes(differences(own), differences(other, noise), metric="score", within=within, confidence=0.95)
    return found.order


@pytest.mark.parametrize(
    ("own", "other", "within", "expected"),
    [
        (3.0, 1.0, None, "larger"),
        (-3.0, 1.0, None, "larger"),
        (3.0, -1.0, None, "larger"),
        (1.0, -3.0, None, "smaller"),
        (1.0, 1.0, None, "open"),
        (3.0, -3.0, None, "open"),
        (3.0, -3.0, 0.3, "alike"),  # the half width of the excess is 0.25: SD 0.1, t(0.975, 2) = 4.30
        (3.0, -3.0, 0.2, "open"),
        (3.0, 1.0, 2.6, "alike"),
        (0.0, 0.0, None, "open"),
    ],
)
def test_compare_sizes_looks_at_magnitudes_only(own: float, other: float, within: float | None, expected: str) -> None:
    assert order(own, other, within=within) == expected


def test_compare_sizes_pairs_by_seed() -> None:
    """The seeds' own shifts are ten times the excess and cancel."""
    own, other = {0: 10.0, 1: 20.1, 2: 29.9}, {0: 9.0, 1: 19.0, 2: 29.0}
    found = compare_sizes(own, other, metric="score", within=None, confidence=0.95)
    assert found.excess.ci == pytest.approx((1.0 - 0.2484, 1.0 + 0.2484), abs=1e-4)  # SD 0.1, t(0.975, 2) = 4.302653
    assert found.order == "open"  # but whether the sum is above 0 is as open as the seeds' shifts are wide
    assert found.seeds == 5


def test_compare_sizes_without_a_second_shared_seed_is_open_and_says_why() -> None:
    found = compare_sizes({0: 3.0, 1: 3.1}, {1: 1.0, 2: 1.1}, metric="score", within=9.0, confidence=0.95)
    assert (found.order, found.excess.n) == ("open", 1)
    assert "one seed" in found.excess.note


def sized(
    rng: np.random.Generator, *, seeds: int, means: tuple[float, float], sds: tuple[float, float], within: float | None = None
) -> str:
    own, other = (dict(enumerate(mean + sd * rng.normal(size=seeds))) for mean, sd in zip(means, sds, strict=True))
    return compare_sizes(own, other, metric="score", within=within, confidence=0.95).order


@pytest.fixture
def no_seeds_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many seeds would settle an open question is four fifths of the time of a draw, and no part of its outcome."""
    monkeypatch.setattr(compound, "seeds_needed", lambda *_, **__: None)


def rates(draw: Callable[[], str]) -> dict[str, float]:
    return {outcome: count / TIMES for outcome, count in Counter(draw() for _ in range(TIMES)).items()}


@pytest.mark.slow
@pytest.mark.usefixtures("no_seeds_needed")
@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(
    ("means", "sds", "bound"),
    [
        ((0.0, 0.0), (1.0, 0.01), 0.05),  # the tip of both cones, the worst case: found 4.3 % (3 seeds) and 5.2 % (10) of 2,000
        ((3.0, 3.0), (1.0, 1.0), 0.025),  # the edge of one cone: found 2.5 % and 1.8 %
        ((-3.0, 3.0), (1.0, 1.0), 0.025),  # found 2.8 % and 2.5 %
    ],
)
def test_compare_sizes_of_equal_effects_is_rarely_called_larger(
    seeds: int, means: tuple[float, float], sds: tuple[float, float], bound: float
) -> None:
    rng = np.random.default_rng(7)
    assert rates(lambda: sized(rng, seeds=seeds, means=means, sds=sds)).get("larger", 0.0) <= bound + ERROR


@pytest.mark.slow
@pytest.mark.usefixtures("no_seeds_needed")
def test_compare_sizes_at_the_margin_is_rarely_called_alike() -> None:
    """The worst case, where A - B and A + B err in opposite directions: found 5.4 % of 2,000."""
    rng = np.random.default_rng(7)
    assert rates(lambda: sized(rng, seeds=5, means=(1.0, 0.0), sds=(0.05, 0.3), within=1.0)).get("alike", 0.0) <= 0.05 + ERROR


@pytest.mark.slow
@pytest.mark.usefixtures("no_seeds_needed")
def test_compare_sizes_finds_three_times_the_size() -> None:
    """An excess of 2.8 of its own SDs: found 70 % with 3 seeds and 99.8 % with 5."""
    rng = np.random.default_rng(7)
    power = [rates(lambda n=seeds: sized(rng, seeds=n, means=(3.0, 1.0), sds=(0.5, 0.5))).get("larger", 0.0) for seeds in (3, 5)]
    assert power[0] > 0.65
    assert power[1] > 0.98


def levels_frame(values: dict[float, list[float]]) -> pd.DataFrame:
    rows = [
        {"seed": seed, "state": "done", "rate": rate, "score": value} for rate, found in values.items() for seed, value in enumerate(found)
    ]
    return pd.DataFrame(rows)


def located(values: dict[float, list[float]], *, goal: Any = "max") -> Any:
    frame, rates = levels_frame(values), sorted(values)
    ends: dict[Any, dict[Any, Effect]] = {
        end: {effect.level: effect for effect in level_effects(frame, axis="rate", baseline=end, metric="score")}
        for end in (rates[0], rates[-1])
    }
    return locate_best(list(rates[1:-1]), ends=ends, goal=goal, confidence=0.95)


def around(mean: float) -> list[float]:
    return [mean, mean + 0.1, mean - 0.1]


END = [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("values", "goal", "place", "best"),
    [
        ({1.0: END, 2.0: around(3.0), 3.0: END}, "max", "inside", 2.0),
        ({1.0: END, 2.0: around(-3.0), 3.0: END}, "min", "inside", 2.0),
        ({1.0: END, 2.0: around(3.0), 3.0: END}, "min", "end", 1.0),
        ({1.0: [9.0] * 3, 2.0: around(3.0), 3.0: END}, "max", "end", 1.0),
        ({1.0: END, 2.0: around(3.0), 3.0: around(5.0), 4.0: [9.0] * 3}, "max", "end", 4.0),
        ({1.0: END, 2.0: around(1.1), 3.0: END}, "max", "open", 2.0),
    ],
)
def test_locate_best_tells_inside_from_an_end(values: dict[float, list[float]], goal: str, place: str, best: float) -> None:
    found = located(values, goal=goal)
    assert (found.place, found.best) == (place, best)


def test_locate_best_is_corrected_for_the_levels_tried() -> None:
    """The worse of its two one-sided p is 0.015 (t = 5.57, 2 df): enough alone (2.5 %), too much for one of four."""
    values = {1.0: END, 2.0: [1.31, 1.45, 1.59], 9.0: END}
    alone = located(values)
    assert alone.place == "inside"
    crowd = located(values | {3.0: around(1.0), 4.0: around(1.0), 5.0: around(1.0)})
    assert crowd.place == "open"
    assert crowd.p == pytest.approx(4 * alone.p)


def test_locate_best_level_without_both_ends_is_not_considered() -> None:
    assert locate_best([2.0], ends={1.0: {}, 3.0: {}}, goal="max", confidence=0.95) is None


def levels_drawn(rng: np.random.Generator, means: tuple[float, ...], *, seeds: int) -> str:
    drawn = [dict(enumerate(mean + rng.normal(size=seeds))) for mean in means]
    between = range(1, len(means) - 1)
    ends: dict[Any, dict[Any, Effect]] = {
        end: {place: paired_effect(drawn[place], drawn[end], axis="", metric="score") for place in between} for end in (0, len(means) - 1)
    }
    found = locate_best(list(between), ends=ends, goal="max", confidence=0.95)
    assert found
    return found.place


@pytest.mark.slow
@pytest.mark.usefixtures("no_seeds_needed")
@pytest.mark.parametrize("seeds", [3, 8])
def test_locate_best_is_rarely_wrong_at_the_edge_of_its_null(seeds: int) -> None:
    rng = np.random.default_rng(7)
    # no level between is better than the upper end, the lower end is out of the way: found 1.1 % (3 seeds) and 1.9 % (8)
    assert rates(lambda: levels_drawn(rng, (-9.0, 0.0, 0.0, 0.0, 0.0), seeds=seeds)).get("inside", 0.0) <= 0.025 + 0.011
    # one level between is as good as the end, the rest far worse: found 1.3 % and 1.6 %
    assert rates(lambda: levels_drawn(rng, (-9.0, -9.0, -9.0, 0.0, 0.0), seeds=seeds)).get("end", 0.0) <= 0.025 + 0.011


@pytest.mark.slow
@pytest.mark.usefixtures("no_seeds_needed")
def test_locate_best_finds_a_clear_optimum() -> None:
    """Two SDs above its neighbours, 5 seeds: found 89 %."""
    rng = np.random.default_rng(7)
    assert rates(lambda: levels_drawn(rng, (0.0, 2.0, 4.0, 2.0, 0.0), seeds=5)).get("inside", 0.0) > 0.8
