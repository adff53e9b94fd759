"""What the pages cost on a large store: first answers, updates, memory, and twenty people who watch one running study.

The store is made by the synthetic trainer: 10,000 trials and 5 million metric points, in one study and in a hundred. A real browser opens
every page, in a window of 1280 by 900, of a server that has answered nothing yet; five trials then end, one by one, and the answers that
follow are timed. The twenty viewers ask what a page asks of a study whose trials report while they look; what the server then uses of a
processor is its own processor time.
Run it with

    python benchmarks/dashboard.py [--trials 10000] [--points 500] [--keep FOLDER]
"""

import argparse
import contextlib
import http.client
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote, unquote

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from ablate import synthetic
from ablate.attempt import Outcome
from ablate.draft import Arm
from ablate.journal import Point, make_point
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.stores import Store, open_store
from ablate.study import Study

AXES: dict[str, list[Any]] = {
    "image_size": [112, 144, 176, 208, 224, 256, 288, 336, 384, 448],
    "num_tokens": [16, 25, 36, 49, 64, 81, 100, 121, 144, 196],
    "mix": ["45:45:10", "90:0:10", "0:90:10", "30:60:10", "100:0:0"],
    "connector": ["avg_pool", "c_abstractor"],
}
SEEDS = 10
LEFT = 20
"""Trials of a large study that wait: one ends at each update, and one that failed fails again once none waits."""
VIEWERS, WATCHED_SECONDS = 20, 30.0
UPDATES = 5
QUIET_SECONDS = 3.0
"""A page without a request for so long has nothing more to ask for; it looks for news every second, which does not count."""
UPDATE, LOOK = "/_dash-update-component", "/_live"


class Kept:
    """A trial's context that keeps what is reported."""

    def __init__(self, seed: int) -> None:
        self.seed, self.points = seed, list[Point]()

    def restore(self) -> None: ...

    def should_stop(self) -> bool:
        return False

    def report(self, step: int, **metrics: float) -> None:
        self.points += [make_point(step, name, value) for name, value in metrics.items()]


def arms(levels: dict[str, list[Any]], *, steps: int, fail: str) -> Iterator[Arm]:
    first = {axis: values[0] for axis, values in levels.items()}
    for values in itertools.product(*levels.values()):
        chosen = dict(zip(levels, values, strict=True))
        changes = {axis: level for axis, level in chosen.items() if level != first[axis]}
        settings = synthetic.Config.model_validate({**chosen, "steps": steps, "fail": fail})
        name = ",".join(f"{axis}={level}" for axis, level in changes.items()) or "base"
        yield Arm(name=name, levels=chosen, changes=changes, config=settings.model_dump(mode="json"), settings=settings)


def make_study(store: Store, *, name: str, num_arms: int, points: int) -> Plan:
    """Its plan in the store, nothing run."""
    levels = dict(AXES)
    for axis in AXES:  # fewer levels until there are no more arms than asked for
        while len(levels[axis]) > 2 and _number(levels) > num_arms:
            levels[axis] = levels[axis][:-1]
    spec = {"schema": 1, "name": name, "question": "What does a large study cost to look at?", "trainer": "synthetic", "axes": levels}
    claims = [{"axis": "image_size", "expect": "increases"}, {"axis": "connector", "expect": "equivalent", "within": 1.0}]
    study = Study.model_validate(spec | {"seeds": SEEDS, "metric": {"name": "score/8", "goal": "max"}, "claims": claims})
    plan = make_plan(study, list(arms(levels, steps=points - 3, fail="raise:0.01")))
    store.record_plan(plan, axes=levels, simulated=True)
    return plan


def _number(levels: dict[str, list[Any]]) -> int:
    product = 1
    for values in levels.values():
        product *= len(values)
    return product


def end(store: Store, job: str, *, config: synthetic.Config, seed: int, study: str) -> None:
    """As a worker and a run would have left it."""
    kept, reason = Kept(seed), ""
    try:
        synthetic.train(synthetic.stages(config)[0], {}, kept)
    except RuntimeError as error:
        reason = str(error)
    store.add_points({(job, 1): kept.points})
    last = {point.key: point for point in kept.points}
    ended = {"cause": "user", "reason": reason, "state": "failed"} if reason else {"state": "done", "metrics": tuple(last.values())}
    store.finish(study, Outcome(job=job, attempt=1, started=time.time(), seconds=1.0, **ended))  # type: ignore[arg-type]


def end_one(store: Store, name: str) -> None:
    """The next of the study's trials that wait, or one that failed again."""
    trial = next(trial for trial in store.trials(name) if trial.state != "done")
    end(store, trial.chain[-1], config=synthetic.Config.model_validate(trial.config), seed=trial.seed, study=name)


def end_all(store: Store, plan: Plan, *, but: int) -> None:
    """All trials of a study, without the last few."""
    for trial in list(plan.trials)[: len(plan.trials) - but]:
        config = synthetic.Config.model_validate(trial.config)
        end(store, trial.chain[-1], config=config, seed=trial.seed, study=plan.study.name)


