"""MLflow's mirror beside a run: the process, how a run starts it and waits for it, and the report it is given for the study's own run.

The process is this module, since it stands above both the mirror and the report; a run imports neither MLflow nor plotly for it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ablate.errors import AblateError
from ablate.fingerprint import fingerprint
from ablate.repository import redacted
from ablate.stores import Store
from ablate.stores.mlflow_mirror import SILENT_SECONDS, Following, Order, Papers, read_note
from ablate.workspace import Workspace

PATIENT_SECONDS = 5
"""After so long at the end of a run a person is told what is waited for."""
MOST = 19
"""As nice as a process can be."""
AS_A_SESSION = 10
"""How nice its session is to others: of a processor that is wanted elsewhere it gets a tenth, and half where it is not nice."""
WAITED_FOR = b"somebody waits\n"
"""The last word of a run to its mirror; one that was killed has none."""
NO_REPORT = 3
"""Exit code where all trials are mirrored and a report is not."""
SERVER_VARIABLE = "MLFLOW_TRACKING_URI"
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""With a server, unless the environment says otherwise; MLflow's own would go on asking for longer than we wait for an answer."""


def mirror_order(workspace: Workspace, studies: tuple[str, ...]) -> Order:
    folder, uri = workspace.folder, os.environ.get(SERVER_VARIABLE)
    if uri:
        return Order(workspace.store_url, uri, None, studies, str(folder / f"mlflow-mirror-{fingerprint(uri)}.json"))
    return Order(workspace.store_url, workspace.mlflow_uri, str(folder / "mlflow"), studies, str(folder / "mlflow-mirror.json"))


def is_behind(order: Order, store: Store) -> bool:
    """Whether any of the studies changed since it was last mirrored whole; costs no MLflow import."""
    mirrored = read_note(Path(order.note))
    return any(record.updated > mirrored.get(record.name, 0.0) for record in store.studies() if record.name in order.studies)


class Mirroring:
    """A mirror process beside a run: started when there is something to mirror, and waited for at the end."""

    def __init__(self, order: Order, store: Store, *, say: Callable[[str], None]) -> None:
        self._order, self._store, self._say = order, store, say
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Mirroring":
        return self

    def start(self) -> None:
        """Starts the process, once."""
        if self._process is None:
            self._process = _start_process(self._order)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._process is None and error is None and is_behind(self._order, self._store):
            self.start()
        if self._process is None:
            return
        began = time.monotonic()
        complaint, code = self._wait(), self._process.returncode
        last = redacted(complaint.strip().rpartition("\n")[2])
        if code and code != NO_REPORT:
            last = f"no answer for {SILENT_SECONDS} s" if code == -signal.SIGALRM else last
            self._say(f"MLflow could not be written ({last}); nothing is lost, the next run mirrors what is missing")
            return
        if code:
            self._say(f"MLflow has all trials, but not the report ({last}); the next run tries again")
        uri = self._order.mlflow_uri
        pages = f"mlflow ui --backend-store-uri {uri}" if self._order.artefacts else redacted(uri)
        self._say(f"mirrored to MLflow in {time.monotonic() - began:.1f} s more: {pages}")

    def _wait(self) -> str:
        """Until the mirror has written the rest; answers its complaint."""
        assert self._process
        try:
            complaint = self._process.communicate(WAITED_FOR, timeout=PATIENT_SECONDS)[1]  # closing its input tells it to finish
        except subprocess.TimeoutExpired:
            self._say("MLflow gets the rest; Ctrl-C twice leaves that to the next run")
            complaint = self._process.communicate()[1]
        return complaint.decode(errors="replace")


def _start_process(order: Order) -> "subprocess.Popen[bytes]":
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate.mirroring"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=PATIENCE | os.environ | quiet,
        start_new_session=True,  # Ctrl-C is for the run; the mirror ends when its input does
    )
    assert process.stdin
    process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
    process.stdin.flush()
    return process


def _be_nice_to_others(niceness: int) -> None:
    """As a session: Linux shares the processor out between sessions, and only within one by the niceness of processes."""
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def main() -> int:
    """The mirror process: catches up every two seconds, or less often, until its run waits for it, then once more.

    MLflow may be away in between: what it did not take is tried again. A try that does not end is ended with the process. Without its
    run, which was killed, it ends at once: the next run needs the processor, and mirrors what is missing.
    """
    os.nice(MOST)  # behind Ray's workers, which stand behind the rest
    _be_nice_to_others(AS_A_SESSION)
    following = Following(Order(**json.loads(sys.stdin.readline())), papers_of)
    waited_for = threading.Event()
    threading.Thread(target=_listen, args=(waited_for,), daemon=True).start()
    ending = False
    while True:
        signal.alarm(SILENT_SECONDS)
        try:
            following.catch_up(ending=ending)
            if ending:
                break
        except Exception:
            if ending:
                raise
        signal.alarm(0)
        ending = waited_for.wait(following.pause_seconds)
        if not ending and following.expects_papers:
            _load_report()
    if complaints := following.end():
        print(*complaints, sep="; ", file=sys.stderr)
        return NO_REPORT
    return 0


def _listen(waited_for: threading.Event) -> None:
    if sys.stdin.read().encode() != WAITED_FOR:
        os._exit(0)  # in the middle of a write too: MLflow's own transactions and our tags tell the next mirror what is whole
    _be_nice_to_others(0)  # at once: on a machine that is full the import of MLflow may still be going on at a tenth of a share
    waited_for.set()


def _load_report() -> None:
    """Its libraries take more than a second, which nobody waits for while the run works."""
    with contextlib.suppress(Exception):  # of which the report itself will tell
        import ablate.conclude
        import ablate.report_page  # noqa: F401


def papers_of(store: Store, study: str) -> Papers:
    """The page that `ablate report` writes, its figures for `plotly.io.read_json`, and the verdict on each claim."""
    from ablate.conclude import study_report
    from ablate.report_figures import drawings
    from ablate.report_page import render_report

    report = study_report(store, study)
    plots = {f"plots/{drawing.name}.json": drawing.draw(dark=False).to_json() for drawing in drawings(report)}
    verdicts = {f"ablate.verdict.{number}": f"{found.verdict}: {found.statement}" for number, found in enumerate(report.verdicts, start=1)}
    return Papers(files={"report.html": render_report([report])} | plots, tags=verdicts)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AblateError as error:
        sys.exit(str(error))
