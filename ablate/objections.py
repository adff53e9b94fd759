"""What a trainer has against a study's arms taken together, which no config shows alone, becomes faults on what the author wrote.

So does a metric that none of them reports: the study, or a claim of it, would be trained for and nothing could be said.
"""

import re
from collections.abc import Collection, Container, Iterator, Sequence

from ablate.axes import Axis
from ablate.design import example_arms, search_space
from ablate.draft import Arm, block_at
from ablate.marked_yaml import Fault, Path
from ablate.study import Study
from ablate.trainers import trainer_of


def objections(study: Study) -> tuple[Fault, ...]:
    """Each once; none where the trainer has none beyond what it refuses a config for, or where there are too many arms to see them all.

    Raises InputError where the design has faults.
    """
    trainer = trainer_of(study)
    asked, reports = getattr(trainer, "objections", None), getattr(trainer, "reports", None)
    if asked is None and reports is None:
        return ()
    (arms, is_whole), needs = example_arms(study), study.resources
    if not is_whole:  # what no arm does cannot be said
        return ()
    configs, found = [arm.settings for arm in arms], list[Fault]()
    if reports:
        found += _unreported(study, dict.fromkeys(name for config in configs for name in reports(config)))
    if asked:
        said = asked(configs, num_devices=needs.nodes * max(1, int(needs.gpus)))
        found += placed(study, zip(arms, said, strict=True))
    return tuple(dict.fromkeys(found))


def _unreported(study: Study, reported: Collection[str]) -> Iterator[Fault]:
    said = f"as it is configured, only {', '.join(reported)}: name one of these, or ask for it in the base"
    for path, metric in _wanted(study):
        if metric not in reported:
            yield Fault(path, f"no arm reports {metric} {said}")


def _wanted(study: Study) -> Iterator[tuple[Path, str]]:
    """Where a study names a metric, and which."""
    yield ("metric", "name"), study.metric.name
    for place, claim in enumerate(study.claims):
        if claim.metric is not None:
            yield ("claims", place, "metric"), claim.metric
    if study.search:
        for place, objective in enumerate(study.search.objectives):
            yield (*block_at(study, 0), "objectives", place, "name"), objective.name


def placed(study: Study, said: Iterator[tuple[Arm, Sequence[tuple[Path, str]]]]) -> Iterator[Fault]:
    """What is said of each arm's fields, at the level that set the field or another one that is named, else at the base."""
    axes = search_space(study)
    for arm, faults in said:
        for path, message in faults:
            yield Fault(_place(path, message, arm, axes, stated=study.marks.values), message)


def _place(path: Path, message: str, arm: Arm, axes: Sequence[Axis], *, stated: Container[Path]) -> Path:
    """`stated`: what of the study is written; a field that only levels say something of is none of the base's."""
    for axis in axes:
        for field in axis.paths:
            parts: Path = tuple(field.split("."))
            if path[: len(parts)] != parts and not (parts[:-1] == path[:-1] and re.search(rf"\b{parts[-1]}\b", message)):
                continue
            label = arm.levels[axis.name]
            choice = None if label is None else axis.find(label)
            if choice is None and field in arm.changes:  # drawn between bounds
                return axis.at
            if choice and field in choice.changes and (axis.changes_at(choice) or ("base", *parts) not in stated):
                return (*choice.places[field], *path[len(parts) :])
    return ("base", *path)
