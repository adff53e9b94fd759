"""Looks for news and shared answers: who asks, how often the store is asked, and that a mishap is not shared."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, Response, request

from dashboards.live import LOOK_SECONDS, Looks
from dashboards.sharing import SHARED_SECONDS, UPDATE, share_answers


def test_looks_within_a_second_are_one_question() -> None:
    asked, now = Counter[str](), [100.0]

    def version_of(path: str) -> dict[str, int]:
        asked[path] += 1
        return {"version": asked[path]}

    looks = Looks(version_of, clock=lambda: now[0])
    assert [looks.at("/a")["version"] for _ in range(5)] == [1] * 5
    assert looks.at("/b")["version"] == 1
    now[0] += LOOK_SECONDS
    assert looks.at("/a")["version"] == 2


class Server:
    """Answers an update with the number of times that it was computed."""

    def __init__(self) -> None:
        self.flask, self.computed, self.status = Flask("test"), 0, 200
        self.gate = threading.Event()
        self.gate.set()
        share_answers(self.flask, outputs={"page.children"})

        @self.flask.post(UPDATE)
        def _update() -> Response:
            request.get_json()
            self.computed += 1
            number = self.computed
            assert self.gate.wait(20)
            return Response(f'{{"computed": {number}}}', status=self.status, mimetype="application/json")

    def ask(self, output: str = "page.children", seen: int = 1) -> int:
        found: int = self.flask.test_client().post(UPDATE, json={"output": output, "seen": seen}).get_json()["computed"]
        return found


def test_equal_requests_share_an_answer_and_others_do_not() -> None:
    server = Server()
    assert [server.ask(), server.ask(), server.ask(seen=2), server.ask()] == [1, 1, 2, 1]
    assert [server.ask("button.children"), server.ask("button.children")] == [3, 4]


def test_those_who_ask_while_the_first_is_answered_wait_for_it() -> None:
    server = Server()
    server.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(server.ask) for _ in range(5)]
        server.gate.set()
        assert {one.result() for one in asked} == {1}


def test_failure_is_nobody_elses() -> None:
    server = Server()
    server.status = 500
    assert server.ask() == 1
    server.status = 200
    assert [server.ask(), server.ask()] == [2, 2]


def test_answer_is_given_again_for_seconds_only(monkeypatch) -> None:
    server = Server()
    now = [100.0]
    monkeypatch.setattr("dashboards.sharing.time.monotonic", lambda: now[0])
    assert [server.ask(), server.ask()] == [1, 1]
    now[0] += SHARED_SECONDS + 1
    assert server.ask() == 2
