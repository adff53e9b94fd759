"""The law of a study in a store: what its file says of forms, tokens and definitions reaches the fit."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ablate.errors import InputError
from ablate.law_figures import law as law_figure
from ablate.law_figures import loss_against_rate
from ablate.results import LawRuns
from ablate.stores import Store, StudyRecord, TrialRecord, open_store
from ablate.study_law import Asked, fit_study_law, law_so_far
from tests.conftest import make_study
from tests.stores.ran import run, workspace_at

LAW = {
    "hyperparameter": "peak_lr",
    "size": "num_params",
    "form": "N+D",
    "tokens": "steps",
    "definitions": {
        "counts": "non_embedding",
        "batch": "fixed",
        "horizon": "1 and 2 steps",
        "schedule": "none",
        "weight_decay": "none",
        "warmup_fraction": 0.1,
    },
}


def test_law_of_a_study_reads_its_own_form_tokens_and_definitions(tmp_path: Path) -> None:
    """The synthetic optimum is MM1's law and knows no steps."""
    axes = {"num_params": [1e7, 1e8, 1e9], "steps": [1, 2], "peak_lr": {"log": [5e-5, 2e-3], "points": 8}}
    study = make_study(name="horizons", axes=axes, base={"noise_sd": 1e-5}, law=LAW)
    workspace = workspace_at(tmp_path)
    run(study, workspace)
    store = open_store(workspace.store_url)
    report = fit_study_law(store, "horizons", Asked(tokens=2, tau_prior=0.15))
    assert report.fit is not None
    assert report.prediction is not None
    assert [(optimum.n_params, optimum.tokens) for optimum in report.optima] == [(n, d) for n in (1e7, 1e8, 1e9) for d in (1, 2)]
    assert report.fit.slopes == pytest.approx({"n_params": -0.4214, "tokens": 0.0}, abs=0.01)
    assert report.fit.definitions is not None
    assert report.fit.definitions.recipe is not None
    assert report.fit.definitions.recipe.warmup_fraction == 0.1
    assert report.fit.prior == "half-normal on tau, scale 0.15"
    compared = {slope.law for slope in report.slopes if slope.p is not None}
    assert compared == {"no change", "step_law"}  # of those that read N and D, only it says that N counts no embeddings
    plain = fit_study_law(store, "horizons", Asked(form="N"))
    assert plain.fit is not None
    assert plain.fit.form == "N"
    with pytest.raises(InputError, match=r"--form N\+X: one of N, N\+D, N\+B, C"):
        fit_study_law(store, "horizons", Asked(form="N+X"))
    store.close()


HORIZONS = {1e7: 1.0, 3e7: 4.0, 1e8: 2.0, 3e8: 1.0, 1e9: 4.0}
"""Tokens of each size, not in step with N."""


def test_law_of_a_form_asked_for_by_hand_reads_the_metric_of_that_name(tmp_path: Path) -> None:
    """The study's file names no tokens; its trials report a metric `tokens`."""
    axes = {"num_params": list(HORIZONS), "peak_lr": {"log": [5e-5, 2e-3], "points": 8}}
    law = {"hyperparameter": "peak_lr", "size": "num_params"}
    workspace = workspace_at(tmp_path)
    run(make_study(name="bare", axes=axes, base={"noise_sd": 1e-5}, law=law), workspace)
    store = open_store(workspace.store_url)
    with pytest.raises(InputError, match=r"--form N\+D reads tokens: the study 'bare' has no axis or metric of that name.*law\.tokens"):
        fit_study_law(store, "bare", Asked(form="N+D"))
    report = fit_study_law(_WithTokens(store), "bare", Asked(form="N+D", tokens=2))  # type: ignore[arg-type]
    assert report.fit is not None
    assert report.fit.slopes == pytest.approx({"n_params": -0.4214, "tokens": 0.0}, abs=0.01)
    store.close()


class _WithTokens:
    """A store whose trials report what the trainer of tests does not: a metric `tokens`."""

    def __init__(self, store: Store) -> None:
        self.studies = store.studies
        self.store = store

    def study(self, name: str) -> StudyRecord | None:
        return self.store.study(name)

    def trials(self, name: str) -> list[TrialRecord]:
        return [replace(row, metrics={**row.metrics, "tokens": HORIZONS[row.levels["num_params"]]}) for row in self.store.trials(name)]


@pytest.mark.parametrize("value", [5.2e21, 1e149])
def test_law_of_runs_with_a_huge_value_does_not_raise(value: float) -> None:
    rows = [(n, 10.0**-step, 0, 2 + 0.01 * (step - 3) ** 2 + n * 1e-11, "done") for n in (1e7, 1e8, 1e9) for step in (1, 2, 3, 4, 5)]
    frame = pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss", "status"])
    frame.loc[2, "loss"] = value
    report, missing = law_so_far(make_study(name="huge", law={"hyperparameter": "peak_lr", "size": "num_params"}), LawRuns(frame, {}))
    assert (report is None) == bool(missing)


@pytest.mark.parametrize("value", [5.2e21, 1e140])
def test_figures_of_a_law_with_a_huge_value_are_drawn(value: float) -> None:
    rows = [
        (n, 10.0**-step, seed, 2 + 0.01 * (step - 3) ** 2 + n * 1e-11 + seed * 1e-3, "done")
        for n in (1e7, 1e8, 1e9)
        for step in (1, 2, 3, 4, 5)
        for seed in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["n_params", "lr", "seed", "loss", "status"])
    frame.loc[14, "loss"] = value
    report, _ = law_so_far(make_study(name="huge", law={"hyperparameter": "peak_lr", "size": "num_params"}), LawRuns(frame, {}))
    assert report is not None
    assert loss_against_rate(frame, optima=report.optima, metric="loss").data
    assert report.fit is None or law_figure(report.fit, target=1e10).data
