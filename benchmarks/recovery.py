"""Kills the driver with SIGKILL at random moments of one study and goes on each time; then compares with a study that was left alone.

One kill in four comes at any moment of the start, the others while trials run. Counts what the kills cost: finished trials lost (none),
trials that ran to their end twice (none), attempts begun again. Run it with

    python benchmarks/recovery.py [--kills 20] [--trials 40] [--slots 2] [--seed 0]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STUDY = """\
schema: 1
name: recovery
trainer: synthetic
base: {{steps: 40, step_seconds: 0.1}}
axes: {{num_tokens: {{range: [1, {trials}], step: 1}}}}
metric: {{name: loss, goal: min}}
"""
ABLATE = [sys.executable, "-m", "ablate"]


def start(folder: Path, *, slots: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*ABLATE, "run", "study.yaml", "--slots", str(slots)], cwd=folder, stdout=subprocess.DEVNULL)


def rows(folder: Path) -> list[dict[str, Any]]:
    found = subprocess.run([*ABLATE, "results", "recovery", "--format", "json"], cwd=folder, capture_output=True, check=False)
    return json.loads(found.stdout) if found.returncode == 0 else []


def done(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["trial"]: row for row in rows(folder) if row["state"] == "done"}


def attempts(folder: Path) -> dict[str, tuple[int, int]]:
    """Job -> (attempts begun, attempts that ran to an end)."""
    jobs = (folder / ".ablate" / "runs").glob("*")
    return {job.name: (len(list(job.glob("attempt-*"))), len(list(job.glob("attempt-*/done.json")))) for job in jobs if job.is_dir()}


def live_on(process: "subprocess.Popen[bytes]", *, folder: Path, moments: random.Random) -> bool:
    """Lets a run go on until a random moment; False where it was done before."""
    before = sum(begun for begun, _ in attempts(folder).values())
    if moments.random() > 0.25:
        while process.poll() is None and sum(begun for begun, _ in attempts(folder).values()) == before:
            time.sleep(0.05)
    try:
        process.wait(timeout=moments.uniform(0.0, 4.0))
    except subprocess.TimeoutExpired:
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("trials", 40), ("slots", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    moments = random.Random(options.seed)  # noqa: S311 - moments, no secret
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        left_alone, killed = Path(name, "alone"), Path(name, "killed")
        for folder in (left_alone, killed):
            folder.mkdir()
            (folder / "study.yaml").write_text(STUDY.format(trials=options.trials), encoding="utf-8")
        began = time.perf_counter()
        start(left_alone, slots=options.slots).wait()
        alone_seconds = time.perf_counter() - began
        kills, finished = 0, dict[str, dict[str, Any]]()
        while kills < options.kills:
            process = start(killed, slots=options.slots)
            if not live_on(process, folder=killed, moments=moments):
                break
            process.kill()
            process.wait()
            kills += 1
            now = done(killed)
            lost = [trial for trial, row in finished.items() if now.get(trial) != row]
            assert not lost, f"finished and gone after kill {kills}: {lost}"
            finished = now
            print(f"kill {kills:2}: {len(finished)} of {options.trials} done")
        assert start(killed, slots=options.slots).wait() == 0
        counts = attempts(killed)
        twice = [job for job, (_, ended) in counts.items() if ended > 1]
        assert not twice, f"ran to the end twice: {twice}"
        assert done(killed) == done(left_alone), "final numbers differ from those of the study left alone"
        repeated = sum(begun - 1 for begun, _ in counts.values())
    print(f"{kills} kills: 0 finished trials lost, 0 run twice, {repeated} attempts begun again; numbers as in the study left alone")
    print(f"left alone it takes {alone_seconds:.0f} s")


if __name__ == "__main__":
    main()
