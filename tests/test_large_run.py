"""The file for a large run: its numbers are the law's, what nobody measured is null, and a person's file is never replaced."""

from collections.abc import Mapping
from dataclasses import replace
from math import exp
from typing import Any

import pandas as pd
import pytest
import yaml

from ablate.analysis.laws import Definitions, Recipe
from ablate.analysis.lr_law import LawReport, fit_points
from ablate.analysis.published import MM1, PUBLISHED, predict
from ablate.errors import InputError
from ablate.large_run import LargeRun, fitted_run, published_run
from ablate.marked_yaml import read

MEANT = Definitions(
    n_params="non-embedding parameters",
    counts="non_embedding",
    batch="fixed; 1M tokens",
    horizon="20 tokens a parameter",
    schedule="a hundredth of warmup, then cosine",
    weight_decay="0.1 in torch's AdamW",
    metric="loss",
    recipe=Recipe(warmup_fraction=0.01, batch_tokens=1e6),
)


def report(definitions: Definitions | None = MEANT, *, tried: tuple[float, float] = (1e-9, 1.0)) -> LawReport:
    sizes = [9e6, 85e6, 302e6, 1.2e9]
    rates = [MM1.lr(size) * exp(shift) for size, shift in zip(sizes, [0.1, -0.1, 0.15, -0.1], strict=True)]
    found = fit_points(pd.DataFrame({"n_params": sizes, "eta": rates, "se_ln": 0.05}), definitions=definitions)
    assert found.fit is not None
    used = tuple(replace(optimum, curvature=0.02, tried=tried) for optimum in found.fit.used)
    return replace(found, fit=replace(found.fit, used=used), metric="loss")


def run(definitions: Definitions | None = MEANT, *, tokens: float | None = None) -> LargeRun:
    found = report(definitions)
    assert found.fit is not None
    return fitted_run(found, found.fit.predict(30e9, tokens=tokens), name="mine", source="study mine", simulated=True)


def written(found: LargeRun) -> Mapping[str, Any]:
    values = yaml.safe_load(found.to_yaml())
    ours = read(found.to_yaml().encode(), file="run.yaml")
    assert ours.problems == ()
    assert ours.values == values  # both readings of YAML agree
    assert isinstance(values, dict)
    return values


def test_fitted_run_says_what_the_law_says() -> None:
    found = report()
    assert found.fit is not None
    prediction = found.fit.predict(30e9)
    values = written(run())
    rate = values["peak_learning_rate"]
    assert prediction.interval is not None
    assert rate["value"] == pytest.approx(prediction.lr, rel=1e-5)
    assert rate["interval"] == pytest.approx(prediction.interval, rel=1e-5)
    assert rate["regret"] == pytest.approx(prediction.regret, rel=1e-5)
    assert values["weight_decay_per_step"]["interval"] == pytest.approx([0.1 * end for end in prediction.interval], rel=1e-5)
    assert values["weight_decay_torch_adamw"]["value"] == 0.1
    assert values["n_params"] == 30e9
    assert values["simulated"] is True


def test_fitted_run_leaves_null_what_nobody_measured() -> None:
    values = written(run())
    assert values["horizon_tokens"]["value"] is None
    assert "20 tokens a parameter" in values["horizon_tokens"]["origin"]
    assert values["warmup_steps"]["value"] is None
    assert values["batch_tokens"] == {
        "value": 1e6,
        "interval": None,
        "regret": None,
        "origin": "kept, not fitted (batch: fixed; 1M tokens)",
    }


def test_fitted_run_counts_warmup_steps_once_the_horizon_is_known() -> None:
    values = written(run(tokens=6e11))
    assert values["horizon_tokens"]["value"] == 6e11
    assert values["warmup_steps"]["value"] == 0.01 * 6e11 / 1e6


def test_review_has_three_sentences_with_basis_cost_and_what_must_match() -> None:
    basis, cost, to_match = run().review
    assert "4 models from 9M to 1.2B" in basis
    assert "1.4 decades" in basis
    assert "95 % prediction interval is" in basis
    assert "in loss" in cost
    assert "20 tokens a parameter" in to_match


def test_review_states_no_cost_of_rates_that_nobody_tried() -> None:
    found = report(tried=(1e-4, 1e-2))
    assert found.fit is not None
    asked = fitted_run(found, found.fit.predict(30e9), name="mine", source="study mine", simulated=True)
    assert asked.review[1] == (
        "What a wrong rate costs is not known all over that interval: rates there lie outside the rates tried at 1.2B, 1.00e-4 to 1.00e-2."
    )
    assert written(asked)["peak_learning_rate"]["regret"] is None


def test_law_without_definitions_emits_nothing() -> None:
    with pytest.raises(InputError, match=r"say them with --definitions FILE\.yaml, or in the study's file"):
        run(None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_run_has_no_interval_and_reads_back(name: str) -> None:
    prediction = predict(name, 9e9, tokens=1e12)
    values = written(published_run(PUBLISHED[name], prediction))
    assert values["peak_learning_rate"]["value"] == pytest.approx(prediction.lr, rel=1e-5)
    assert values["peak_learning_rate"]["interval"] is None
    assert "not published" in values["review"][1]
    assert values["weight_decay_torch_adamw"]["value"] == (0.1 if name == "mm1" else None)


def test_published_run_of_mm1_has_its_recipe() -> None:
    values = written(published_run(MM1, predict("mm1", 30e9)))
    assert (values["warmup_steps"]["value"], values["batch_tokens"]["value"]) == (2000, 512 * 4096)
