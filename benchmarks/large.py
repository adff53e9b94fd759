"""One study of 10,000 trials of zero work whose driver is killed at 5,000 and goes on: what its size costs.

The next run joins a Ray that is there already, and is killed too; the one after it starts a Ray of its own. Prints the time a trial takes
at the beginning, in the middle and at the end, the driver's memory, how long `status` takes, how long each of the two runs takes to its
first new trial, and a Ray that does nothing else to its first task, and the files of a trial; the bounds are those of the fault matrix,
row F34.
Run it with

    python benchmarks/large.py [--trials 10000] [--slots 2]
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
CLUSTER = """
import ray
context = ray.init(address="local", num_cpus={slots}, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
ray.get(ray.remote(lambda: 1).remote())
print(context.address_info["gcs_address"], flush=True)
input()
"""
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


def start(folder: Path, *, slots: int, address: str = "local") -> "subprocess.Popen[bytes]":
    command = [*ABLATE, "run", "study.yaml", "--slots", str(slots), "--address", address]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)


@contextmanager
def cluster(*, slots: int) -> Iterator[tuple[str, float]]:
    """A Ray that is no run's own: its address, and the seconds from the start of its process to the end of its first task."""
    began = time.perf_counter()
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(20),
    }  # of all that this process starts from now on
    command = [sys.executable, "-c", CLUSTER.format(slots=slots)]
    head = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert head.stdout
    try:
        yield head.stdout.readline().strip(), time.perf_counter() - began
    finally:
        head.communicate("\n")


def resume(folder: Path, *, slots: int, address: str = "local") -> "tuple[subprocess.Popen[bytes], float]":
    """The next run, and its seconds to the first new trial."""
    done, began = finished(folder), time.perf_counter()
    process = start(folder, slots=slots, address=address)
    wait_for(done + 1, process, folder=folder)
    return process, time.perf_counter() - began


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
        done, began = finished(folder), time.perf_counter()
        subprocess.run([*ABLATE, "status", "large"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        status = time.perf_counter() - began
        with cluster(slots=options.slots) as (address, bare):
            process, joined = resume(folder, slots=options.slots, address=address)
            process.kill()
            process.wait()
        process, resumed = resume(folder, slots=options.slots)
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
        ("to a new trial on a Ray that is there (under 5)", f"{joined:6.2f} s"),
        ("to a new trial with a Ray of its own (under 5)", f"{resumed:6.2f} s"),
        ("  a Ray that does nothing else, to its first task", f"{bare:6.2f} s"),
        ("files a trial (under 5)", f"{files / trials:6.2f}"),
        ("trials that ran to their end twice", f"{len(twice):6}"),
    ):
        print(f"{what:50}{found}")


if __name__ == "__main__":
    main()
