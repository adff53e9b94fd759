"""Pauses Python's search for cyclic garbage where a hundred thousand small values are made that hold no cycles.

Without it the collector looks at all of them again and again: a third of the time a large plan takes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
