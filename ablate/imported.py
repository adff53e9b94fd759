"""The trainer of runs that were made elsewhere: it has their config, whatever that holds, and trains nothing.

A study in the store that names it came in by `ablate import`; its fields are the columns of its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from ablate.errors import InputError
from ablate.study import Study

NOT_HERE = "runs that were imported were made elsewhere and cannot be run here; name a trainer that trains"
OPEN = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


@dataclass(frozen=True)
class ImportedRuns:
    """A trainer as `ablate.trainers.Trainer` says, but for stages: there are none to execute."""

    Config: type[BaseModel]
    METRICS: Mapping[str, str]

    def stages(self, config: BaseModel) -> Sequence[Any]:
        raise InputError(NOT_HERE)


def trainer_for(study: Study) -> ImportedRuns:
    """Its config knows the axes, so that conditions and names of arms can speak of them."""
    return ImportedRuns(_config(tuple(study.axes)), {study.metric.name: "as its source calls it"})


@lru_cache(maxsize=8)
def _config(axes: tuple[str, ...]) -> type[BaseModel]:
    """Kept, so that one study has one Config."""
    tree: dict[str, Any] = {}
    for axis in axes:
        *groups, last = axis.split(".")
        here = tree
        for group in groups:
            here = here.setdefault(group, {})
        here[last] = None
    return _model("Config", tree)


def _model(name: str, tree: Mapping[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for key, inner in tree.items():
        model = _model(key, inner) if inner is not None else None
        fields[key] = (model, model()) if model else (Any, None)
    made: type[BaseModel] = create_model(name, __config__=OPEN, **fields)
    return made


def train(stage: Any, inputs: Mapping[str, Path], context: Any) -> None:
    raise InputError(NOT_HERE)
