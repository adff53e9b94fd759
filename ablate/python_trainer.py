"""A trainer that is a Python function `train(config, context)`; `context` is what `ablate.trainers.Context` says.

The module is imported when a study is loaded, so that mistakes show before anything runs: heavy imports belong inside the function. It is
looked for in the study's folder, then among what is installed. `config` is the trial's own config: an instance of the model that the study
names, or nested dictionaries in the form of its base.
"""

import importlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ablate.base_form import form_faults, form_of
from ablate.errors import did_you_mean
from ablate.fingerprint import canonical
from ablate.marked_yaml import Fault, visible
from ablate.modules import modules_of
from ablate.own_stage import Costs, OwnStage, own_stage, read_costs
from ablate.sources import refuse_changed
from ablate.study import Study
from ablate.trainer_settings import PythonTrainer
from ablate.trainers import Context, TrainerFaults

DECIDES = ("function",)
"""Settings that decide the result."""


@dataclass(frozen=True)
class PythonFunction:
    """A trainer as `ablate.trainers.Trainer` says."""

    Config: type[BaseModel]
    METRICS: Mapping[str, str]
    settings: PythonTrainer
    costs: Costs

    def stages(self, config: BaseModel) -> tuple[OwnStage, ...]:
        written = config.model_dump(mode="json")
        return (own_stage(self.settings, decides=DECIDES, config=written, costs=self.costs.of(config)),)


def trainer_for(study: Study) -> PythonFunction:
    """Raises TrainerFaults with every mistake in `python`, and with what of the base it cannot take."""
    if study.python is None:
        raise TrainerFaults(
            [Fault(("trainer",), "python needs the key python: {function: package.module:train, metrics: {NAME: MEANING}}")]
        )
    return _trainer(study.python.model_dump_json(), canonical(study.base) if study.python.config is None else "{}")


@lru_cache(maxsize=8)
def _trainer(settings_json: str, base_json: str) -> PythonFunction:
    """Kept, so that one study has one Config and its module is imported once."""
    settings, base = PythonTrainer.model_validate_json(settings_json), json.loads(base_json)
    folder = Path(settings.folder).resolve()
    faults = form_faults(base)
    with modules_of(folder):
        function, message = _found(settings.function)
        message = message or _signature_fault(function, settings.function)
        faults += [Fault(("python", "function"), message)] if message else []
        config: Any = None
        if settings.config and not message:
            config, wrong = _found(settings.config)
            if not wrong and not (isinstance(config, type) and issubclass(config, BaseModel)):
                wrong = f"{settings.config} is no pydantic model; derive it from pydantic.BaseModel, or leave config out"
            faults += [Fault(("python", "config"), wrong)] if wrong else []
    if faults:
        raise TrainerFaults(faults)
    if config is None:
        plain = form_of(base, check=lambda _: None)
        costs, faults = read_costs(settings, plain, key="python")
        config = form_of(base, check=costs.check)
    else:
        costs, faults = read_costs(settings, config, key="python")
    if faults:
        raise TrainerFaults(faults)
    return PythonFunction(config, settings.metrics, settings, costs)


def train(stage: OwnStage, inputs: Mapping[str, Path], context: Context) -> None:
    """Calls the function of one trial."""
    settings, config = PythonTrainer.model_validate(stage.settings), stage.config["config"]
    folder = Path(settings.folder)
    with modules_of(folder):
        refuse_changed(settings.sources, folder=folder)
        function = _attribute(settings.function)
        function(_attribute(settings.config).model_validate(config) if settings.config else config, context)


def _found(name: str) -> tuple[Any, str]:
    """What stands at `package.module:name`, or why there is nothing, in one line."""
    module, _, attribute = name.partition(":")
    try:
        return _attribute(name), ""
    except AttributeError as error:
        if attribute not in str(error):
            return None, f"{module} cannot be imported: {_one_line(error)}"
        known = [key for key, value in vars(importlib.import_module(module)).items() if callable(value) and not key.startswith("_")]
        return None, f"{module} has no '{attribute}'{did_you_mean(attribute, known)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return None, f"{module} cannot be imported: {_one_line(error)}"


def _attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _signature_fault(function: Callable[..., Any], name: str) -> str:
    if not callable(function):
        return f"{name} is no function"
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return f"{name}{inspect.signature(function)} cannot be called as {name.partition(':')[2]}(config, context)"
    except ValueError:
        return f"{name} has no signature to check; write a function train(config, context) around it"
    return ""


def _one_line(error: BaseException) -> str:
    return visible(f"{type(error).__name__}: {' '.join(str(error).split())}", limit=200)
