"""Files that a trainer is made of become digests: a trial on another text of the script is another trial.

A study gets them, with the folder they lie in, when it is loaded; the worker compares them again before it trains, so that no result is
filed under a text that did not make it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ablate.errors import InputError
from ablate.marked_yaml import ARGUMENT, Fault, visible
from ablate.modules import module_file
from ablate.repository import git
from ablate.study import Study
from ablate.trainer_settings import CommandTrainer, OwnTrainer, PythonTrainer, SurrogateTrainer

DIGEST_LENGTH = 16
MAX_SOURCE_BYTES = 50_000_000
MODULE = "module "
"""Before the name of a module in the place of a file's."""


def own_trainer(study: Study) -> tuple[str, OwnTrainer] | None:
    """The key and the settings of a trainer of somebody else's; None for those shipped here."""
    settings = {"command": study.command, "python": study.python}.get(study.trainer)
    return (study.trainer, settings) if settings else None


def with_sources(study: Study) -> tuple[Study, list[Fault]]:
    """The study knowing its trainer's folder and the digests of its files, and what of them is not there."""
    if study.surrogate:
        return _with_surface(study, study.surrogate)
    found = own_trainer(study)
    if found is None:
        return study, []
    key, settings = found
    folder = _folder(study, key) / settings.folder
    if not folder.is_dir():
        return study, [Fault((key, "folder"), f"no folder '{visible(str(folder))}'")]
    listed = list(settings.sources)
    faults = [
        Fault((key, "sources", place), f"no file '{visible(name)}' in {visible(str(folder))}")
        for place, name in enumerate(listed)
        if not (folder / name).is_file()
    ]
    names = dict.fromkeys((*_named(settings, folder), *listed))
    sources = {name: digest for name in names if (digest := digest_of(source_file(name, folder)))}
    located = settings.model_copy(update={"folder": str(folder.resolve()), "sources": sources})
    return study.model_copy(update={key: located}), faults


def digest_of(path: Path) -> str:
    """The beginning of the SHA-256 of a file's bytes; empty where there is no file of a size that a program's text has."""
    if not path.is_file() or path.stat().st_size > MAX_SOURCE_BYTES:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST_LENGTH]


def refuse_changed(sources: Mapping[str, str], *, folder: Path) -> None:
    """Raises InputError where a file is not what it was when the trial was planned."""
    changed = [name for name, digest in sources.items() if digest != digest_of(source_file(name, folder))]
    if changed:
        raise InputError(f"{', '.join(changed)} in {folder} changed since the trial was planned; run again to plan with what it is now")


def refuse_uncommitted(study: Study) -> None:
    """Raises InputError where the study asks for a committed trainer and its files differ from the last commit, or are in none."""
    if not study.trainer_must_be_committed:
        return
    found = own_trainer(study)
    if found is None:
        return  # what is shipped has a version of its own
    key, settings = found
    folder, files = Path(settings.folder), [str(source_file(name, Path(settings.folder))) for name in settings.sources]
    changed = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    untracked = [name for name in files if git(folder, "ls-files", "--", name) == ""]
    if changed is None:
        wrong = f"{visible(str(folder))} is in no git repository; put it in one"
    elif names := [line[3:] for line in changed.splitlines()] + [f"{name} (not in git)" for name in untracked]:
        wrong = f"the {key} trainer has uncommitted changes ({', '.join(names[:8])}{', ...' * (len(names) > 8)}); commit them"
    else:
        return
    raise InputError([study.marks.problem(Fault(("trainer_must_be_committed",), f"{wrong}, or leave this key out"))])


def _with_surface(study: Study, settings: SurrogateTrainer) -> tuple[Study, list[Fault]]:
    """A file that an argument names is looked for where the command is given, any other beside the file that names it."""
    written = study.marks.value(("surrogate", "file")).file
    path = ((Path() if written.startswith(ARGUMENT) else Path(written).parent) / settings.file).resolve()
    digest, asked = digest_of(path), settings.digest
    wrong = f"the content of {visible(str(path), limit=200)} has the digest {digest}, and {visible(asked)} is asked for"
    located = settings.model_copy(update={"file": str(path), "digest": digest})
    return study.model_copy(update={"surrogate": located}), [Fault(("surrogate", "file"), wrong)] if digest and asked not in (
        "",
        digest,
    ) else []


def _folder(study: Study, key: str) -> Path:
    """The folder of the file that says how to train."""
    file = study.marks.value((key,)).file
    return Path(study.source if file.startswith(ARGUMENT) else file).parent


def _named(settings: OwnTrainer, folder: Path) -> Iterator[str]:
    """What the settings name as what trains."""
    if isinstance(settings, CommandTrainer):
        yield from _scripts(settings.argv, folder)
    elif isinstance(settings, PythonTrainer):
        yield f"{MODULE}{settings.function.partition(':')[0]}"


def source_file(name: str, folder: Path) -> Path:
    """The file of a source: below the folder, or that of a module."""
    return module_file(name.removeprefix(MODULE), folder=folder) if name.startswith(MODULE) else folder / name


def _scripts(argv: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Arguments that are files below the folder, and the module after `-m`."""
    for place, word in enumerate(argv):
        module = word.replace(".", "/") + ".py" if place and argv[place - 1] == "-m" else ""
        for name in (word if place or "/" in word else "", module):
            inside = name and not name.startswith(("/", "-")) and ".." not in name.split("/") and "\0" not in name and len(name) < 200
            if inside and (folder / name).is_file():
                yield name.removeprefix("./")