def fill(url: str, *, studies: int, trials: int, points: int) -> None:
    """All but the last trials of each study have ended."""
    store = open_store(url, write=True)
    for number in range(studies):
        plan = make_study(store, name=f"large-{number:03}", num_arms=trials // studies // SEEDS, points=points)
        end_all(store, plan, but=LEFT)
    store.close()


@dataclass
class Asked:
    """What one page asked the server for: `(is it a look for news, start, end)` in seconds of the browser's clock."""

    requests: list[tuple[bool, float, float]] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("requestfinished", self._note)

    def _note(self, request: Any) -> None:
        if UPDATE in request.url or LOOK in request.url:
            timing = request.timing
            start = timing["startTime"] / 1000
            end = start + timing["responseEnd"] / 1000 if timing["responseEnd"] >= 0 else time.time()  # not known of a large answer
            self.requests.append((LOOK in request.url, start, end))

    @property
    def looks(self) -> list[float]:
        """Seconds of each."""
        return [end - start for is_look, start, end in self.requests if is_look]

    @property
    def opening(self) -> tuple[float, float]:
        """Seconds of the first answer, and from its request to the last one with what the browser did in between."""
        found = sorted((start, end) for is_look, start, end in self.requests if not is_look)
        return found[0][1] - found[0][0], max(end for _, end in found) - found[0][0]

    def update(self, *, after: float) -> float:
        """The same of requests that were sent together, after a moment; the longest where there were several, NaN where there was none."""
        groups: list[tuple[float, float]] = []
        for is_look, start, end in sorted(self.requests, key=lambda request: request[1]):
            if not is_look and start > after:
                began, ended = groups.pop() if groups and start < groups[-1][1] + 0.1 else (start, end)
                groups.append((began, max(end, ended)))
        return max((ended - began for began, ended in groups), default=float("nan"))


@contextlib.contextmanager
def server(url: str) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "dashboards.app", "--store", url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"http://\S+?(?=/ )", process.stdout.readline())
        assert found
        try:
            yield found.group(), psutil.Process(process.pid)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Visit:
    first: float
    """Seconds to the first answer: the page, without figures and tables."""
    whole: float
    """Seconds until all of it was answered, with what the browser did in between."""
    updates: Sequence[float]
    """The same after a trial has ended, each time."""
    look: float
    """The slowest look for news."""
    first_cpu: float
    update_cpu: float
    """The server's own processor time for the opening and for an update."""
    bytes: int
    """Its memory afterwards."""


def visit(browser: Browser, address: str, process: psutil.Process, *, change: Callable[[], None]) -> Visit:
    asked, page, used = Asked(), browser.new_page(viewport={"width": 1280, "height": 900}), cpu_seconds(process)
    asked.watch(page)
    page.goto(address)
    page.wait_for_timeout(QUIET_SECONDS * 1000)
    (first, whole), opened, updates = asked.opening, cpu_seconds(process), []
    for _ in range(UPDATES):
        changed = time.time()
        change()
        page.wait_for_timeout(QUIET_SECONDS * 1000)
        updates.append(asked.update(after=changed))
    page.close()
    update_cpu = (cpu_seconds(process) - opened) / UPDATES
    return Visit(first, whole, updates, max(asked.looks), opened - used, update_cpu, process.memory_info().rss)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def paths(name: str, trial: str) -> Sequence[str]:
    """Every page that shows a study or all of them, and those of a kind that this one has nothing for are left out."""
    one_study = [f"/{page}/{name}" for page in ("study", "curves", "axis", "factors", "parallel", "mix", "lessons")]
    return ["/", "/lessons", f"/compare?study={name}", f"/trial/{name}/{trial}", *one_study]


def measure_pages(url: str, browser: Browser, *, studies: int) -> None:
    store = open_store(url, write=True)
    name = f"large-{studies - 1:03}"
    trials = store.trials(name)
    print(f"{studies} studies, {len(trials):,} trials in the one looked at; each page of a server that has answered nothing", flush=True)
    for path in paths(name, quote(trials[0].id, safe="")):
        with server(url) as (address, process):
            seen = visit(browser, address + path, process, change=lambda: end_one(store, name))
        print(
            f"  {unquote(path):28} first answer {seen.first:4.2f} s, all {seen.whole:4.2f} s ({seen.first_cpu:4.2f} of a processor), "
            f"update {median(seen.updates):4.2f} s, at most {max(seen.updates):4.2f} ({seen.update_cpu:4.2f}), look {seen.look:4.2f} s, "
            f"{seen.bytes / 1e6:3.0f} MB",
            flush=True,
        )
    store.close()


