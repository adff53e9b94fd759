"""What is new in an answer since the one a viewer has: an update carries that, and the browser puts it in (`assets/browser.js`).

JSON values only. An answer is named by its content, so that whoever has it is known by a short word, and all viewers of one view share one.
"""

import threading
from base64 import b64decode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import plotly.graph_objects as go
from dash import no_update

KEPT = 24
"""Answers that an update can start from; a viewer with an older one gets the whole."""

Change = list[Any]
"""`["set", path, value]`, `["append", path, values]` or `["drop", path]`; a path is keys and places from the top."""


def changes(old: Any, new: Any, *, path: Sequence[Any] = ()) -> list[Change]:
    """What makes `old` into `new`, in order."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[Change] = [["drop", [*path, key]] for key in old.keys() - new.keys()]
        for key, value in new.items():
            found += changes(old[key], value, path=[*path, key]) if key in old else [["set", [*path, key], value]]
        return found
    if isinstance(old, list) and isinstance(new, list) and old and len(new) >= len(old):
        if new[: len(old)] == old:
            return [["append", list(path), new[len(old) :]]] if len(new) > len(old) else []
        if any(isinstance(part, dict | list) for part in old):
            found = [change for place, part in enumerate(old) for change in changes(part, new[place], path=[*path, place])]
            return [*found, ["append", list(path), new[len(old) :]]] if len(new) > len(old) else found
    return [] if old == new and type(old) is type(new) else [["set", list(path), new]]


def row_changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], *, key: str) -> dict[str, Any]:
    """A grid's transaction: rows to `add`, `update` and `remove`, told apart by their `key`."""
    before, after = {row[key]: row for row in old}, {row[key]: row for row in new}
    return {
        "add": [row for name, row in after.items() if name not in before],
        "update": [row for name, row in after.items() if name in before and before[name] != row],
        "remove": [row for name, row in before.items() if name not in after],
    }


class Sent:
    """Answers that went out lately, by name. Any number of threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}

    def figure(self, figure: go.Figure, *, have: object) -> Any:
        """`{"id", "value"}`, or `{"id", "base", "changes"}` for a viewer who has one of the last; `no_update` where that is this one."""
        value = orjson.loads(orjson.dumps(_unpacked(figure.to_plotly_json()), option=orjson.OPT_SERIALIZE_NUMPY, default=_plain))
        name, before = self._keep(value, have)
        if before is None:
            return {"id": name, "value": value}
        return no_update if name == have else {"id": name, "base": have, "changes": changes(before, value)}

    def rows(self, columns: Sequence[Any], rows: Sequence[Mapping[str, Any]], *, key: str, have: object) -> Any:
        """`{"id", "columns", "rows"}`, or `{"id", "base", "add", "update", "remove"}` where the columns are the same."""
        value = {"columns": columns, "rows": rows}
        name, before = self._keep(value, have)
        if before is None or before["columns"] != columns:
            return {"id": name, **value}
        return no_update if name == have else {"id": name, "base": have, **row_changes(before["rows"], rows, key=key)}

    def _keep(self, value: Any, have: object) -> tuple[str, Any]:
        """The value's name, and what a viewer who has `have` has."""
        name = blake2b(orjson.dumps(value), digest_size=9).hexdigest()
        with self._lock:
            before = self._kept.get(have) if isinstance(have, str) else None
            self._kept.pop(name, None)
            self._kept[name] = value
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
        return name, before


def _unpacked(value: Any) -> Any:
    """With arrays in the place of the base64 words that plotly packs them into, to which nothing can be appended."""
    if isinstance(value, dict):
        if value.keys() >= {"dtype", "bdata"}:
            found = np.frombuffer(b64decode(value["bdata"]), dtype=value["dtype"])
            return found.reshape([int(side) for side in value["shape"].split(",")]) if "shape" in value else found
        return {key: _unpacked(part) for key, part in value.items()}
    return [_unpacked(part) for part in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Of what orjson does not know: arrays of Python's objects."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a figure holds {type(value).__name__}, which is no JSON value")
