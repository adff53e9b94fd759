"""Fits a polynomial to a noisy sine by gradient descent. Knows nothing of ablate: it prints a line of JSON now and then."""

import argparse
import json
import math
import random


def points(count: int, source: random.Random) -> list[tuple[float, float]]:
    places = [source.uniform(-1, 1) for _ in range(count)]
    return [(x, math.sin(3 * x) + source.gauss(0, 0.05)) for x in places]


def predict(weights: list[float], x: float) -> float:
    return sum(weight * x**power for power, weight in enumerate(weights))


def mean_squared_error(weights: list[float], data: list[tuple[float, float]]) -> float:
    return sum((predict(weights, x) - y) ** 2 for x, y in data) / len(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--degree", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    source = random.Random(options.seed)  # noqa: S311
    train, unseen = points(64, source), points(64, source)
    weights = [0.0] * (options.degree + 1)
    for step in range(1, options.steps + 1):
        errors = [(x, predict(weights, x) - y) for x, y in train]
        gradient = [2 * sum(error * x**power for x, error in errors) / len(train) for power in range(len(weights))]
        weights = [weight - options.lr * slope for weight, slope in zip(weights, gradient, strict=True)]
        if step % 50 == 0 or step == options.steps:
            print(json.dumps({"step": step, "val_loss": mean_squared_error(weights, unseen)}))


if __name__ == "__main__":
    main()
