"""The menu of encoders: one line each."""

from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from model_zoo.encoders.encoder import EncoderSettings

MENU = (
    "vit",
    "hybrid",
    "clip",
    "siglip",
)
"""Names of files beside this one, each with the settings of one kind, which is called like its file."""
PLAIN = MENU[0]
"""What is meant where no kind is written."""


def _settings(name: str) -> type[EncoderSettings]:
    module = import_module(f"{__name__}.{name}")
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    (found,) = (value for value in own if issubclass(value, EncoderSettings))
    return found


KINDS = {name: _settings(name) for name in MENU}
if TYPE_CHECKING:
    Encoder = EncoderSettings
else:
    Encoder = Annotated[reduce(or_, KINDS.values()), Field(discriminator="kind")]
_ADAPTER: TypeAdapter[EncoderSettings] = TypeAdapter(Encoder)


def read_encoder(written: Mapping[str, Any]) -> EncoderSettings:
    """An encoder from the JSON values it was dumped to, which leave out the plain kind."""
    return _ADAPTER.validate_python({"kind": PLAIN, **written})
