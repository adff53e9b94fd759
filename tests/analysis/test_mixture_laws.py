from itertools import product
from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from ablate.analysis.mixture_forms import Form
from ablate.analysis.mixture_laws import MixtureLaw, fit_mixture_law
from ablate.errors import InputError

SOURCES = ["web", "pairs", "text"]
SIZES = [1e8, 4e8, 1e9, 3e9]
HORIZONS = [2e9, 1e10, 5e10]

C, G = (1.8, 1.3, 0.9), (0.7, 0.5, 0.9)
LN_A, LN_B = (5.0, 5.8, 5.4), (6.1, 5.5, 6.4)


def exponential(h: Any, n: float = 0, d: float = 0) -> float:
    return 1.5 + 0.8 * exp(-1.2 * h[0] + 0.5 * h[1] + 0.7 * h[2])


def hollow(h: Any, n: float = 0, d: float = 0) -> float:
    return 1.5 + 1 / sum(c * share**g for c, share, g in zip(C, h, G, strict=True))


def linear(h: Any, n: float = 0, d: float = 0) -> float:
    return float(2.1 * h[0] + 2.6 * h[1] + 2.4 * h[2])


def additive(h: Any, n: float, d: float) -> float:
    return hollow(h) + 250 / n**0.3 + 600 / d**0.32


def joint(h: Any, n: float, d: float) -> float:
    return hollow(h) + exp(np.dot(LN_A, h)) / n**0.3 + exp(np.dot(LN_B, h)) / d**0.32


def runs(truth: Any, rows: int = 16, *, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.dirichlet(np.ones(3), rows), columns=SOURCES)
    frame["n_params"], frame["tokens"] = rng.choice(SIZES, rows), rng.choice(HORIZONS, rows)
    values = [truth(row[:3], *row[3:]) for row in frame.to_numpy()]
    return frame.assign(loss=np.array(values) + noise * rng.normal(size=rows))


def fitted(frame: pd.DataFrame, form: Form, **others: Any) -> MixtureLaw:
    sizes = {"n_params": "n_params", "tokens": "tokens"} if form == "joint" else {}
    return fit_mixture_law(frame, **({"proportions": SOURCES, "metric": "loss", "form": form} | sizes | others))


def test_linear_values_of_a_law_recover_it() -> None:
    law = fitted(runs(linear), "linear")
    assert law.constants == pytest.approx({"w[web]": 2.1, "w[pairs]": 2.6, "w[text]": 2.4}, rel=1e-10)


def test_exponential_values_of_a_law_recover_it() -> None:
    law = fitted(runs(exponential), "exponential")
    assert law.constants == pytest.approx({"c": 1.5, "k": 0.8, "t[web]": -1.2, "t[pairs]": 0.5, "t[text]": 0.7}, rel=1e-8)


def test_additive_values_of_a_law_without_sizes_recover_it() -> None:
    law = fitted(runs(hollow), "additive")
    of_sources = {f"{letter}[{name}]": value for letter, row in (("C", C), ("g", G)) for name, value in zip(SOURCES, row, strict=True)}
    assert law.constants == pytest.approx({"E": 1.5} | of_sources, rel=1e-6)


