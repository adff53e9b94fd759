"""Texts such as `--lr={train.lr}` become templates that name fields of a config and nothing else, and templates become arguments.

Nothing is looked up on the values themselves: a name is compared with a list, and the value is written out. `{{` and `}}` are braces.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import did_you_mean
from ablate.marked_yaml import visible

GIVEN = ("seed", "dir", "checkpoint_dir", "config_file", "python")
"""Names beside those of the config's fields: the seed, the trial's folder, the one that outlives an attempt, the config as a JSON file, the
interpreter that runs ablate."""
_PART = re.compile(r"\{\{|\}\}|(\$?)\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9][A-Za-z0-9_-]*)*")


@dataclass(frozen=True)
class Template:
    parts: tuple[str, ...]
    """Literal text and names by turns, text first."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.parts[1::2]

    @property
    def starts_with_value(self) -> bool:
        """Whether a value, not the author's own text, decides how it begins."""
        return len(self.parts) > 1 and not self.parts[0]

    def text(self, value_of: Callable[[str], Any]) -> str:
        """The text with each value written out: text as it is, the rest as JSON has it."""
        return "".join(_written(value_of(part)) if place % 2 else part for place, part in enumerate(self.parts))


def read_template(text: str, *, fields: Collection[str], groups: Collection[str]) -> tuple[Template, list[tuple[int, str]]]:
    """The template and its faults as (column from 1, message). `groups`: names with fields under them."""
    parts, faults, end = [""], list[tuple[int, str]](), 0
    for found in _PART.finditer(text):
        parts[-1] += text[end : found.start()]
        end, column = found.end(), found.start() + 1
        token, name = found.group(), found.group(2)
        if token in ("{{", "}}"):
            parts[-1] += token[0]
        elif name is None:
            faults.append((column, f"unmatched '{token}'; write {token * 2} for a brace"))
        elif found.group(1):
            faults.append((column, f"'{visible(token)}' is a shell's, and no shell reads this; name a field, or use pass_env"))
        elif message := _refusal(name, fields=fields, groups=groups):
            faults.append((column, message))
        else:
            parts += [name, ""]
    parts[-1] += text[end:]
    return Template(tuple(parts)), faults


def value_at(config: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted name of a config in JSON values."""
    here: Any = config
    for part in name.split("."):
        here = here[part]
    return here


def _refusal(name: str, *, fields: Collection[str], groups: Collection[str]) -> str:
    known = sorted((*fields, *GIVEN))
    if name in GIVEN and name in fields:
        return f"'{name}' is given by ablate and a field of the base too; rename the field"
    if name in known:
        return ""
    if name in groups:
        inside = ", ".join(field for field in sorted(fields) if field.startswith(f"{name}."))
        return f"'{name}' is a group of fields; name one of {inside}, or pass {{config_file}}"
    if not _NAME.fullmatch(name):
        return f"'{visible('{' + name + '}')}' is not allowed: only names of fields and {', '.join(GIVEN)}, without indexes or conversions"
    return f"unknown field '{visible(name)}' ({', '.join(known)}){did_you_mean(name, known)}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), allow_nan=False)
