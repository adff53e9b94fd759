"""One answer for all who ask the same: twenty viewers of one study cost little more than one.

A request whose inputs hold what a viewer has `seen` names the version it asks about, and its answer depends on nothing else. So equal
requests are answered by the same bytes, and while the first is computed the others wait for it.
"""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

UPDATE = "/_dash-update-component"
MOST_BYTES = 50_000_000
SHARED_SECONDS = 5.0
"""An answer is given again for so long: who watches asks within it, and no mishap lasts."""
WAIT_SECONDS = 20.0
"""For another's answer; then one's own is computed."""
TURN_SECONDS = 0.5
"""For a page's other answers, which are computed one after the other: all at once they take half as long again, since Python's threads take
turns anyway. What takes longer keeps nobody waiting for more."""


@dataclass
class _Answer:
    began: float = field(default_factory=lambda: time.monotonic())
    ready: threading.Event = field(default_factory=threading.Event)
    body: bytes | None = None
    """None until it is ready, and where the first to ask got none that others could use."""


def share_answers(server: Flask, *, outputs: Collection[str]) -> None:
    """`outputs`: of the callbacks that may be shared, as requests name them."""
    lock = threading.Lock()
    answers: dict[bytes, _Answer] = {}
    turn = threading.Lock()

    @server.before_request
    def _from_another() -> Response | None:
        g.answer, g.has_turn = None, False
        if request.method != "POST" or request.path != UPDATE:
            return None
        asked = request.get_json(silent=True)
        if not isinstance(asked, dict) or asked.get("output") not in outputs:
            return None
        key = request.get_data()
        with lock:
            known = answers.pop(key, None)
            if known and known.ready.is_set() and time.monotonic() - known.began > SHARED_SECONDS:
                known = None
            answers[key] = answer = known or _Answer()
        if known and known.ready.wait(WAIT_SECONDS) and known.body is not None:
            return Response(known.body, mimetype="application/json")
        g.answer, g.key, g.has_turn = answer, key, turn.acquire(timeout=TURN_SECONDS)
        return None

    @server.after_request
    def _for_others(response: Response) -> Response:
        answer: _Answer | None = g.get("answer")
        if answer is not None:
            if response.status_code == 200:
                answer.body = response.get_data()
            with lock:
                if answer.body is None:
                    answers.pop(g.key, None)
                now = time.monotonic()
                for key in [key for key, other in answers.items() if other.ready.is_set() and now - other.began > SHARED_SECONDS]:
                    del answers[key]
                held = sum(len(key) + len(other.body or b"") for key, other in answers.items())
                while held > MOST_BYTES and len(answers) > 1:
                    key, oldest = next(iter(answers.items()))
                    held -= len(key) + len(oldest.body or b"")
                    del answers[key]
        return response

    @server.teardown_request
    def _ended(_error: BaseException | None) -> None:
        if g.get("has_turn"):
            turn.release()
        if g.get("answer") is not None:
            g.answer.ready.set()
