"""What a plan costs to make: 100,000 trials with ids, sharing and costs, a space of 10^12 combinations, and the wait for a small plan.

Each figure is of `ablate plan` as a process of its own, from Python's start to the last line on the screen. Run it with

    python benchmarks/planning.py [--trials 100000]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

LEVELS = 10
RATES = {"train.learning_rate": {"log": [1e-4, 1e-1], "points": LEVELS}, "train.weight_decay": {"linspace": [0.0, 0.3], "points": LEVELS}}
WIDTHS = {"decoder.width": [16 * step for step in range(1, LEVELS + 1)]}
MIXES = {"data.mix": {"simplex": ["caption", "interleaved", "text"], "list": [f"{part}:{LEVELS - part}:1" for part in range(LEVELS)]}}
ZOO: dict[str, Any] = {"trainer": "model_zoo", "base": "bases/tiny.yaml", "metric": {"name": "val_loss", "goal": "min"}}
SYNTHETIC: dict[str, Any] = {"trainer": "synthetic", "metric": {"name": "loss", "goal": "min"}}
HARDWARE = {"peak_flops": 1e15, "utilisation": 0.4, "price_per_hour": 2.0, "memory_gib": 80.0, "devices": 8}
HUGE = {axis: {"log": [low, high], "points": 1000} for axis, low, high in (("num_params", 1e6, 1e9), ("peak_lr", 1e-5, 1e-2))}
HUGE |= {axis: {"linspace": [low, high], "points": 1000} for axis, low, high in (("noise_sd", 0.001, 1.0), ("step_seconds", 0.0, 1.0))}


def studies(trials: int) -> dict[str, dict[str, Any]]:
    """What is planned, by what is printed of it; `trials` is a multiple of 1,000."""
    rates = {**RATES, "train.learning_rate": {**RATES["train.learning_rate"], "points": trials // LEVELS**3}}
    sizes = {"num_params": {"log": [1e6, 1e9], "points": 100}, "peak_lr": {"log": [1e-5, 1e-2], "points": 100}}
    sizes["image_size"] = [16 * step for step in range(1, trials // 10_000 + 1)]
    return {
        f"model_zoo, {trials:,} arms": ZOO | {"axes": rates | WIDTHS | MIXES},
        f"model_zoo, {trials // 10:,} arms x 10 seeds": ZOO | {"axes": RATES | WIDTHS | MIXES, "seeds": trials // 10_000},
        f"synthetic, {trials:,} arms": SYNTHETIC | {"axes": sizes},
        "10^12 combinations, grid with where": SYNTHETIC | {"axes": HUGE, "where": ["num_params > 1"]},
        "10^12 combinations, grid, sample 200": SYNTHETIC | {"axes": HUGE, "design": {"kind": "grid", "sample": 200}},
    }


def timed(command: list[str], *, folder: str) -> tuple[float, float, str]:
    """Seconds, GiB at the peak, and what was printed, in a process of its own."""
    began = time.perf_counter()
    with open(Path(folder, "answer.txt"), "w+", encoding="utf-8") as answer:
        process = subprocess.Popen(command, cwd=folder, stdout=answer, stderr=subprocess.STDOUT)
        _, _, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        answer.seek(0)
        return seconds, usage.ru_maxrss / 2**20, answer.read().strip()


def said(answer: str) -> str:
    """The line that counts jobs, or the refusal."""
    lines = [line.strip() for line in answer.splitlines()]
    return next((line for line in lines if " trials = " in line), lines[0].partition(": ")[2])[:90]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    options = parser.parse_args()
    command = [sys.executable, "-m", "ablate"]
    with tempfile.TemporaryDirectory() as folder:
        for name, keys in studies(options.trials).items():
            study = {"schema": 1, "name": "planning", "hardware": HARDWARE} | keys
            Path(folder, "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
            seconds, memory, answer = timed([*command, "plan", "study.yaml"], folder=folder)
            print(f"{name:38} {seconds:6.2f} s {memory:6.2f} GiB   {said(answer)}")
        for verb in ("validate", "plan"):
            seconds = min(timed([*command, verb, "quickstart"], folder=folder)[0] for _ in range(5))
            print(f"{f'ablate {verb} quickstart, 12 trials':38} {seconds:6.2f} s   best of 5")


if __name__ == "__main__":
    main()
