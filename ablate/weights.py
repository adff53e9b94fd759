"""The weights that a trial of population based training goes on from, which another trial had, as an artefact.

Every worker imports this; what plans such trials is in `ablate.continued`.
"""

from collections.abc import Mapping
from pathlib import Path

from ablate.artefacts import publish
from ablate.durable import write_whole
from ablate.planned import Job
from ablate.workspace import Workspace

WEIGHTS = "weights"
"""The stage that stands for them."""
STATE = "state"
"""Their file in the artefact."""


def keep_weights(job: Job, state: bytes, *, workspace: Workspace) -> None:
    """Publishes what a trial goes on from, so that it can be started again and never starts from scratch unnoticed."""
    partial = workspace.artifacts / f"{job.id}.tmp-1"  # it has one attempt, which is no training
    partial.mkdir(parents=True, exist_ok=True)
    write_whole(partial / STATE, state)
    publish(partial, workspace.artifacts / job.id)


def kept_weights(needs: Mapping[str, str], *, artifacts: Path) -> bytes | None:
    """What the attempt of a job starts from where it has kept nothing itself."""
    return (artifacts / needs[WEIGHTS] / STATE).read_bytes() if WEIGHTS in needs else None
