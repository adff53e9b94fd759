"""Ablation studies for multimodal language models. The pipeline, one file a stage:

    load.py       a study file becomes a frozen Study, or every mistake at once
    design.py     the study becomes its arms: diffs against a base
    planner.py    arms and seeds become trials, and jobs that share stages
    schedule/     jobs run on Ray, and say what happens
    record.py     what happens becomes rows in the store
    results.py    rows become tidy frames
    analysis/     frames become effects, verdicts and laws
    report.py     and those a page

`run.py` composes them and is the map of the system. In Python: `ablate.Study`, `ablate.read_study`, `ablate.plan`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.api import plan, read_study
    from ablate.study import Study

__all__ = ["Study", "plan", "read_study"]


def __getattr__(name: str) -> Any:
    # looked up when used: `ablate --help` needs none of it
    if name in __all__:
        return getattr(importlib.import_module("ablate.study" if name == "Study" else "ablate.api"), name)
    raise AttributeError(f"module 'ablate' has no attribute '{name}'")
