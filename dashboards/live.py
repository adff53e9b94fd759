"""The look for news: a page asks `/_live` for the version of what it shows, and only a new one reaches its callbacks.

Looks of all viewers of a page within a second are one question to the store. A page that nobody sees does not look (`assets/browser.js`).
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from ablate.errors import EnvironmentMissing, InputError
from dashboards.reader import Reader

PATH = "/_live"
LOOK_SECONDS = 1.0
"""Between two looks of a viewer, and the age at which an answer is asked for again: news is on its way within two seconds."""
MOST_PATHS = 200

Versions = Mapping[str, Any]
"""`version` and `points` of what is there, `version` alone (the reason) of what is not, or `away` (the reason) while the store is."""


class _Look(NamedTuple):
    time: float
    found: Versions


class Looks:
    """What `version_of(path)` says, asked at most once a second for each path. Any number of threads may ask."""

    def __init__(self, version_of: Callable[[str], Versions], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._version_of, self._clock = version_of, clock
        self._lock = threading.Lock()
        self._known: dict[str, _Look] = {}

    def at(self, path: str) -> Versions:
        with self._lock:  # one question at a time: who waited finds its answer here
            known = self._known.pop(path, None)
            if known is None or self._clock() - known.time >= LOOK_SECONDS:
                known = _Look(self._clock(), self._version_of(path))
            self._known[path] = known
            while len(self._known) > MOST_PATHS:
                self._known.pop(next(iter(self._known)))
            return known.found


def serve_looks(server: Flask, looks: Looks) -> None:
    @server.get(PATH)
    def _look() -> ResponseReturnValue:
        response = jsonify(looks.at(request.args.get("path", "/")[:4000]))
        response.headers["Cache-Control"] = "no-store"
        return response


def versions(find_page: Callable[[str], Any], reader: Reader, path: str) -> Versions:
    """What a look at this path finds."""
    try:
        page, names = find_page(path)
        return {"version": page.version(reader, names=names), "points": page.points(reader, names=names)}
    except InputError as error:
        return {"version": str(error), "points": 0}
    except EnvironmentMissing as error:
        return {"away": str(error)}
