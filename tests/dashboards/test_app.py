"""The program around the pages."""

import gc
import sys
from collections.abc import Iterator

import pytest
from werkzeug.serving import BaseWSGIServer

from ablate.collector import RARELY
from dashboards.app import SWITCH_SECONDS, answer


class Interrupted(BaseWSGIServer):
    """Notes how its process is set up, and ends as by Ctrl-C."""

    def __init__(self) -> None:
        self.found: list[object] = []

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.found += [gc.get_threshold(), sys.getswitchinterval()]
        raise KeyboardInterrupt

    def server_close(self) -> None:
        self.found.append("closed")


@pytest.fixture
def _as_before() -> Iterator[None]:
    seconds, threshold = sys.getswitchinterval(), gc.get_threshold()
    yield
    sys.setswitchinterval(seconds)
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("_as_before")
def test_answer_sets_the_process_up_and_ends_with_ctrl_c() -> None:
    server = Interrupted()
    answer(server)
    assert server.found == [RARELY, pytest.approx(SWITCH_SECONDS), "closed"]
