"""Holding a study while a run works on it: its lease, claimed at the start, beaten by a thread of its own, given back at the end."""

import os
import signal
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ablate.errors import EnvironmentMissing
from ablate.planned import Plan
from ablate.stores import BEAT_SECONDS, LEASE_TTL, Lease, LeaseLost, Store, StudyRecord


class Held(NamedTuple):
    """What a holder works with."""

    store: Store
    """Writes only while the lease is held, and raises LeaseLost from then on."""
    lost: threading.Event
    """Set once another run has taken the study over."""


@contextmanager
def held(store: Store, *, study: str, owner: str) -> Iterator[Held]:
    """The study's lease for the time of the body. Raises EnvironmentMissing where another run holds it and lives."""
    lease = store.claim(study, owner=owner)
    ended, lost = threading.Event(), threading.Event()
    beating = threading.Thread(target=_beat, args=(store, lease), kwargs={"ended": ended, "lost": lost}, daemon=True)
    beating.start()
    try:
        yield Held(store.fenced(lease), lost)
    finally:
        ended.set()
        beating.join()
        store.release(lease)


def refuse_shared_work(plan: Plan, store: Store) -> None:
    """Two runs that want one job would both execute it, in one folder. Raises EnvironmentMissing where another study's run is to do a
    job of this plan."""
    for other, shared in _shared_work(plan.jobs, study=plan.study.name, store=store):
        raise EnvironmentMissing(
            f"'{plan.study.name}' shares {len(shared)} unfinished jobs, such as {shared[0]}, with '{other.name}', which is being run: "
            f"start it when that has ended (`ablate status {other.name}`), or let one run do both: ablate run {other.name} "
            f"{plan.study.name}"
        )


def planned_elsewhere(jobs: Collection[str], *, study: str, store: Store) -> str:
    """Which planned study's run is to do one of these jobs; '' if none is. A search asks once it has recorded what it proposes, and a
    planned run once it has recorded its plan, so of two that want one job at least one sees the other."""
    shared = _shared_work(jobs, study=study, store=store)
    return next((other.name for other, _ in shared if all(part["kind"] != "search" for part in other.spec["design"])), "")


def _shared_work(jobs: Collection[str], *, study: str, store: Store) -> Iterator[tuple[StudyRecord, list[str]]]:
    """Other studies that are being run, each with those of these jobs that it is to do."""
    for other in store.studies():
        if other.active and other.name != study:
            shared = [job.id for job in store.jobs(other.name) if job.id in jobs and job.state in ("queued", "running")]
            if shared:
                yield other, shared


def ask_to_stop(store: Store, study: str) -> str:
    """Sends the run that holds the study the signal to end, and says so. Raises EnvironmentMissing where that run is out of reach."""
    holder = store.holder(study)
    if holder is None or holder.silent_seconds > LEASE_TTL:
        return f"no run works on '{study}'"
    if holder.lease.host != socket.gethostname():
        raise EnvironmentMissing(f"'{study}' is worked on by {holder.lease.who}; ask there")
    try:
        os.kill(holder.lease.pid, signal.SIGTERM)
    except ProcessLookupError:
        return f"no run works on '{study}': its run has just died; the same command goes on"
    except PermissionError as error:
        raise EnvironmentMissing(f"'{study}' is worked on by {holder.lease.who}, which is another user's; ask there") from error
    return f"asked {holder.lease.who} to end; the same command goes on"


def _beat(store: Store, lease: Lease, *, ended: threading.Event, lost: threading.Event) -> None:
    # a thread, so that a long step of the run, such as the plan of a large study, is no silence
    while not ended.wait(BEAT_SECONDS):
        try:
            store.beat(lease)
        except LeaseLost:
            lost.set()
            return
        except EnvironmentMissing:
            continue  # a store that is away for longer than is waited for; when it is back, it says whether the lease is held still
