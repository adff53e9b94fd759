"""What cached features of a frozen encoder save: one study twice, each trial encoding its pictures itself, and once for all of them.

Trials of the two sides take turns in one process, in one workspace with the encoders trained beforehand, so whatever else the machine does
falls on both alike. The features stages count on the cached side; final metrics must be identical. Run it with

    python benchmarks/features.py [--steps 60]

The saving is a constant per trial, so longer trials gain a smaller share of their time.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.attempt import execute
from ablate.design import make_arms
from ablate.load import load_study
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.workspace import Workspace

ORDER = ("computed", "cached")


@dataclass
class Clock:
    """What one side has taken so far."""

    wall: float = 0.0
    cpu: float = 0.0

    def run(self, job: str, *, plan: Plan, workspace: Workspace) -> Mapping[str, float | None]:
        """Final metrics of a job."""
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = execute(plan.jobs[job], workspace=workspace, number=1)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        assert outcome.state == "done", f"{job}: {outcome.reason}"
        return {point.key: point.value for point in outcome.metrics}


def plan_of(features: str, *, steps: int) -> Plan:
    study: dict[str, Any] = {
        "schema": 1,
        "name": "features",
        "trainer": "model_zoo",
        "base": {"extends": "bases/tiny.yaml", "encoder": {"features": features}, "train": {"steps": steps}},
        "axes": {
            "encoder.image_size": [16, 24],
            "connector.kind": ["avg_pool", "attention_pool", "c_abstractor"],
            "connector.num_tokens": [1, 4],
        },
        "metric": {"name": "few_shot/4", "goal": "max"},
    }
    loaded = load_study(study)
    return make_plan(loaded, make_arms(loaded))


def take_turns(plans: Mapping[str, Plan], *, workspace: Workspace) -> dict[str, Clock]:
    """Encoders first, then the features, then the trials of both sides in pairs, each side first in every other pair."""
    clocks = {name: Clock() for name in ("encoder", "features", *ORDER)}
    for stage in ("encoder", "features"):
        for name, job in plans["cached"].jobs.items():
            if job.spec.name == stage:
                clocks[stage].run(name, plan=plans["cached"], workspace=workspace)
    for turn, pair in enumerate(zip(*(plans[side].trials for side in ORDER), strict=True)):
        trials, ended = dict(zip(ORDER, pair, strict=True)), {}
        for side in ORDER[:: 1 - 2 * (turn % 2)]:
            ended[side] = clocks[side].run(trials[side].chain[-1], plan=plans[side], workspace=workspace)
        assert ended["cached"] == ended["computed"], f"{pair[0].arm} ended otherwise"
    return clocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    plans = {side: plan_of(side, steps=options.steps) for side in ORDER}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.create()
        clocks = take_turns(plans, workspace=workspace)
        sizes = sorted(file.stat().st_size for file in workspace.artifacts.glob("features-*/features.safetensors"))
    print(f"{len(plans['cached'].trials)} trials a side, {options.steps} steps, one thread; all final metrics identical")
    for name, clock in clocks.items():
        print(f"{name:9} {clock.wall:7.1f} s {clock.cpu:7.1f} CPU s")
    print(f"planned   {', '.join(f'{side} {plan.train_flops:.3g} FLOPs' for side, plan in plans.items())}")
    print(f"cache     {', '.join(f'{size / 1e6:.0f} MB' for size in sizes)}")
    cached, cache, computed = clocks["cached"], clocks["features"], clocks["computed"]
    wall, cpu = computed.wall / (cached.wall + cache.wall), computed.cpu / (cached.cpu + cache.cpu)
    print(f"computed / (cached + features): {wall:.2f} in wall time, {cpu:.2f} in CPU time")


if __name__ == "__main__":
    main()
