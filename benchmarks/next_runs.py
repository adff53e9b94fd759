"""How many runs `next` needs for what a full grid says: simulated studies, the generator of `law_coverage.py`.

The full grid is 4 sizes x 7 rates x 3 seeds, 84 runs. The adaptive study begins with three rates a size, one seed, and then makes the
runs that `next` proposes, one at a time. Prints for each the median width of the 95 % prediction interval at 30B, how often it holds the
true optimum, and the compute. Run it with

    python benchmarks/next_runs.py [--studies 100] [--runs 28]
"""

import argparse
import sys
from math import exp, log
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.analysis.law_fit import fit_power_law
from ablate.analysis.laws import size_label
from ablate.analysis.next_runs import next_runs
from ablate.analysis.optima import find_optima
from ablate.analysis.published import MM1

sys.path.insert(0, str(Path(__file__).parent))
from law_coverage import SIZES, STEPS, TARGET, TAU, Truth

PRIOR = 0.15


def adaptive(truth: Truth, *, runs: int, per: str) -> pd.DataFrame:
    frame = pd.DataFrame([truth.run(size, truth.centres[size] + log(2) * step, 0) for size in SIZES for step in (-1.5, 0, 1.5)])
    while len(frame) < runs:
        found = next_runs(frame, metric="loss", goal="min", target=TARGET, count=1, per=per)  # type: ignore[arg-type]
        if not found.runs:
            break
        (run,) = found.runs
        frame = pd.concat([frame, pd.DataFrame([truth.run(run.n_params, log(run.lr), run.seed)])], ignore_index=True)
    return frame


def full(truth: Truth) -> pd.DataFrame:
    return pd.DataFrame(
        [truth.run(size, truth.centres[size] + log(2) * step, seed) for size in SIZES for step in STEPS for seed in range(3)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--runs", type=int, default=28)
    parser.add_argument("--noise", type=float, default=0.3)
    options = parser.parse_args()
    plans = {
        "full grid": lambda truth: full(truth),
        f"next, a run, {options.runs}": lambda truth: adaptive(truth, runs=options.runs, per="run"),
        f"next, a FLOP, {options.runs}": lambda truth: adaptive(truth, runs=options.runs, per="flop"),
    }
    print(f"{options.studies} studies each, at {size_label(TARGET)}")
    for name, plan in plans.items():
        rng = np.random.default_rng(1)
        flops, errors = [], []
        widths: dict[float | None, list[float]] = {None: [], PRIOR: []}
        hits: dict[float | None, int] = {None: 0, PRIOR: 0}
        for _ in range(options.studies):
            truth = Truth(rng, noise=options.noise, skew=0.9, own_grid=True)
            best = log(MM1.lr(TARGET)) + TAU * rng.normal()
            frame = plan(truth)
            flops.append(float(frame["n_params"].sum()) / (21 * sum(SIZES)))
            optima = find_optima(frame, metric="loss", goal="min")
            for prior in widths:
                fit = fit_power_law(optima, tau_prior=prior)
                low, high = fit.interval(TARGET) or (0.0, float("inf"))
                widths[prior].append(high / low if low else float("inf"))
                hits[prior] += low < exp(best) < high
            errors.append(log(fit_power_law(optima).lr(TARGET)) - best)
        said = "; ".join(
            f"{'no prior' if prior is None else f'prior {prior}'}: width x/÷ {np.sqrt(np.median(found)):.2f}, "
            f"cover {hits[prior] / options.studies:.1%}"
            for prior, found in widths.items()
        )
        print(f"  {name:22} {said}; rmse {float(np.sqrt(np.mean(np.square(errors)))):.3f}, compute {float(np.mean(flops)):.2f}")


if __name__ == "__main__":
    main()
