"""What a study's metrics mean, in which unit, between which bounds, and which way is better.

As its trainer declares them: nothing is guessed from a name.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ablate.errors import InputError
from ablate.results import by_shots
from ablate.trainers import MODULES, SURROGATE


@dataclass(frozen=True)
class MetricScale:
    """What is declared of one metric; empty and None: nothing is."""

    meaning: str = ""
    """`/K` in it stands for so many shots."""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """No value lies outside these."""
    better: str = ""
    """`lower` or `higher`."""
    chance: float | None = None

    @property
    def words(self) -> str:
        """`percent, 0 to 100; higher is better; chance 50`."""
        bounds = ""
        if self.low is not None:
            bounds = f"{self.low:g} to {self.high:g}" if self.high is not None else f"{self.low:g} or more"
        parts = [", ".join(part for part in (self.unit, bounds) if part)]
        parts += [f"{self.better} is better"] if self.better else []
        parts += [f"chance {self.chance:g}"] if self.chance is not None else []
        return "; ".join(part for part in parts if part)

    @property
    def sentence(self) -> str:
        """Its meaning too."""
        return "; ".join(part for part in (self.meaning, self.words) if part)

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        return self.low, self.high


UNKNOWN = MetricScale()
NO_SCALES: Mapping[str, MetricScale] = MappingProxyType({})


def scales_of(spec: Mapping[str, Any]) -> Mapping[str, MetricScale]:
    """Metric -> its scale, of a study as the store keeps it. Of a trainer of one's own, what the study's author wrote of each metric; of
    a surface, what the recorded trainer declares; of one that is not known, nothing."""
    trainer = str(spec.get("trainer"))
    if trainer == SURROGATE:
        return _of_surface(spec.get(SURROGATE) or {})
    if own := (spec.get(trainer) or {}).get("metrics"):
        return {str(name): MetricScale(str(meaning)) for name, meaning in own.items()}
    module: Any = importlib.import_module(MODULES[trainer]) if trainer in MODULES else None
    if declared := getattr(module, "SCALES", None):
        return {
            name: MetricScale(each.meaning, each.unit, each.low, each.high, each.better, each.chance) for name, each in declared.items()
        }
    return {name: MetricScale(meaning) for name, meaning in (getattr(module, "METRICS", None) or {}).items()}


def _of_surface(settings: Mapping[str, Any]) -> Mapping[str, MetricScale]:
    """Nothing where its file is gone."""
    from ablate.surface import read_surface  # most studies have none

    try:
        surface = read_surface(Path(settings.get("file", "")), digest=settings.get("digest", ""))
    except InputError:
        return NO_SCALES
    return {name: MetricScale(**metric.model_dump(exclude={"form"})) for name, metric in surface.metrics.items()}


def metric_lines(spec: Mapping[str, Any], metrics: Iterable[str]) -> list[str]:
    """A line a metric for a page, those of several shot counts in one; nothing for a metric of which nothing is known.

    Which way the study's own metric is better is what the study says.
    """
    scales, own = dict(scales_of(spec)), spec["metric"]
    scales[own["name"]] = replace(scales.get(own["name"], UNKNOWN), better="higher" if own["goal"] == "max" else "lower")
    families: dict[tuple[str, MetricScale], list[str]] = {}
    for metric in dict.fromkeys(metrics):
        families.setdefault((stem_of(metric), scales.get(metric, UNKNOWN)), []).append(metric)
    return [f"{_names(stem, metrics)}: {said}." for (stem, scale), metrics in families.items() if (said := scale.sentence)]


def scale_groups(metrics: Iterable[str], scales: Mapping[str, MetricScale]) -> list[list[str]]:
    """Metrics that one axis can hold: those of one declared unit and bounds, and of unknown ones those of one family."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for metric in metrics:
        scale = scales.get(metric, UNKNOWN)
        key = (scale.unit, scale.low, scale.high) if scale.unit else (stem_of(metric),)
        groups.setdefault(key, []).append(metric)
    return list(groups.values())


def unit_of(metrics: Iterable[str], scales: Mapping[str, MetricScale]) -> str:
    """That all of them have; empty where it is not known, or not the same."""
    units = {scales.get(metric, UNKNOWN).unit for metric in metrics}
    return units.pop() if len(units) == 1 else ""


def _names(stem: str, metrics: Sequence[str]) -> str:
    """`few_shot/0, 4, 8`."""
    return f"{stem}/{', '.join(metric.removeprefix(f'{stem}/') for metric in metrics)}" if len(metrics) > 1 else metrics[0]


def stem_of(metric: str) -> str:
    """`score` of `score/4`: what is one metric at several shot counts."""
    return by_shots(metric)[0]