class Viewer:
    """Asks what a page asks, without a browser: twenty of those would leave the server none of the processors."""

    def __init__(self, address: str, *, path: str, bodies: Sequence[dict[str, Any]]) -> None:
        self._connection = http.client.HTTPConnection(address.removeprefix("http://"))
        self._path = f"{LOOK}?path={quote(path, safe='')}"
        self._bodies: list[dict[str, Any]] = json.loads(json.dumps(bodies))  # its own
        self._values = {f"{part['id']}.{part['property']}": part.get("value") for body in bodies for part in _parts(body)}
        self.seconds: list[float] = []
        """Of each answer."""

    def watch(self, *, until: float) -> None:
        """A look each second, and what a page asks for after one that found news."""
        while (began := time.monotonic()) < until:
            found = json.loads(self._ask("GET", self._path))
            news = set()
            for name in [name for name in self._values if name == "seen.data" or name.endswith("-seen.data")]:
                before = self._values[name]
                self._values[name] = before | {key: found[key] for key in before.keys() & found.keys()}
                news |= {name.removesuffix(".data")} if self._values[name] != before else set()
            news |= {"points"} if found["points"] != self._values.get("points.data") else set()
            self._values["points.data"] = found["points"]
            for body in self._bodies:
                if news & {part["id"] for part in body["inputs"]}:
                    self._update(body)
            time.sleep(max(0.0, began + 1.0 - time.monotonic()))
        self._connection.close()

    def _update(self, body: dict[str, Any]) -> None:
        for part in _parts(body):
            part["value"] = self._values.get(f"{part['id']}.{part['property']}")
        answer = self._ask("POST", UPDATE, json.dumps(body))
        for name, properties in json.loads(answer)["response"].items() if answer else ():
            made = properties.get("data")
            if name.endswith("-made") and isinstance(made, dict):
                self._values[f"{name.removesuffix('-made')}-have.data"] = made["id"]

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        began = time.monotonic()
        self._connection.request(method, path, body=body, headers={"Content-Type": "application/json"} if body else {})
        answer = self._connection.getresponse()
        content = answer.read()
        self.seconds.append(time.monotonic() - began)
        assert answer.status in (200, 204), content[:500]
        return content


def _parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [*body["inputs"], *body.get("state", [])]


def bodies_of(browser: Browser, address: str) -> list[dict[str, Any]]:
    """What the page asks for when it has news, as a browser asks it; each callback once."""
    found: dict[str, dict[str, Any]] = {}

    def note(request: Any) -> None:
        if UPDATE in request.url:
            body = request.post_data_json
            if any(part["id"] == "seen" or part["id"].endswith("-seen") for part in body["inputs"]):
                found[body["output"]] = body

    page = browser.new_page()
    page.on("request", note)
    page.goto(address)
    page.wait_for_timeout(QUIET_SECONDS * 1000)
    page.close()
    return list(found.values())


def measure_viewers(folder: Path, browser: Browser) -> None:
    """A study of 160 trials of which two report ten times a second, watched by twenty."""
    url = f"sqlite:///{folder / 'watched.db'}"
    store = open_store(url, write=True)
    plan = make_study(store, name="watched", num_arms=16, points=100)
    end_all(store, plan, but=100)
    running = list(plan.jobs.values())[60:62]
    for job in running:
        store.start("watched", job.id, attempt=1)
    ended = threading.Event()

    def report() -> None:
        writer = open_store(url, write=True)
        for step in itertools.count(1):
            if ended.wait(0.1):
                break
            writer.add_points({(job.id, 1): [make_point(step, "loss", 10 / step)] for job in running})
        writer.close()

    with server(url) as (address, process):
        bodies = bodies_of(browser, f"{address}/study/watched")
        viewers = [Viewer(address, path="/study/watched", bodies=bodies) for _ in range(VIEWERS)]
        threads = [threading.Thread(target=report)]
        before, began = cpu_seconds(process), time.monotonic()
        threads += [threading.Thread(target=viewer.watch, kwargs={"until": began + WATCHED_SECONDS}) for viewer in viewers]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        used, seconds = cpu_seconds(process) - before, time.monotonic() - began
        ended.set()
        threads[0].join()
    answers = sorted(second for viewer in viewers for second in viewer.seconds)
    print(
        f"{VIEWERS} viewers for {seconds:.0f} s: {used / seconds:.3f} of a processor, {len(answers):,} answers, "
        f"median {answers[len(answers) // 2] * 1000:.0f} ms, 99 % within {answers[int(0.99 * len(answers))] * 1000:.0f} ms",
        flush=True,
    )
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=500, help="of each trial")
    parser.add_argument("--keep", type=Path, help="folder of the stores, made where they are not there yet; default: a temporary one")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        stack.callback(browser.close)
        measure_viewers(Path(stack.enter_context(tempfile.TemporaryDirectory())), browser)
        for studies in (1, 100):
            file = folder / f"{studies}.db"
            if not file.exists():
                began = time.perf_counter()
                fill(f"sqlite:///{file}.part", studies=studies, trials=options.trials, points=options.points)
                file.with_name(f"{file.name}.part").rename(file)
                print(f"filled {file.name} in {time.perf_counter() - began:.0f} s, {file.stat().st_size / 1e6:.0f} MB", flush=True)
            measure_pages(f"sqlite:///{file}", browser, studies=studies)


if __name__ == "__main__":
    main()
