"""Fits a polynomial to a noisy sine by gradient descent. Knows nothing of ablate: it prints a line of JSON now and then.

Where it is given a folder for checkpoints it goes on from the one that lies there.
"""

import argparse
import json
import math
import os
import random
from pathlib import Path


def points(count: int, source: random.Random) -> list[tuple[float, float]]:
    places = [source.uniform(-1, 1) for _ in range(count)]
    return [(x, math.sin(3 * x) + source.gauss(0, 0.05)) for x in places]


def predict(weights: list[float], x: float) -> float:
    return sum(weight * x**power for power, weight in enumerate(weights))


def mean_squared_error(weights: list[float], data: list[tuple[float, float]]) -> float:
    return sum((predict(weights, x) - y) ** 2 for x, y in data) / len(data)


def descend(weights: list[float], data: list[tuple[float, float]], *, lr: float) -> list[float]:
    errors = [(x, predict(weights, x) - y) for x, y in data]
    gradient = [2 * sum(error * x**power for x, error in errors) / len(data) for power in range(len(weights))]
    return [weight - lr * slope for weight, slope in zip(weights, gradient, strict=True)]


def save(path: Path, state: dict[str, object]) -> None:
    """Whole or not at all: it may be killed in the middle of the first line, and the second takes no time."""
    path.with_suffix(".tmp").write_text(json.dumps(state), encoding="utf-8")
    os.replace(path.with_suffix(".tmp"), path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--degree", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--checkpoints", type=Path)
    options = parser.parse_args()
    source = random.Random(options.seed)  # noqa: S311
    train, unseen = points(64, source), points(64, source)
    kept = options.checkpoints / "state.json" if options.checkpoints else None
    state = {"step": 0, "weights": [0.0] * (options.degree + 1)}
    if kept and kept.exists():
        state = json.loads(kept.read_text(encoding="utf-8"))
    step, weights = state["step"], state["weights"]
    while True:
        if step and (step % 50 == 0 or step == options.steps):
            if kept:
                save(kept, {"step": step, "weights": weights})
            # after the checkpoint, so that one which goes on from there says it again and no row is lost
            print(json.dumps({"step": step, "val_loss": mean_squared_error(weights, unseen)}))
        if step == options.steps:
            return
        weights, step = descend(weights, train, lr=options.lr), step + 1


if __name__ == "__main__":
    main()
