"""Where everything of a run lies: one folder, `.ablate/` unless told otherwise.

ablate.db      the store (SQL), unless --store names another
mlflow.db      the MLflow mirror, unless MLFLOW_TRACKING_URI names another; its artefacts in mlflow/
runs/<job>/attempt-<n>/   job.json, metrics.jsonl, log.txt, done.json: the journal of one attempt
artifacts/<job>/          what a finished job leaves to those after it
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    folder: Path
    """Absolute: workers have working directories of their own."""
    store: str | None = None
    """SQLAlchemy URL of another database."""

    @property
    def store_url(self) -> str:
        return self.store or f"sqlite:///{self.folder / 'ablate.db'}"

    @property
    def has_store(self) -> bool:
        """Whether there is a database to ask; another one named by URL is taken to be there."""
        return self.store is not None or (self.folder / "ablate.db").exists()

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def diffs(self) -> Path:
        return self.folder / "diffs"

    def diff(self, sha256: str) -> Path:
        """Uncommitted changes that attempts trained with, one file for all that had the same."""
        return self.diffs / f"{sha256[:16]}.diff"

    def attempt(self, job_id: str, number: int) -> Path:
        return self.runs / job_id / f"attempt-{number}"

    def newest_attempt(self, job_id: str) -> int:
        """Its number; 0 where the job never began."""
        numbers = (path.name.partition("-")[2] for path in (self.runs / job_id).glob("attempt-*"))
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def create(self) -> None:
        """Makes the folder, for its owner only."""
        for folder in (self.folder, self.runs, self.artifacts, self.diffs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