def test_additive_values_of_a_law_with_sizes_recover_it() -> None:
    law = fitted(runs(additive, 40), "additive", n_params="n_params", tokens="tokens")
    expected = {"E": 1.5, "A": 250, "alpha": 0.3, "B": 600, "beta": 0.32, "C[pairs]": 1.3, "g[text]": 0.9}
    assert {name: law.constants[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert law.value({"web": 0.2, "pairs": 0.3, "text": 0.5}, n_params=1e9, tokens=1e10) == pytest.approx(
        additive((0.2, 0.3, 0.5), 1e9, 1e10)
    )


@pytest.mark.slow
def test_joint_values_of_a_law_recover_it_and_its_optimum_moves_with_the_size() -> None:
    law = fitted(runs(joint, 60), "joint")
    expected = {
        f"ln{letter}[{name}]": value for letter, row in (("A", LN_A), ("B", LN_B)) for name, value in zip(SOURCES, row, strict=True)
    }
    assert {name: law.constants[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    small, large = (law.best(n_params=size, tokens=20 * size) for size in (1e8, 1e11))
    assert abs(small.proportions["web"] - large.proportions["web"]) > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("form", "truth"), [("exponential", exponential), ("additive", hollow)])
def test_fit_mixture_law_noisy_values_have_no_lower_objective_near_the_truth(form: Form, truth: Any) -> None:
    frame = runs(truth, 24, noise=0.01, seed=2)
    law = fitted(frame, form)

    def objective(value: Any) -> float:
        off = np.abs([value(row) - loss for row, loss in zip(frame[SOURCES].to_numpy(), frame["loss"], strict=True)])
        return float(np.where(off <= 0.01, off**2 / 2, 0.01 * (off - 0.005)).sum())

    def shape(theta: Any) -> Any:
        if form == "exponential":
            return lambda h: theta[0] + np.exp(np.dot(theta[1:], h))
        return lambda h: theta[0] + 1 / np.sum(np.exp(theta[1:4]) * h ** np.abs(theta[4:]))

    true = [1.5, *(log(0.8) + np.array([-1.2, 0.5, 0.7]))] if form == "exponential" else [1.5, *np.log(C), *G]
    options = {"maxiter": 3000, "maxfev": 3000, "fatol": 1e-12}
    oracle = minimize(lambda theta: objective(shape(theta)), np.array(true), method="Nelder-Mead", options=options)
    ours = objective(lambda h: law.value(dict(zip(SOURCES, h, strict=True))))
    assert ours <= oracle.fun * (1 + 1e-6)


@pytest.mark.parametrize(
    ("form", "truth", "limits"),
    [
        ("additive", hollow, {}),
        ("additive", hollow, {"web": (0.0, 0.2), "text": (0.3, 1.0)}),
        ("exponential", exponential, {"web": (0.0, 0.55)}),
        ("linear", linear, {"web": (0.0, 0.4), "pairs": (0.1, 1.0)}),
    ],
)
def test_best_is_no_worse_than_any_point_of_a_grid(form: Form, truth: Any, limits: dict[str, tuple[float, float]]) -> None:
    law = fitted(runs(truth), form)
    best = law.best(bounds=limits)
    grid = [(i / 100, j / 100, 1 - (i + j) / 100) for i, j in product(range(101), repeat=2) if i + j <= 100]
    ranges = [limits.get(name, (0.0, 1.0)) for name in SOURCES]
    inside = [h for h in grid if all(low - 1e-9 <= share <= high + 1e-9 for share, (low, high) in zip(h, ranges, strict=True))]
    values = [truth(tuple(max(share, 0.0) for share in h)) for h in inside]
    nearest = inside[int(np.argmin(values))]
    assert best.value is not None
    assert best.value <= min(values) + 1e-9
    assert sum(best.proportions.values()) == pytest.approx(1)
    assert list(best.proportions.values()) == pytest.approx(nearest, abs=0.011)  # a step of the grid
    for share, (low, high) in zip(best.proportions.values(), ranges, strict=True):
        assert low - 1e-12 <= share <= high + 1e-12


@pytest.mark.slow
def test_fit_mixture_law_goal_max_is_the_mirror_image() -> None:
    frame = runs(hollow, noise=0.005)
    law, mirrored = fitted(frame, "additive"), fitted(frame.assign(loss=-frame["loss"]), "additive", goal="max")
    mixture = {"web": 0.2, "pairs": 0.3, "text": 0.5}
    assert mirrored.value(mixture) == pytest.approx(-law.value(mixture))
    assert mirrored.best().proportions == pytest.approx(law.best().proportions)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["linear", "exponential", "additive"])
def test_fit_mixture_law_order_of_rows_and_names_change_nothing(form: Form) -> None:
    frame = runs(hollow, noise=0.01)
    law = fitted(frame, form)
    names = dict(zip(SOURCES, "abc", strict=True))
    other = fitted(frame.sample(frac=1, random_state=1).rename(columns=names | {"loss": "L"}), form, proportions=list("abc"), metric="L")
    assert list(other.constants.values()) == list(law.constants.values())
    assert (other.left_out, other.residual_sd) == (law.left_out, law.residual_sd)
    assert list(other.best().proportions.values()) == list(law.best().proportions.values())


def test_fit_mixture_law_left_out_error_is_that_of_fits_without_each_mixture() -> None:
    frame = runs(linear, 8, noise=0.02)
    frame = pd.concat([frame, frame.assign(loss=frame["loss"] + 0.01)], ignore_index=True)  # a second seed of each mixture
    errors = []
    for row in range(8):
        kept = frame.drop(index=[row, row + 8])
        weights = np.linalg.lstsq(kept[SOURCES], kept["loss"], rcond=None)[0]
        errors += [float(frame[SOURCES].iloc[at] @ weights - frame["loss"].iloc[at]) for at in (row, row + 8)]
    law = fitted(frame, "linear")
    assert law.left_out is not None
    assert law.left_out.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert law.left_out.r2 == pytest.approx(1 - np.sum(np.square(errors)) / (frame["loss"].var(ddof=0) * 16))
    assert (law.rows, law.mixtures) == (16, 8)


def test_fit_mixture_law_pure_noise_is_not_to_be_trusted() -> None:
    law = fitted(runs(lambda *_: 2.0, 20, noise=0.1), "linear")
    assert law.left_out is not None
    assert law.left_out.r2 < 0.5
    assert any("predicted badly" in warning for warning in law.warnings)


def test_fit_mixture_law_optimum_at_the_edge_is_an_extrapolation() -> None:
    assert any("extrapolation: web 1 is at or beyond the edge" in warning for warning in fitted(runs(linear), "linear").warnings)
    pure = pd.DataFrame(np.eye(3), columns=SOURCES).assign(loss=[hollow(h) for h in np.eye(3)])
    inside = fitted(pd.concat([runs(hollow, 12), pure], ignore_index=True), "additive")
    assert inside.best().notes == ()
    assert not any("extrapolation" in warning for warning in inside.warnings)


@pytest.mark.parametrize(
    ("form", "change", "expected"),
    [
        ("additive", {"n_params": "n_params"}, "n_params does not vary"),
        ("exponential", {"rows": 4}, "4 distinct mixtures for 4 constants"),
        ("exponential", {"rows": 4}, "no error of left-out mixtures"),
    ],
)
def test_fit_mixture_law_weak_point_is_a_warning(form: Form, change: dict[str, Any], expected: str) -> None:
    frame = runs(exponential, change.pop("rows", 16)).assign(n_params=1e9)
    assert any(expected in warning for warning in fitted(frame, form, **change).warnings)


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        ("linear", {"web": 0.9}, r"proportions do not add up to 1 in rows 0, 1, 2, 3, 4, ... \(\d+\), the first to"),
        ("linear", {"web": -0.1}, "column web: negative share in rows 0, 1"),
        ("linear", {"web": np.nan}, "column web: no share in rows 0.*write 0"),
        ("linear", {"loss": np.inf}, "column loss: no finite number in rows 0.*drop diverged"),
        ("linear", {"loss": 2.0}, "all values are the same"),
        ("joint", {"n_params": 1e9, "tokens": 1e10}, "form joint needs N or D"),
        ("joint", {"n_params": -1}, "column n_params: not a positive, finite number"),
        ("joint", {}, "16 distinct runs: the joint form has 15|add runs"),
        ("joint", {"web": "much"}, "column web: 'much' is not a number"),
    ],
)
def test_fit_mixture_law_bad_frame_is_refused(form: Form, change: dict[str, Any], message: str) -> None:
    frame = runs(joint, 16 if change else 14).assign(**change)
    with pytest.raises(InputError, match=message):
        fitted(frame, form)


