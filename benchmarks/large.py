"""One study of 10,000 trials of zero work whose driver is killed at 5,000 and goes on: what its size costs.

Prints the time a trial takes at the beginning and in the middle, the driver's memory, how long `status` takes, how long the next run takes
to its first new trial, and a Ray that does nothing else to its first task, and the files of a trial; the bounds are those of the fault
matrix, row F34. Run it with

    python benchmarks/large.py [--trials 10000] [--slots 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

STUDY = """\
schema: 1
name: large
trainer: synthetic
base: {{steps: 1}}
axes: {{num_params: {{range: [1001, {last}], step: 1}}}}
metric: {{name: loss, goal: min}}
"""
BARE_RAY = "import ray; ray.init(address='local', num_cpus=2, include_dashboard=False); ray.get(ray.remote(lambda: 1).remote())"
ABLATE = [sys.executable, "-m", "ablate"]
FIRST = 300


class Stretch(NamedTuple):
    """What was seen between two numbers of finished trials."""

    trials: int
    seconds: float
    driver_bytes: int

    @property
    def milliseconds(self) -> float:
        return 1000 * self.seconds / self.trials


def finished(folder: Path) -> int:
    """Trials whose artefact is published."""
    artifacts = folder / ".ablate" / "artifacts"
    return sum("." not in entry.name for entry in os.scandir(artifacts)) if artifacts.is_dir() else 0


def start(folder: Path, *, slots: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*ABLATE, "run", "study.yaml", "--slots", str(slots)], cwd=folder, stdout=subprocess.DEVNULL)


def wait_for(count: int, process: "subprocess.Popen[bytes]", *, folder: Path) -> Stretch:
    before, began, largest = finished(folder), time.perf_counter(), 0
    while (now := finished(folder)) < count:
        assert process.poll() is None, f"the run ended at {now} trials"
        largest = max(largest, driver_bytes(process.pid))
        time.sleep(0.05)
    return Stretch(now - before, time.perf_counter() - began, largest)


def driver_bytes(pid: int) -> int:
    """Memory of the run's own process, the largest of those that `ablate run` consists of."""
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    return max((one.memory_info().rss for one in family if "run" in one.cmdline() and "ablate" in one.cmdline()), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    trials, half = options.trials, options.trials // 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # the mirror of the run that was killed may be at work still
        folder = Path(name)
        (folder / "study.yaml").write_text(STUDY.format(last=1000 + trials), encoding="utf-8")
        process = start(folder, slots=options.slots)
        wait_for(1, process, folder=folder)
        first = wait_for(FIRST, process, folder=folder)
        middle = wait_for(half, process, folder=folder)
        process.kill()
        process.wait()
        began = time.perf_counter()
        subprocess.run([*ABLATE, "status", "large"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        status = time.perf_counter() - began
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", BARE_RAY], capture_output=True, check=True)
        bare = time.perf_counter() - began
        done, began = finished(folder), time.perf_counter()
        process = start(folder, slots=options.slots)
        wait_for(done + 1, process, folder=folder)
        resumed = time.perf_counter() - began
        rest = wait_for(trials, process, folder=folder)
        assert process.wait() == 0
        files = sum(len(names) for place in ("runs", "artifacts") for _, _, names in os.walk(folder / ".ablate" / place))
        twice = [
            path
            for path in (folder / ".ablate" / "runs").glob("*/attempt-2/done.json")
            if (path.parents[1] / "attempt-1" / "done.json").exists()
        ]
    largest = max(stretch.driver_bytes for stretch in (first, middle, rest))
    print(f"{trials:,} trials, the driver killed at {done:,}")
    for what, found in (
        (f"a trial, from the 1st to the {FIRST}th", f"{first.milliseconds:6.1f} ms"),
        (
            "from there to the middle (at most 1.5 times)",
            f"{middle.milliseconds:6.1f} ms {middle.milliseconds / first.milliseconds:6.2f} times",
        ),
        (
            "from the kill to the end (at most 1.5 times)",
            f"{rest.milliseconds:6.1f} ms {rest.milliseconds / first.milliseconds:6.2f} times",
        ),
        ("the driver's memory (under 600)", f"{largest / 1e6:6.0f} MB"),
        (f"`ablate status`, {done:,} trials done (under 1)", f"{status:6.2f} s"),
        ("the next run, to its first new trial (under 5)", f"{resumed:6.2f} s"),
        ("  of which Ray alone, to the end of its first task", f"{bare:6.2f} s"),
        ("files a trial (under 5)", f"{files / trials:6.2f}"),
        ("trials that ran to their end twice", f"{len(twice):6}"),
    ):
        print(f"{what:50}{found}")


if __name__ == "__main__":
    main()
