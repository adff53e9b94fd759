"""How fast metric points get into the store: in bulk, as a run moves them, beside one call and one transaction a point.

Both sides go through the same `add_points` of the same store, in turns, and are read back and counted. Run it with

    python benchmarks/points.py [--points 500000] [--single 2000] [--store URL]
"""

import argparse
import tempfile
import time
from pathlib import Path

from ablate.journal import Point, make_point
from ablate.stores import Store, open_store

KEYS = ("loss", "learning_rate", "gradient_norm", "few_shot/4", "few_shot/8")
SERIES = 1_000
"""Points of one attempt between two looks at its journal."""


def make_series(count: int, *, job: str) -> dict[tuple[str, int], list[Point]]:
    """One look's points: some steps of every metric of an attempt."""
    return {(job, 1): [make_point(number // len(KEYS), KEYS[number % len(KEYS)], 1.0 / (number + 1)) for number in range(count)]}


def time_bulk(store: Store, *, count: int, round_number: int) -> float:
    """Seconds for `count` points that come `SERIES` at a time, ten attempts together."""
    jobs = [f"bulk-{round_number}-{number}" for number in range(-(-count // SERIES))]
    looks = [make_series(SERIES, job=job) for job in jobs]
    began = time.perf_counter()
    for start in range(0, len(looks), 10):
        store.add_points({key: series for look in looks[start : start + 10] for key, series in look.items()})
    seconds = time.perf_counter() - began
    kept = len(store.curve(jobs))
    assert kept == len(jobs) * SERIES, f"{kept} points kept"
    return seconds * count / kept


def time_single(store: Store, *, count: int, round_number: int) -> float:
    """Seconds for as many calls as points."""
    job = f"single-{round_number}"
    ((key, series),) = make_series(count, job=job).items()
    began = time.perf_counter()
    for point in series:
        store.add_points({key: [point]})
    seconds = time.perf_counter() - began
    assert len(store.curve([job])) == count
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--single", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", help="SQLAlchemy URL; default: a new SQLite file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(options.store or f"sqlite:///{Path(folder) / 'ablate.db'}", write=True)
        bulk: list[float] = []
        single: list[float] = []
        for number in range(options.rounds):
            bulk.append(options.points / time_bulk(store, count=options.points, round_number=number))
            single.append(options.single / time_single(store, count=options.single, round_number=number))
        store.close()
    for name, rates in (("in bulk", bulk), ("one call a point", single)):
        print(f"{name:20} {sorted(rates)[len(rates) // 2]:10,.0f} points a second   ({', '.join(f'{rate:,.0f}' for rate in rates)})")
    print(f"{'bulk / single':20} {sorted(bulk)[len(bulk) // 2] / sorted(single)[len(single) // 2]:10,.1f} times")


if __name__ == "__main__":
    main()
