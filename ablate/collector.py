"""Python's search for cyclic garbage, kept from what holds no cycles: a hundred thousand small values of a plan or a store.

Without it the collector looks at all of them again and again: a third of the time a large plan takes, half of a page's update.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (20_000, 50, 100)
"""Of young values after as many new ones; of those that stayed, after as many searches; of all, after as many of those."""


@contextmanager
def paused_collector() -> Iterator[None]:
    """No collection inside; afterwards as it was. As a decorator, for a whole function."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def collect_rarely() -> None:
    """For a process that keeps large stores in memory and answers people: what is loaded by now is never searched, the rest rarely.

    Figures are cycles and die young, so the searches of young values find them.
    """
    gc.freeze()
    gc.set_threshold(*RARELY)
