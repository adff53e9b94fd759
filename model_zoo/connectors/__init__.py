"""The menu of connectors: one line each. docs/connectors.md says how another one is added."""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from model_zoo.connectors.connector import ConnectorSettings

MENU = (
    "avg_pool",
    "attention_pool",
    "c_abstractor",
    "mlp",
)
"""Names of files beside this one, each with the settings of one kind, which is called like its file."""


def _settings(name: str) -> type[ConnectorSettings]:
    module = import_module(f"{__name__}.{name}")
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    (found,) = (value for value in own if issubclass(value, ConnectorSettings))
    return found


KINDS = {name: _settings(name) for name in MENU}
if TYPE_CHECKING:
    Connector = ConnectorSettings
else:
    Connector = Annotated[reduce(or_, KINDS.values()), Field(discriminator="kind")]
