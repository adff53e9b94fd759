"""Ablation studies for multimodal language models. The pipeline, one file a stage:

    load.py       a study file becomes a frozen Study, or every mistake at once
    design.py     the study becomes its arms: diffs against a base
    plan.py       arms and seeds become trials, and jobs that share stages
    schedule/     jobs run on Ray, and say what happens
    record.py     what happens becomes rows in the store
    results.py    rows become tidy frames
    analysis/     frames become effects, verdicts and laws
    report.py     and those a page

`run.py` composes them and is the map of the system.
"""
