"""The one stage of a trial on somebody else's trainer: what identifies it, what the worker needs, what it costs where that is declared.

A cost is a number, or arithmetic over fields of the config; what nobody declares is 0 in the stage, which stands for "not known".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from ablate.conditions import Condition, ConditionError, Lookup, Unknown, parse_condition
from ablate.fields import config_names, lookup_in
from ablate.marked_yaml import Fault, shown
from ablate.trainer_settings import Amount, OwnTrainer

COSTS = ("num_params", "train_flops", "memory_bytes")
STAGE = "train"


class OwnStage(NamedTuple):
    """Fields as `ablate.trainers.Stage` says; `settings` beside them."""

    config: Mapping[str, Any]
    """What the author wrote that decides the result, the digests of the named files, and under `config` the trial's own config."""
    version: str
    num_params: int
    train_flops: float
    memory_bytes: float
    settings: Mapping[str, Any]
    """All of `command` or `python`, for the worker; what is not in `config` too is no part of the identity."""
    name: str = STAGE
    needs: tuple[str, ...] = ()
    seeded: bool = True
    embedding_params: int = 0
    total_params: int = 0

    @property
    def active_params(self) -> int:
        """The same as `num_params`: nothing is known of experts."""
        return self.num_params


@dataclass(frozen=True)
class Costs:
    """What one training is declared to cost."""

    amounts: Mapping[str, float | Condition]

    def of(self, config: BaseModel) -> dict[str, float]:
        """Cost -> its number for this config, 0 where it is not declared. Raises ValueError where the arithmetic gives none."""
        lookup = lookup_in(config)
        return {name: _evaluated(name, self.amounts.get(name, 0.0), lookup) for name in COSTS}

    def check(self, config: BaseModel) -> None:
        """Raises ValueError where a cost has no number for this config."""
        self.of(config)


def read_costs(settings: OwnTrainer, config: type[BaseModel], *, key: str) -> tuple[Costs, list[Fault]]:
    """The costs that `settings`, which stand under `key`, declare, and what is wrong with them."""
    names, amounts, faults = config_names(config), dict[str, float | Condition](), list[Fault]()
    for name in COSTS:
        written: Amount | None = getattr(settings, name)
        if isinstance(written, str):
            try:
                amounts[name] = parse_condition(written, names=names.names, open_names=names.open_names)
            except ConditionError as error:
                faults += [Fault((key, name), _here(message), column=column) for column, message in error.faults]
        elif written is not None:
            amounts[name] = float(written)
    return Costs(amounts), faults


def own_stage(settings: OwnTrainer, *, decides: Iterable[str], config: Mapping[str, Any], costs: Mapping[str, float]) -> OwnStage:
    """`decides`: keys of the settings that decide the result."""
    whole = settings.model_dump(mode="json")
    return OwnStage(
        config={key: whole[key] for key in (*decides, "sources")} | {"config": config},
        version=settings.version,
        num_params=round(costs["num_params"]),
        train_flops=costs["train_flops"],
        memory_bytes=costs["memory_bytes"],
        settings=whole,
    )


def _evaluated(name: str, amount: float | Condition, lookup: Lookup) -> float:
    if isinstance(amount, float):
        return amount
    try:
        found = amount.evaluate(lookup)
    except ConditionError as error:
        raise ValueError(f"{name}: {_here(str(error))}") from None
    except Unknown as error:
        raise ValueError(f"{name}: '{error}' has no value here") from None
    if isinstance(found, bool | str | tuple) or found <= 0:
        raise ValueError(f"{name}: `{amount.text}` comes to {shown(found)}, expected a number above 0")
    return float(found)


def _here(message: str) -> str:
    return message.replace("not allowed in where", "not allowed here")
