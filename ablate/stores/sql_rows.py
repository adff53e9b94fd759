"""What a plan says as rows of the store's tables, and rows as the records that readers get."""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from ablate.planner import Job, Trial, job_identity, trial_state
from ablate.stores import TrialRecord


def job_row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "stage": job.spec.name,
        "state": "queued",
        "reason": "",
        "num_params": job.spec.num_params,
        "train_flops": job.spec.train_flops,
        "attempts": 0,
    }


def identity_of(job: Job) -> dict[str, Any]:
    return job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs)


def trial_row(study: str, trial: Trial, *, place: int) -> dict[str, Any]:
    return {
        "study": study,
        "id": trial.id,
        "place": place,
        "arm": trial.arm,
        "seed": trial.seed,
        "levels": dict(trial.levels),
        "changes": dict(trial.changes),
        "config": dict(trial.config),
        "chain": list(trial.chain),
        "final": trial.chain[-1],
    }


def trial_record(row: sa.RowMapping, states: Mapping[str, sa.RowMapping], values: Mapping[str, float | None]) -> TrialRecord:
    chain = [states[job] for job in row["chain"]]
    final = chain[-1]
    broken = next((job for job in chain if job["state"] in ("failed", "lost", "pruned")), final)
    return TrialRecord(
        study=row["study"],
        id=row["id"],
        arm=row["arm"],
        seed=row["seed"],
        state=trial_state([job["state"] for job in chain]),
        cause=broken["cause"],
        reason=broken["reason"],
        levels=row["levels"],
        changes=row["changes"],
        config=row["config"],
        chain=tuple(row["chain"]),
        metrics=values,
        num_params=final["num_params"],
        train_flops=sum(job["train_flops"] for job in chain),
        seconds=final["seconds"],
        started=final["started"],
        attempts=final["attempts"],
    )


def joined(rows: Iterable[Any]) -> list[tuple[int, float | None]]:
    """One metric's curve from its points, newest attempt first: an earlier attempt stands only before the first step of those after it."""
    pieces: list[list[tuple[int, float | None]]] = []
    first = math.inf
    for _, attempt in itertools.groupby(rows, key=lambda row: row.attempt):
        piece = [(row.step, row.value) for row in attempt if row.step < first]
        if piece:
            first = piece[0][0]
            pieces.append(piece)
    return [point for piece in reversed(pieces) for point in piece]


def storable(text: str) -> str:
    """The text as every database takes it: without NUL, which PostgreSQL refuses, and without halves of characters."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
