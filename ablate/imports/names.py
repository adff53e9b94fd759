"""Names of somebody's columns as names of axes, and flat names as the groups they stand for."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ablate.axes import RESERVED

MAX_NAME = 100
VARIANT = "variant"
"""What the column `arm` is called as an axis: `arm` is a column of the results."""


def axis_name(column: str) -> str:
    """Letters, digits, `_` and `-` in parts between dots, each of which starts with a letter: what a field of a config may be called."""
    if column in RESERVED:
        return VARIANT if column == "arm" else f"imported_{column}"
    parts = [re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_-") for part in column.split(".")]
    return ".".join(_field(part) for part in parts if part)[:MAX_NAME].strip(".") or "column"


def _field(part: str) -> str:
    named = part if part[:1].isalpha() else f"x{part}"
    return f"{named}_" if hasattr(BaseModel, named) else named


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`a.b` inside `a`; where `a` is a value of its own, `a.b` stays a name. Values come as JSON has them."""
    found: dict[str, Any] = {}
    for name, value in sorted(flat.items(), key=lambda item: item[0].count(".")):
        *groups, last = name.split(".")
        here: Any = found
        for group in groups:
            inner = here.setdefault(group, {}) if isinstance(here, dict) else None
            here = inner if isinstance(inner, dict) else None
            if here is None:
                break
        if isinstance(here, dict) and not isinstance(here.get(last), dict):
            here[last] = value
        else:
            found[name] = value
    return found
