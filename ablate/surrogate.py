"""A trainer that answers with a response surface fitted to recorded trials, in milliseconds. Always labelled simulated.

A study's trials are the surface's value at their config plus noise: the residuals, all metrics and points of the curves together, of one
recorded trial that the seed picks for all arms alike, and of another that seed and arm pick, mixed so that arms of one seed agree as far
as the recorded ones did, and scaled to the noise at the config (`ablate.surface.Surface.noise`). Configs are those of the recorded
trainer; what never varied between the recorded trials must be as it was, and what did may lie between the recorded values, since of all
else the surface knows nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError, create_model, model_validator

from ablate.base_form import form_faults, form_of
from ablate.errors import InputError
from ablate.explain import explain
from ablate.marked_yaml import Fault, dotted, visible
from ablate.study import Study
from ablate.surface import Surface, read_surface
from ablate.surface_inputs import flatten
from ablate.trainer_settings import SurrogateTrainer
from ablate.trainers import Context, TrainerFaults, load_trainer

SIMULATED = True


class StageSpec(NamedTuple):
    """The one stage of a trial; fields as `ablate.trainers.Stage` says. Sizes and FLOPs are what the recorded trainer counts for the
    config, all its stages together, where it counts in closed form: of the training that this stands for."""

    config: Mapping[str, Any]
    """The trial's config, and the digest of the surface."""
    file: str
    """The surface's file, which is no part of the identity."""
    num_params: int = 0
    embedding_params: int = 0
    active_params: int = 0
    total_params: int = 0
    train_flops: float = 0.0
    memory_bytes: float = 0.0
    """Not known, and not needed."""
    name: str = "train"
    needs: tuple[str, ...] = ()
    version: str = "1"
    seeded: bool = True


@dataclass(frozen=True)
class Surrogate:
    """A trainer as `ablate.trainers.Trainer` says."""

    Config: type[BaseModel]
    METRICS: Mapping[str, str]
    settings: SurrogateTrainer
    recorded: Any
    """The recorded trainer's module, where that has a config of its own."""
    SIMULATED: bool = True

    def stages(self, config: BaseModel) -> tuple[StageSpec, ...]:
        written = {"surface": self.settings.digest, "config": config.model_dump(mode="json")}
        if not self.recorded:
            return (StageSpec(written, self.settings.file),)
        *before, last = self.recorded.stages(config)
        return (
            StageSpec(
                written,
                self.settings.file,
                num_params=last.num_params,
                embedding_params=last.embedding_params,
                active_params=last.active_params,
                total_params=last.total_params,
                train_flops=sum((stage.train_flops for stage in before), last.train_flops),
            ),
        )


def trainer_for(study: Study) -> Surrogate:
    """Raises TrainerFaults where there is no surface, or its file holds none."""
    if study.surrogate is None:
        raise TrainerFaults(
            [Fault(("trainer",), "surrogate needs the key surrogate: {file: FILE.json}; `ablate surrogate STUDY` writes one")]
        )
    if not study.surrogate.digest:
        named = visible(study.surrogate.file, limit=200)
        raise TrainerFaults([Fault(("surrogate", "file"), f"no file {named}; `ablate surrogate STUDY -o FILE.json` writes one")])
    try:
        return _trainer(study.surrogate)
    except InputError as error:
        raise TrainerFaults([Fault(("surrogate", "file"), str(error))]) from None


@lru_cache(maxsize=8)
def _trainer(settings: SurrogateTrainer) -> Surrogate:
    """Kept, so that one study has one Config."""
    surface = read_surface(Path(settings.file), digest=settings.digest)
    recorded: Any = load_trainer(surface.trainer)
    own, named = hasattr(recorded, "Config"), visible(settings.file, limit=200)
    if own:
        try:  # what the trainer has learned to be told since has its default in the recorded trials
            config = recorded.Config.model_validate(surface.config).model_dump(mode="json")
        except ValidationError as error:
            first = explain(error, recorded.Config, surface.config)[0]
            raise InputError(
                f"{named}: trainer {surface.trainer} takes the recorded config no more: {dotted(first.path)}: {first.message}"
            ) from None
        surface = surface.model_copy(update={"config": config})
    elif faults := form_faults(surface.config):
        raise InputError(f"{named}: {faults[0].message}")

    def known(config: Any) -> Any:
        if faults := list(surface.faults(flatten(config.model_dump(mode="json")))):
            raise ValueError("\n".join(faults))
        return config

    check: Any = model_validator(mode="after")(known)
    model: type[BaseModel] = (
        create_model("Config", __base__=recorded.Config, __validators__={"known": check}) if own else form_of(surface.config, check=known)
    )
    metrics = {name: f"{metric.meaning or name} (simulated)" for name, metric in surface.metrics.items()}
    return Surrogate(model, metrics, settings, recorded if own else None)


def train(stage: StageSpec, inputs: Mapping[str, Path], context: Context) -> None:
    """Reports the curve of a run, then its final metrics."""
    surface: Surface = read_surface(Path(stage.file), digest=stage.config["surface"])
    for step, values in surface.metrics_of(flatten(stage.config["config"]), seed=context.seed):
        if context.should_stop():
            return
        context.report(step, **values)
