"""The surface of studies whose law is known: what it says of arms, of held-out trials, of noise; all through a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.analysis.ridge import PENALTIES, Array
from ablate.errors import InputError
from ablate.sources import digest_of
from ablate.stores import open_store
from ablate.surface import Metric, Surface, metric_form, read_surface, to_json
from ablate.surface_fit import _spread, _steps, fit_surface
from ablate.surface_inputs import flatten
from ablate.surface_trials import Recorded
from ablate.synthetic import Config, true_metrics
from ablate.workspace import Workspace
from tests.conftest import make_study
from tests.stores.ran import run, workspace_at

GRID: dict[str, Any] = {
    "name": "grid",
    "axes": {"num_tokens": [16, 144], "peak_lr": [1e-5, 5e-5, 3e-4], "connector": ["avg_pool", "c_abstractor"]},
    "base": {"noise_sd": 0.002, "steps": 8},
    "seeds": 3,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = workspace_at(tmp_path_factory.mktemp("recorded"))
    run(make_study(**GRID), workspace)
    run(make_study(name="tokens", axes={"num_tokens": [16, 64, 256]}, base={"noise_sd": 0.001}, seeds=3), workspace)
    run(make_study(name="alone", axes={"num_tokens": [16, 64, 256]}, base={"noise_sd": 0.001}, seeds=1), workspace)
    run(make_study(name="broken", axes={"num_tokens": [16, 64], "fail": ["none", "raise"]}, seeds=2), workspace)
    run(make_study(name="long", axes={"steps": [10, 30]}, seeds=2), workspace)
    return workspace


def fitted(workspace: Workspace, *names: str) -> Surface:
    store = open_store(workspace.store_url)
    try:
        return fit_surface(store, names)
    finally:
        store.close()


@pytest.fixture(scope="module")
def grid(recorded: Workspace) -> Surface:
    return fitted(recorded, "grid")


def expected(surface: Surface, metric: str, **fields: Any) -> float:
    """Without noise, at the end of the run."""
    values = surface.expected(flatten(Config(**{"noise_sd": 0.002, "steps": 8} | fields).model_dump(mode="json")))
    (place,) = [place for place, output in enumerate(surface.outputs) if (output.metric, output.at) == (metric, 1)]
    return float(values[place])


@pytest.mark.parametrize(
    "fields",
    [
        {"num_tokens": 144, "peak_lr": 5e-5, "connector": "avg_pool"},
        {"num_tokens": 16, "peak_lr": 3e-4, "connector": "c_abstractor"},
        {"num_tokens": 144, "peak_lr": 1e-4, "connector": "c_abstractor"},  # between recorded rates
    ],
)
@pytest.mark.parametrize(("metric", "noise"), [("loss", 0.002), ("score/4", 0.02)])
def test_differences_between_arms_are_those_of_the_law(grid: Surface, fields: dict[str, Any], metric: str, noise: float) -> None:
    base = {"num_tokens": 16, "peak_lr": 1e-5, "connector": "avg_pool"}
    truth = true_metrics(Config(**fields))[metric] - true_metrics(Config(**base))[metric]
    assert expected(grid, metric, **fields) - expected(grid, metric, **base) == pytest.approx(truth, abs=2 * noise)


def test_file_says_what_it_was_fitted_to(grid: Surface) -> None:
    assert (grid.studies, grid.trainer, grid.was_simulated) == (("grid",), "synthetic", True)
    assert (grid.trials, grid.arms, grid.seeds, grid.steps) == (36, 12, 3, 8)
    assert set(grid.metrics) == {"loss", "score/0", "score/4", "score/8"}
    assert [output.at for output in grid.outputs if output.metric == "loss"] == [point / 8 for point in range(1, 9)]
    assert [output.at for output in grid.outputs if output.metric == "score/8"] == [1]
    assert grid.notes == ()


def test_arms_of_one_seed_share_what_the_recorded_ones_shared(grid: Surface) -> None:
    """The law's noise: 1 of 1.01 parts of the variance are the seed's; less of three seeds that happen to lie near one another."""
    final = [place for place, output in enumerate(grid.outputs) if output.at == 1]
    assert np.array(grid.shared)[final] == pytest.approx(1 / 1.01, abs=0.06)
    arms = [flatten(Config(num_tokens=tokens, noise_sd=0.002, steps=8).model_dump(mode="json")) for tokens in (16, 144)]
    drawn = np.array([[grid.noise(arm, seed=seed)[final[0]] for seed in range(60)] for arm in arms])
    (loss,) = [row for row in grid.held_out if row.metric == "loss"]
    assert drawn.std(axis=1) == pytest.approx(loss.between_seeds, rel=0.1)
    assert np.corrcoef(drawn)[0, 1] > 0.95


def test_noise_keeps_metrics_and_points_together(grid: Surface) -> None:
    """Points of a curve differ between seeds as its end does, so a draw is in step along the curve."""
    arm = flatten(Config(noise_sd=0.002, steps=8).model_dump(mode="json"))
    loss = [place for place, output in enumerate(grid.outputs) if output.metric == "loss"]
    drawn = np.array([grid.noise(arm, seed=seed)[loss] for seed in range(40)])
    assert np.corrcoef(drawn[:, -1], drawn[:, 3])[0, 1] > 0.9


def test_arms_that_differ_in_noise_do_so_on_the_surface_and_others_do_not() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat([[-1.0], [1.0]], 30, axis=0)
    noise = rng.normal(size=(60, 1))
    flat, steep = (_spread(noise * scale, rows, ["m"]) for scale in (np.ones((60, 1)), np.where(rows > 0, 10.0, 1.0)))
    ratio = [float(np.exp((spread.high[0] - spread.low[0]) / 2)) for spread in (flat, steep)]
    assert ratio[0] < 1.5
    assert ratio[1] == pytest.approx(10, rel=0.4)


def test_constant_metric_has_no_noise() -> None:
    spread = _spread(np.zeros((4, 1)), np.array([[-1.0], [-1.0], [1.0], [1.0]]), ["m"])
    assert (spread.low, spread.high) == ((0.0,), (0.0,))


def left_out(values: Array, features: Array, labels: Sequence[Any]) -> float:
    """Root mean square error when each label in turn is predicted from the others, with plain refits: no closed form anywhere."""
    errors = []
    for label in set(labels):
        test = np.array([other == label for other in labels])
        x, y = features[~test], values[~test]
        scores = [
            np.mean([_error(np.delete(x, row, 0), np.delete(y, row), x[row], y[row], penalty) ** 2 for row in range(len(x))])
            for penalty in penalties(x)
        ]
        best = penalties(x)[int(np.argmin(scores))]
        errors += [_error(x, y, features[row], values[row], best) for row in np.flatnonzero(test)]
    return float(np.sqrt(np.mean(np.square(errors))))


def penalties(x: Array) -> Array:
    found: Array = PENALTIES * np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[0] ** 2
    return found


def _error(x: Array, y: Array, at: Array, value: float, penalty: float) -> float:
    centred = x - x.mean(axis=0)
    slope = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    return float(value - y.mean() - (at - x.mean(axis=0)) @ slope)


def test_held_out_errors_are_those_of_refitting_without_an_arm_or_a_seed(recorded: Workspace) -> None:
    store = open_store(recorded.store_url)
    trials = store.trials("tokens")
    store.close()
    loss = np.array([trial.metrics["loss"] for trial in trials], dtype=float)
    tokens, seeds = [trial.config["num_tokens"] for trial in trials], [trial.seed for trial in trials]
    place = np.log(np.array(tokens) / 64) / np.log(4)
    features = np.stack([place, place**2], axis=1)
    (found,) = [row for row in fitted(recorded, "tokens").held_out if row.metric == "loss"]
    assert found.new_arm == pytest.approx(left_out(loss, features, tokens), rel=1e-4)
    assert found.new_seed == pytest.approx(left_out(loss, features, seeds), rel=1e-4)
    by_arm = {arm: loss[np.array(tokens) == arm] for arm in set(tokens)}
    assert found.between_seeds == pytest.approx(np.sqrt(np.mean([values.var(ddof=1) for values in by_arm.values()])))
    guesses = [loss[np.array(tokens) != arm].mean() for arm in tokens]
    assert found.mean == pytest.approx(np.sqrt(np.mean((loss - guesses) ** 2)))
    assert found.trials == 9


def test_study_of_one_seed_says_that_its_noise_is_what_is_not_explained(recorded: Workspace) -> None:
    found = fitted(recorded, "alone")
    (note,) = found.notes
    assert note.startswith("no arm has two seeds")
    assert set(found.shared) == {0}
    assert {row.between_seeds for row in found.held_out} == {None}
    assert {row.new_seed for row in found.held_out} == {None}


def test_trials_that_failed_are_left_out_and_counted(recorded: Workspace) -> None:
    found = fitted(recorded, "broken")
    assert found.trials == 4
    assert found.notes == ("4 of 8 trials left out (failed, unfinished or not finite)",)
    assert found.config["fail"] == "none"


def test_length_of_a_run_is_the_field_that_says_it(recorded: Workspace) -> None:
    found = fitted(recorded, "long")
    assert found.steps == ("steps",)
    curve = found.metrics_of(flatten(Config(steps=20).model_dump(mode="json")), seed=0)
    assert [step for step, _ in curve] == list(range(2, 21, 2))


def test_studies_together_are_one_surface_and_a_shared_training_counts_once(recorded: Workspace) -> None:
    together = fitted(recorded, "tokens", "alone")
    assert together.studies == ("tokens", "alone")
    assert together.trials == 9  # those of `alone` are trainings of `tokens`


@pytest.mark.parametrize(
    ("name", "said"), [("nope", "no study 'nope' in the store"), ("failing", "no finished trial with a finite metric yet")]
)
def test_study_that_teaches_nothing_is_refused(recorded: Workspace, name: str, said: str) -> None:
    if name == "failing":
        run(make_study(name="failing", axes={"fail": ["raise"]}), recorded)
    with pytest.raises(InputError, match=said):
        fitted(recorded, name)


def test_file_gives_back_the_surface_and_fitting_again_the_file(grid: Surface, recorded: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "surface.json"
    file.write_text(to_json(grid), encoding="utf-8")
    assert read_surface(file, digest=digest_of(file)) == grid
    assert to_json(fitted(recorded, "grid")) == file.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="its content has changed"):
        read_surface(file, digest="0" * 16)


def test_tables_that_do_not_fit_together_are_no_surface(grid: Surface, tmp_path: Path) -> None:
    file = tmp_path / "surface.json"
    file.write_text(to_json(grid.model_copy(update={"intercept": grid.intercept[1:]})), encoding="utf-8")
    with pytest.raises(InputError, match=r"holds no surface .*its tables do not fit together"):
        read_surface(file, digest=digest_of(file))


def test_bounded_metrics_are_fitted_in_log_odds_and_stay_within_their_bounds() -> None:
    assert metric_form(0.0, 100.0, values=[0.0, 100.0]) == "odds"
    assert metric_form(0.0, None, values=[0.1]) == "log"
    assert metric_form(0.0, None, values=[0.0, 0.1]) == metric_form(None, None, values=[1.0]) == "linear"
    percent = Metric(low=0, high=100, form="odds")
    scores = np.array([0.0, 12.5, 50.0, 99.9, 100.0])
    assert percent.meant(percent.fitted(scores)) == pytest.approx(scores)
    assert percent.meant(np.array([-50.0, 50.0])).tolist() == [0.0, 100.0]
    loss = Metric(low=0, form="log")
    assert loss.meant(loss.fitted(np.array([1e-3, 2.0]))) == pytest.approx([1e-3, 2.0])
    assert Metric(low=0, form="linear").meant(np.array([-1.0])).tolist() == [0.0]


def test_length_of_a_run_may_be_said_by_one_field_or_where_it_is_missing_by_another() -> None:
    flats = ({"sft.steps": 5, "steps": 100}, {"sft.steps": 9, "steps": 200}, {"steps": 200}, {"steps": 100})
    assert _steps(Recorded((), {}, True, (), (), flats, {}, (5, 9, 200, 100), 0)) == (("sft.steps", "steps"), "")
    number, said = _steps(Recorded((), {}, True, (), (), flats, {}, (5, 9, 200, 101), 0))
    assert number == 200
    assert said == "trials ended after 5 to 200 steps, and no field says how many; simulated ones all take 200"
