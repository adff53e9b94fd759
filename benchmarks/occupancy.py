"""What share of the slots' time lies inside trials of ten seconds, and what a trial costs beyond its training at 300 and at 5,000 trials.

Each figure is what `ablate run` itself measures, as a process of its own. Run it with

    python benchmarks/occupancy.py [--trials 12] [--many 5000] [--slots 2]
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """\
schema: 1
name: occupancy
trainer: synthetic
base: {{steps: {steps}, step_seconds: {seconds}}}
axes: {{num_tokens: {{range: [1, {trials}], step: 1}}}}
metric: {{name: loss, goal: min}}
"""


def run(*, trials: int, slots: int, steps: int, seconds: float) -> tuple[str, float]:
    """What the run says of itself, and its whole wall time."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "study.yaml").write_text(STUDY.format(trials=trials, steps=steps, seconds=seconds), encoding="utf-8")
        command = [sys.executable, "-m", "ablate", "run", "study.yaml", "--slots", str(slots)]
        began = time.perf_counter()
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        whole = time.perf_counter() - began
    (line,) = [line for line in said.splitlines() if line.startswith(f"occupancy: {trials} done")]
    return line, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--many", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    line, _ = run(trials=options.trials, slots=options.slots, steps=100, seconds=0.1)
    (busy,) = re.findall(r"slots busy (\d+)%", line)
    print(f"{options.trials} trials of 10 s on {options.slots} slots: slots busy {busy}% of the time")
    costs = {}
    for trials in (300, options.many):
        _, whole = run(trials=trials, slots=options.slots, steps=1, seconds=0.0)
        costs[trials] = 1000 * whole / trials
        print(f"{trials:,} trials of no work: {costs[trials]:.1f} ms a trial, the whole command with start and end, SQL and MLflow")
    print(f"a trial of {options.many:,} costs {costs[options.many] / costs[300]:.2f} times one of 300")


if __name__ == "__main__":
    main()
