"""Holding a study while something works on it: its lease, claimed at the start, beaten by a thread of its own, given back at the end.

And what is asked of a study from outside its run: to retry jobs, which takes the lease, and to stop, which asks who has it.
"""

import os
import signal
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ablate.errors import EnvironmentMissing, InputError
from ablate.standing import Retry, jobs_to_retry
from ablate.stores import BEAT_SECONDS, LEASE_TTL, Lease, LeaseLost, Store, find_study
from ablate.trainers import IMPORTED


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


def refuse_imported(store: Store, study: str) -> None:
    """Raises InputError for a study that is not there, or that has no jobs of ours to run."""
    if find_study(store, study).spec["trainer"] == IMPORTED:
        raise InputError(f"'{study}' was imported: its runs were made elsewhere, and importing it again brings what has changed there")


def retry(store: Store, study: str, *, kinds: Collection[str], by: str) -> Retry:
    """Puts the jobs that ended so (see `RETRIED`) back in the queue, which the next run executes, and says in each one's event who asked.

    Raises EnvironmentMissing where a run holds the study: it would not notice.
    """
    refuse_imported(store, study)
    with held(store, study=study, owner=by) as (mine, _):
        found = jobs_to_retry(mine, study, kinds=kinds)
        mine.requeue(study, found.jobs, why=f"asked for by {by}")
    return found


class Asked(NamedTuple):
    run: bool
    """Whether there was one to ask."""
    said: str


def ask_to_stop(store: Store, study: str) -> Asked:
    """Sends the run that holds the study the signal to end. Raises EnvironmentMissing where that run is out of reach."""
    holder = store.holder(study)
    if holder is None or holder.silent_seconds > LEASE_TTL:
        return Asked(False, f"no run works on '{study}'")
    if holder.lease.host != socket.gethostname():
        raise EnvironmentMissing(f"'{study}' is worked on by {holder.lease.who}; ask there")
    try:
        os.kill(holder.lease.pid, signal.SIGTERM)
    except ProcessLookupError:
        return Asked(False, f"no run works on '{study}': its run has just died; the same command goes on")
    except PermissionError as error:
        raise EnvironmentMissing(f"'{study}' is worked on by {holder.lease.who}, which is another user's; ask there") from error
    return Asked(True, f"asked {holder.lease.who} to end; the same command goes on")


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
