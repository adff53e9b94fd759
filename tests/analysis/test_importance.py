import logging

import numpy as np
import optuna
import pandas as pd
import pytest

from ablate.analysis.importance import forest_importance
from ablate.errors import InputError

FACTORS = ["size", "kind", "nothing"]


def runs(count: int, *, rng_seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(rng_seed)
    frame = pd.DataFrame(
        {
            "size": rng.choice([1e6, 1e7, 1e8], size=count),
            "kind": rng.choice(["a", "b"], size=count),
            "nothing": rng.choice([1, 2], size=count),
            "seed": range(count),
        }
    )
    frame["score"] = 3 * np.log10(frame["size"]) + (frame["kind"] == "b") + 0.3 * rng.normal(size=count)
    return frame


def test_forest_importance_ranks_what_moves_the_metric_and_gives_its_spread(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.get_verbosity()  # its import sets a level of its own
    logger = logging.getLogger("optuna")
    before = logger.level
    found = forest_importance(runs(60), factors=FACTORS, metric="score", forests=3)
    assert [each.factor for each in found.factors] == ["size", "kind", "nothing"]
    assert sum(each.importance for each in found.factors) == pytest.approx(1.0)
    assert found.factors[0].importance > 0.8
    assert all(each.low <= each.importance <= each.high for each in found.factors)
    assert any(each.low < each.high for each in found.factors)
    assert found.factors[-1].importance > 0.0  # as the caution says
    assert "do nothing get some importance" in found.to_json()["caution"]
    assert (caplog.records, logger.level) == ([], before)


def test_forest_importance_does_not_depend_on_the_order_of_rows() -> None:
    frame = runs(20)
    one, other = (forest_importance(each, factors=FACTORS, metric="score", forests=2) for each in (frame, frame[::-1]))
    assert one == other


def test_forest_importance_leaves_out_what_does_not_vary_and_failed_trials() -> None:
    frame = runs(20).assign(kind="a", state="done")
    frame.loc[:3, "state"] = "failed"
    found = forest_importance(frame, factors=FACTORS, metric="score", forests=2)
    assert {each.factor for each in found.factors} == {"size", "nothing"}
    assert found.trials == 16
    assert "4 of 20 trials left out" in found.note


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (runs(5), "5 finished trials"),
        (runs(20).assign(size=1.0, kind="a"), "compares two or more"),
        (runs(20).assign(score=1.0), "nothing moves it"),
        (runs(20).drop(columns="kind"), "no column 'kind'"),
    ],
)
def test_forest_importance_too_little_to_go_on_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        forest_importance(frame, factors=FACTORS, metric="score")
