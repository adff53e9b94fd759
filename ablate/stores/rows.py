"""A whole study as rows that leave and enter a store: what an export holds, and what a rebuilt store is filled with.

Each model has the columns of one table (tests compare them), so a row that is read from a file has been checked field by field.
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    table: ClassVar[str]


class JobRow(Row):
    table = "jobs"
    id: str
    stage: str
    state: Literal["queued", "running", "done", "failed", "lost", "pruned"]
    cause: str | None
    reason: str
    num_params: int
    train_flops: float
    attempts: int
    started: float | None
    seconds: float | None


class IdentityRow(Row):
    table = "identities"
    job: str
    identity: dict[str, Any]


class StudyRow(Row):
    table = "studies"
    name: str
    spec: dict[str, Any]
    axes: dict[str, list[Any]]
    simulated: bool
    created: float
    updated: float


class DeclarationRow(Row):
    table = "declarations"
    study: str
    seq: int
    time: float
    spec: dict[str, Any]


class TrialRow(Row):
    table = "trials"
    study: str
    id: str
    place: int
    arm: str
    seed: int
    levels: dict[str, Any]
    changes: dict[str, Any]
    config: dict[str, Any]
    chain: list[str]
    final: str


class StaleTrialRow(TrialRow):
    table = "stale_trials"
    since: float


class AttemptRow(Row):
    table = "attempts"
    job: str
    number: int
    state: Literal["done", "failed", "lost", "pruned"]
    cause: str | None
    reason: str
    started: float
    seconds: float | None
    host: str
    pid: int
    details: dict[str, Any] | None = None


class MetricRow(Row):
    table = "metrics"
    job: str
    key: str
    step: int
    value: float | None
    kind: Literal["finite", "nan", "+inf", "-inf"]


class PointRow(Row):
    table = "points"
    job: str
    attempt: int
    key: str
    step: int
    value: float | None
    kind: Literal["finite", "nan", "+inf", "-inf"]


KINDS: dict[str, type[Row]] = {
    kind.table: kind for kind in (JobRow, IdentityRow, StudyRow, DeclarationRow, TrialRow, StaleTrialRow, AttemptRow, MetricRow, PointRow)
}
"""Table -> its row, those that others refer to first."""
