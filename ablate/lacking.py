"""What the trials of a study read and this machine has not: files, checkpoints, programs, as far as the trainer can tell.

A lack makes no study invalid, since it may run elsewhere: `validate` and `plan` say it, and `run` refuses it where trials that are not done
need it and would run on this machine.
"""

from collections.abc import Collection

from ablate.design import example_arms
from ablate.errors import EnvironmentMissing, InputError, Problem
from ablate.objections import placed
from ablate.study import Study
from ablate.trainers import trainer_of
from ablate.workspace import Workspace


def lacks(study: Study) -> tuple[Problem, ...]:
    """All that any arm would read, where it is written."""
    return _problems(study, None)


def refuse_lacks(study: Study, workspace: Workspace) -> None:
    """Raises InputError with what is lacked by those trials that a run would execute."""
    if lacks(study) and (problems := _problems(study, _to_run(study, workspace))):
        raise InputError(problems)


def _problems(study: Study, needed: Collection[tuple[str, str]] | None) -> tuple[Problem, ...]:
    """`needed`: arms with their stages that will be executed; None: all of them."""
    asked = getattr(trainer_of(study), "lacks", None)
    if asked is None:
        return ()
    arms, _ = example_arms(study)
    said = (
        (arm, [(path, message) for path, message, stages in found if needed is None or any((arm.name, name) in needed for name in stages)])
        for arm, found in zip(arms, asked([arm.settings for arm in arms]), strict=True)
    )
    return tuple(sorted({study.marks.problem(fault) for fault in placed(study, said)}))


def _to_run(study: Study, workspace: Workspace) -> Collection[tuple[str, str]] | None:
    """The arms with their stages that a run would execute; None where that is all of them, or not yet known."""
    if not workspace.has_store or not workspace.artifacts.is_dir():
        return None
    from ablate.continued import trials_to_choose
    from ablate.preview import plan_so_far  # lazily: `validate` needs neither plans nor stores
    from ablate.record import missing_jobs
    from ablate.stores import open_store

    try:
        store = open_store(workspace.store_url)
    except EnvironmentMissing:  # no store yet: the run makes it
        return None
    try:
        plan = plan_so_far(study, store)
        jobs = {job.id: job.spec.name for job in missing_jobs(plan, store=store, workspace=workspace)}
    finally:
        store.close()
    if study.search:  # its arms are not all known
        return None if jobs or trials_to_choose(plan) else ()
    return {(trial.arm, jobs[job]) for trial in plan.trials for job in trial.chain if job in jobs}
