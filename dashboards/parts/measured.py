"""What a study measured, as pages that compare its levels begin with."""

from typing import NamedTuple

import pandas as pd

from ablate.results import KEYS, ordered_metrics
from ablate.stores import StudyRecord
from dashboards.reader import Reader


class Measured(NamedTuple):
    """A study's results, and its own metric."""

    record: StudyRecord
    metric: str
    results: pd.DataFrame


def measure(reader: Reader, name: object) -> Measured:
    snapshot = reader.snapshot(name)
    return Measured(snapshot.record, snapshot.study.metric.name, reader.results(snapshot))


def metrics_of(measured: Measured) -> list[str]:
    """The study's metric first; it is there before any trial reported it."""
    found = [str(column) for column in measured.results.columns if column not in (*KEYS, *measured.record.axes)]
    return ordered_metrics({measured.metric, *found}, first=measured.metric)