@pytest.mark.parametrize(
    ("rows", "form", "others", "message"),
    [
        (3, "exponential", {}, "3 distinct mixtures: the exponential form of 3 sources has 4 constants"),
        (6, "additive", {}, "6 distinct mixtures: the additive form of 3 sources has 7 constants"),
        (9, "linear", {"n_params": "n_params"}, "form linear has no term for a size, but n_params varies"),
        (9, "linear", {"proportions": ["web", "pair", "text"]}, "no column 'pair'.*did you mean 'pairs'"),
        (9, "linear", {"proportions": ["web", "web"]}, "each named once"),
        (9, "linear", {"metric": "los"}, "no column 'los'.*did you mean 'loss'"),
        (9, "linar", {}, "form: unknown 'linar'.*did you mean 'linear'"),
        (9, "linear", {"goal": "low"}, "goal: unknown 'low'"),
        (0, "linear", {}, "no rows"),
    ],
)
def test_fit_mixture_law_bad_request_is_refused(rows: int, form: Any, others: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(runs(hollow, max(rows, 1)).head(rows), form, **others)


def test_fit_mixture_law_source_that_never_varies_is_refused() -> None:
    frame = runs(linear).assign(more=0.0)
    with pytest.raises(InputError, match="stay at 0 in all mixtures: merge or leave out"):
        fitted(frame, "linear", proportions=[*SOURCES, "more"])


def test_fit_mixture_law_rows_are_named_by_the_frames_index() -> None:
    frame = runs(linear).set_index(pd.Index([f"r{row}" for row in range(16)]))
    frame.loc["r7", "web"] += 0.01
    with pytest.raises(InputError, match=r"add up to 1 in row r7, the first to 1\.01"):
        fitted(frame, "linear")


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"web": 1.0}, "(?s)no share of pairs.*no share of text"),
        ({"web": 0.5, "pairs": 0.5, "txt": 0.0}, "no source 'txt'.*did you mean 'text'"),
        ({"web": 0.5, "pairs": 0.5, "text": 0.5}, "add up to 1.5"),
        ({"web": 1.5, "pairs": -0.5, "text": 0.0}, "negative share of pairs"),
    ],
)
def test_value_of_no_mixture_is_refused(mixture: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(runs(linear), "linear").value(mixture)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"webb": (0, 1)}, "bounds: no source 'webb'.*did you mean 'web'"),
        ({"web": (0.5, 0.2)}, "bounds of web: 0.5 to 0.2"),
        ({"web": (0.6, 1), "text": (0.6, 1)}, "least shares add up to 1.2"),
    ],
)
def test_best_inside_no_bounds_is_refused(limits: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(runs(linear), "linear").best(bounds=limits)


@pytest.mark.slow
def test_sizes_that_a_law_needs_must_be_said() -> None:
    law = fitted(runs(additive, 40), "additive", n_params="n_params", tokens="tokens")
    with pytest.raises(InputError, match="term for n_params and tokens"):
        law.value({"web": 0.2, "pairs": 0.3, "text": 0.5}, n_params=1e9)
    assert law.best().value is None
    assert law.best().proportions == pytest.approx(law.best(n_params=1e10, tokens=1e12).proportions, abs=1e-5)
    with pytest.raises(InputError, match="best mixture of the joint form depends on n_params and tokens"):
        fitted(runs(joint, 60), "joint").best()
