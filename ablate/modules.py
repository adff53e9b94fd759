"""Modules of somebody else's, found beside a study or installed, without leaving a trace in this process.

What was imported from the folder is forgotten again: the next study may have another module of that name, and a worker that trained once
starts the next trial with fresh modules. Installed packages stay.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

INSTALLED = frozenset(("site-packages", "dist-packages"))


@contextmanager
def modules_of(folder: Path) -> Iterator[None]:
    """Modules below the folder can be imported in here, before any installed one of the same name."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if _lies_below(folder, sys.modules[name]):
                del sys.modules[name]


def module_file(name: str, *, folder: Path) -> Path:
    """The source of a module, looked for in the folder first; a file that is not there where it has none."""
    missing = folder / f"{name.replace('.', '/')}.py"
    with modules_of(folder):
        try:
            spec = importlib.util.find_spec(name)
        except Exception:  # a package around it is the user's code, and says what is wrong when it is imported for good
            return missing
    return Path(spec.origin) if spec and spec.origin and spec.has_location else missing


def _lies_below(folder: Path, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if not file or not Path(file).is_relative_to(folder):
        return False
    return not INSTALLED & set(Path(file).relative_to(folder).parts)
