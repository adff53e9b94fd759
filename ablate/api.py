"""The pipeline's first stages from Python, for notebooks: the same models and the same checks as the command line.

study = ablate.read_study("quickstart", "seeds=5")
study = ablate.Study(schema=1, name="s", trainer="synthetic", axes={"peak_lr": [1e-4, 1e-3]}, metric={"name": "loss", "goal": "min"})
ablate.plan(study).trials
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.design import make_arms
from ablate.load import load_study
from ablate.planned import Plan
from ablate.planner import make_plan
from ablate.study import Study


def read_study(study: Study | str | Path | Mapping[str, Any], *changes: str) -> Study:
    """A study checked through and through: a file, a shipped name, the keys of a study, or a `Study` made here.

    `changes` are arguments as of the command line, such as "seeds=5". Raises InputError with every problem.
    """
    written = study.model_dump(by_alias=True, exclude_unset=True) if isinstance(study, Study) else study
    return load_study(written, overrides=changes)


def plan(study: Study | str | Path | Mapping[str, Any], *changes: str) -> Plan:
    """Arms, trials and jobs of a study, after the same checks."""
    loaded = read_study(study, *changes)
    return make_plan(loaded, make_arms(loaded))
