"""How good a law's interval at 30B is: simulated studies whose true optimum is known.

The generator: MM1's law with a scatter of 0.12 between sizes, the target's included; four sizes, seven rates a factor of two apart, three
seeds; a curve that is steeper above its optimum (skew 0.9) and whose curvature grows as N^0.15; noise of 0.3 curvatures, half of its
variance shared by the seed. Each size has a grid of its own around the law, or all have one. Prints for each how often the 95 % interval
holds the true optimum, bias and root mean square error of ln lr, and the median width as a factor; the bounds are those of the issue.
Run it with

    python benchmarks/law_coverage.py [--studies 200]
"""

import argparse
import time
from math import exp, log, sqrt

import numpy as np
import pandas as pd

from ablate.analysis.law_fit import fit_power_law
from ablate.analysis.optima import find_optima
from ablate.analysis.published import MM1

SIZES = (9e6, 85e6, 302e6, 1.2e9)
TARGET = 30e9
TAU = 0.12
STEPS = np.arange(-3, 4)


class Truth:
    """One study's sizes with their true optima, from which runs are drawn."""

    def __init__(self, rng: np.random.Generator, *, noise: float, skew: float, own_grid: bool, saturates: bool = False) -> None:
        """`noise` in curvatures, `skew` 0 for a parabola."""
        self._rng, self._noise, self._skew, self._saturates = rng, noise, skew, saturates
        middle = float(np.mean([log(MM1.lr(size)) for size in SIZES]))
        self.best = {size: log(MM1.lr(size)) + TAU * rng.normal() for size in SIZES}
        self.centres = {size: log(MM1.lr(size)) + log(2) * rng.uniform(-0.5, 0.5) if own_grid else middle for size in SIZES}
        """Of the grids, ln lr."""
        self._shared = {size: rng.normal(size=32) for size in SIZES}

    def run(self, size: float, ln_lr: float, seed: int) -> dict[str, float]:
        curvature = 0.01 * (size / SIZES[0]) ** 0.15
        d = ln_lr - self.best[size]
        rise = 2 / self._skew**2 * (exp(self._skew * d) - 1 - self._skew * d) if self._skew else d**2
        rise = rise / (1 + rise / 8) if self._saturates else rise
        error = self._noise * sqrt(0.5) * (self._shared[size][seed] + self._rng.normal())
        return {"n_params": size, "lr": exp(ln_lr), "seed": seed, "loss": 3 + curvature * (rise + error)}


def study(rng: np.random.Generator, **how: float | bool) -> pd.DataFrame:
    """A full grid of runs `n_params, lr, seed, loss`."""
    truth = Truth(rng, **how)  # type: ignore[arg-type]
    return pd.DataFrame(
        [truth.run(size, truth.centres[size] + log(2) * step, seed) for size in SIZES for step in STEPS for seed in range(3)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    studies = parser.parse_args().studies
    print(f"{studies} studies each; at 30B: cover 92 to 99 %, bias under 0.1, rmse under 0.30, width under 2.7 times or divided by")
    cells: list[tuple[str, dict[str, float | bool]]] = [
        ("noise 0.3, skew 0.9, own grids", {"noise": 0.3, "skew": 0.9, "own_grid": True}),
        ("noise 0.3, skew 0.9, one grid", {"noise": 0.3, "skew": 0.9, "own_grid": False}),
        ("noise 0.3, symmetric, own grids", {"noise": 0.3, "skew": 0.0, "own_grid": True}),
        ("noise 0.1, skew 0.9, own grids", {"noise": 0.1, "skew": 0.9, "own_grid": True}),
        ("noise 0.8, skew 0.9, own grids", {"noise": 0.8, "skew": 0.9, "own_grid": True}),
        ("noise 0.3, skew 0.9, saturating", {"noise": 0.3, "skew": 0.9, "own_grid": True, "saturates": True}),
    ]
    for prior in (None, 0.15):
        print(f"\n{'no prior' if prior is None else f'half-normal prior {prior} on the scatter'}")
        for name, how in cells:
            print(f"  {name:34}{measured(studies, how, prior=prior)}")


def measured(studies: int, how: dict[str, float | bool], *, prior: float | None) -> str:
    rng = np.random.default_rng(0)
    errors, hits, widths, without, used, seconds = [], 0, [], 0, [], 0.0
    for _ in range(studies):
        runs = study(rng, **how)
        truth = log(MM1.lr(TARGET)) + TAU * rng.normal()
        began = time.perf_counter()
        fit = fit_power_law(find_optima(runs, metric="loss", goal="min"), tau_prior=prior)
        seconds += time.perf_counter() - began
        interval = fit.interval(TARGET)
        errors.append(log(fit.lr(TARGET)) - truth)
        used.append(len(fit.used))
        if interval is None:
            without += 1
            continue
        hits += log(interval[0]) < truth < log(interval[1])
        widths.append(log(interval[1] / interval[0]) / 2)
    cover, bias, rmse = hits / studies, float(np.mean(errors)), float(np.sqrt(np.mean(np.square(errors))))
    fewer = f", {sum(count < len(SIZES) for count in used)} with a size left out" if min(used) < len(SIZES) else ""
    none = f", {without} without interval" if without else ""
    return (
        f"cover {cover:5.1%}  bias {bias:+.3f}  rmse {rmse:.3f}  width x/÷ {exp(float(np.median(widths))):.2f}"
        f"  {1000 * seconds / studies:.0f} ms a fit{fewer}{none}"
    )


if __name__ == "__main__":
    main()
