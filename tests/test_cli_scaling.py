"""What `law loss`, `law mixture` and `scales` answer: planted laws, optima and flips are found again, and what is wrong is said at once."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.analysis.published_losses import CHINCHILLA_REFIT, PUBLISHED_LOSSES
from ablate.cli import main
from ablate.run import run_study
from ablate.scaling import richest_form, study_losses
from ablate.schedule.local import LocalScheduler
from ablate.stores import open_store
from ablate.study_runs import study_runs
from ablate.workspace import Workspace
from tests.conftest import make_study

Ablate = Callable[..., str]
SOURCES = ("caption", "interleaved", "text")
PLANTED = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
BEST = {"caption": 0.2930, "interleaved": 0.5940, "text": 0.1130}
"""Of `mixed` below, by a search in steps of 0.0005."""
REPORT = {"source", "simulated", "columns"}


@pytest.fixture
def ablate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ablate:
    """What a verb prints; with a code, what it says of why it refused."""

    def said(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code or 0) == code, printed.err
        return printed.err if code else printed.out

    return said


def answer_of(text: str) -> dict[str, Any]:
    """JSON has no NaN and no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


def planted(rows: int = 30, *, noise: float = 0.002) -> pd.DataFrame:
    """Whole counts, up to 1.07e9 parameters and 5.69e10 tokens, whose product overflows 64 bits."""
    rng = np.random.default_rng(3)
    n, ratio = np.exp(rng.uniform(np.log(3e7), np.log(1.07e9), rows)), np.exp(rng.uniform(np.log(2), np.log(200), rows))
    n, d = n.astype(np.int64), (n * ratio).astype(np.int64)
    n[0], d[0] = 1_070_000_000, 56_900_000_000
    loss = PLANTED["E"] + PLANTED["A"] / n ** PLANTED["alpha"] + PLANTED["B"] / d ** PLANTED["beta"]
    return pd.DataFrame({"n_params": n, "tokens": d, "loss": loss * np.exp(noise * rng.normal(size=rows))})


def mixed(mixtures: int = 12, *, noise: float = 0.003) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    shares = rng.dirichlet([1.5] * 3, mixtures)
    loss = 2 + 1 / (0.8 * shares[:, 0] ** 0.5 + 1.0 * shares[:, 1] ** 0.6 + 0.5 * shares[:, 2] ** 0.4)
    return pd.DataFrame(shares, columns=list(SOURCES)).assign(loss=loss + noise * rng.normal(size=mixtures))


def scaled(*, seeds: int = 3, noise: float = 0.002) -> pd.DataFrame:
    """`early` is worth 3 times its compute at 100M and a third at 10B; `steady` is worth twice everywhere."""
    worth = {"base": lambda _: 1.0, "early": lambda n: 3 * (n / 1e8) ** (-np.log(9) / np.log(100)), "steady": lambda _: 2.0}
    worth |= {"worse": lambda _: 0.5}
    rng = np.random.default_rng(7)
    rows = []
    for n in (1e8, 4e8, 1e9, 4e9, 1e10):
        shifts = noise * rng.normal(size=seeds)
        for arm, factor in worth.items():
            for seed in range(seeds):
                loss = 1.7 + 400 * (6 * 20 * n**2 * factor(n)) ** -0.15 + shifts[seed] + noise * rng.normal()
                rows.append({"arm": arm, "n_params": int(n), "tokens": int(20 * n), "seed": seed, "loss": loss})
    return pd.DataFrame(rows)


def written(folder: Path, frame: pd.DataFrame, name: str = "runs.csv") -> str:
    frame.to_csv(folder / name, index=False)
    return str(folder / name)


def test_law_loss_finds_the_planted_law_and_splits_a_budget(tmp_path: Path, ablate: Ablate) -> None:
    file = written(tmp_path, planted(20))
    found = answer_of(
        ablate("law", "loss", file, "--bootstrap", "20", "--compute", "1e21", "--params", "7B", "--at-tokens", "1T", "--json")
    )
    assert set(found) == REPORT | {"law", "budgets", "at", "published"}
    law = found["law"]
    assert set(law) >= {"E", "A", "B", "alpha", "beta", "a", "b", "formula", "spread", "robustness", "warnings", "n_range", "token_range"}
    for name in ("E", "alpha", "beta"):
        low, high = law["spread"][name]["interval"]
        assert low < PLANTED[name] < high
    (budget,) = found["budgets"]
    assert set(budget) == {"compute", "n_params", "n_interval", "tokens", "token_interval", "loss", "loss_interval", "notes"}
    assert 6 * budget["n_params"] * budget["tokens"] == pytest.approx(1e21)
    assert budget["n_interval"][0] < 2.81e9 < budget["n_interval"][1]  # of the planted law
    assert set(found["at"]) == {"n_params", "tokens", "loss", "interval", "run_sd", "notes"}
    assert found["at"]["loss"] == pytest.approx(2.083, abs=0.03)
    assert [law["law"] for law in found["published"]] == list(PUBLISHED_LOSSES)


def test_law_loss_for_people_has_published_constants_beside_its_own(tmp_path: Path, ablate: Ablate) -> None:
    said = ablate("law", "loss", written(tmp_path, planted()), "--bootstrap", "0", "--compute", "1e21")
    assert "chinchilla_refit" in said
    assert f"{CHINCHILLA_REFIT.alpha:g}" in said
    assert "without lowest D/N" in said
    assert "no interval: fitted without a bootstrap" in said


def test_law_loss_of_few_rows_has_no_spread_and_says_so(tmp_path: Path, ablate: Ablate) -> None:
    found = answer_of(ablate("law", "loss", written(tmp_path, planted(8)), "--json"))
    assert found["law"]["spread"] is None
    assert "no spread of the constants: 8 rows" in " ".join(found["law"]["warnings"])


def test_law_loss_of_a_loss_that_rises_with_size_has_no_optimum_and_says_why(tmp_path: Path, ablate: Ablate) -> None:
    rising = planted(8).assign(loss=lambda runs: 1 + 1e-3 * runs["n_params"] ** 0.1 + 1e-3 * runs["tokens"] ** 0.1)
    arguments = ["law", "loss", written(tmp_path, rising), "--compute", "1e21"]
    found = answer_of(ablate(*arguments, "--json"))
    assert (found["law"]["a"], found["law"]["b"], found["budgets"][0]["n_params"]) == (None, None, None)
    said = ablate(*arguments)
    assert "no exponents a and b: alpha and beta are both 0" in said
    assert " FLOPs: no optimum: " in said


def test_law_loss_of_exact_values_warns_of_its_narrow_intervals(tmp_path: Path, ablate: Ablate) -> None:
    found = answer_of(ablate("law", "loss", written(tmp_path, planted(12, noise=0.0)), "--bootstrap", "20", "--json"))
    assert {name: found["law"][name] for name in PLANTED} == pytest.approx(PLANTED, rel=1e-6)
    assert "without noise its intervals say nothing of other runs" in " ".join(found["law"]["warnings"])


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({"n_params": 1e9}, [], ["column n_params: 1 distinct value"]),
        ({"n_params": 1e9, "tokens": 1e10}, [], ["column n_params: 1 distinct value", "column tokens: 1 distinct value"]),
        (
            {"loss": [-1.0, *[2.0] * 7], "tokens": [np.inf, *[1e9] * 6, 2e9]},
            [],
            ["column tokens: inf (line 2)", "column loss: -1.0 (line 2)"],
        ),
        ({"loss": "good", "tokens": "many"}, [], ["column tokens: 'many' is not a number", "column loss: 'good' is not a number"]),
        ({}, ["--metric", "los", "--n-params", "params"], ["no column 'params'", "no column 'los'", "did you mean 'loss'?"]),
        ({}, ["--bootstrap", "5"], ["bootstrap: 5 resamples give no interval"]),
        ({}, ["--params", "7B"], ["--params and --at-tokens go together"]),
        ({}, ["--bootstrap", "0", "--compute", "nan"], ["compute: nan is not a positive, finite number"]),
    ],
)
def test_law_loss_refuses_with_every_problem(
    tmp_path: Path, ablate: Ablate, change: dict[str, Any], arguments: list[str], said: list[str]
) -> None:
    printed = ablate("law", "loss", written(tmp_path, planted(8).assign(**change)), *arguments, code=2)
    assert [text for text in said if text not in printed] == []


@pytest.mark.parametrize("verb", [["law", "loss"], ["law", "mixture", "--sources", "caption,text"], ["scales", "--baseline", "base"]])
def test_verbs_refuse_a_file_without_rows(tmp_path: Path, ablate: Ablate, verb: list[str]) -> None:
    for text, said in (("", "is empty"), ("arm,n_params,tokens,seed,loss,caption,text\n", "has no rows below its header (arm, n_params,")):
        (tmp_path / "none.csv").write_text(text)
        assert said in ablate(*verb, str(tmp_path / "none.csv"), code=2)
    assert "no file" in ablate(*verb, str(tmp_path / "nowhere.csv"), code=2)


@pytest.mark.slow
def test_law_mixture_finds_the_planted_optimum_with_an_interval_that_has_it(tmp_path: Path, ablate: Ablate) -> None:
    arguments = ["law", "mixture", written(tmp_path, mixed()), "--sources", ",".join(SOURCES), "--bootstrap", "100"]
    found = answer_of(ablate(*arguments, "--json"))
    assert set(found) == REPORT | {"form", "law", "best", "limits", "undetermined"}
    assert set(found["best"]) == {"proportions", "intervals", "value", "value_interval", "resamples", "notes", "at"}
    assert set(found["law"]) == {
        *("form", "metric", "goal", "rows", "mixtures", "residual_sd", "seed", "sources", "sizes", "warnings", "constants", "left_out")
    }
    assert sum(found["best"]["proportions"].values()) == pytest.approx(1)
    for source, share in BEST.items():
        low, high = found["best"]["intervals"][source]
        assert low < share < high
        assert found["best"]["proportions"][source] == pytest.approx(share, abs=0.1)
    assert found["law"]["left_out"]["r2"] > 0.9


@pytest.mark.parametrize("form", [pytest.param("exponential", marks=pytest.mark.slow), "regmix"])
def test_law_mixture_of_a_form_without_an_optimum_inside_says_so(tmp_path: Path, ablate: Ablate, form: str) -> None:
    arguments = [
        "--sources",
        ",".join(SOURCES),
        "--form",
        form,
        "--bootstrap",
        "100",  # the fewest that there may be
        "--limit",
        "caption=0.2:0.3",
        "--limit",
        "text=0.1:1",
    ]
    file = written(tmp_path, mixed())
    found = answer_of(ablate("law", "mixture", file, *arguments, "--json"))
    assert found["form"] == form
    assert found["limits"] == {"caption": [0.2, 0.3], "text": [0.1, 1.0]}
    assert "always at a corner" in " ".join(found["best"]["notes"])
    widths = [ends[1] - ends[0] for ends in found["best"]["intervals"].values() if ends]
    assert all(width > 0 for width in widths)
    if len(widths) < len(SOURCES):
        assert "a share without an interval is at the same limit" in " ".join(found["best"]["notes"])
    assert "always at a corner" in ablate("law", "mixture", file, *arguments[:4], "--bootstrap", "0")


def test_law_mixture_of_exact_values_has_no_interval_and_says_so(tmp_path: Path, ablate: Ablate) -> None:
    found = answer_of(ablate("law", "mixture", written(tmp_path, mixed(noise=0.0)), "--sources", ",".join(SOURCES), "--json"))
    assert found["best"]["proportions"] == pytest.approx(BEST, abs=2e-3)
    assert found["best"]["intervals"] is None
    assert "no interval" in " ".join(found["best"]["notes"])


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({"text": 0.9}, ["--limit", "txt=0:0.5"], ["proportions do not add up to 1", "no source 'txt'", "did you mean 'text'?"]),
        (
            {},
            ["--limit", "text=0.9:0.1", "--form", "aditive", "--goal", "least"],
            ["did you mean 'additive'?", "--goal least", "0.9 to 0.1"],
        ),
        ({}, ["--limit", "text", "--limit", "caption=a:b"], ["--limit text: write SOURCE=LOW:HIGH", "--limit caption=a:b"]),
        ({"loss": "low", "caption": "much"}, [], ["column caption: 'much' is not a number", "column loss: 'low' is not a number"]),
        ({"loss": np.inf}, [], ["column loss: no finite number in lines 2, 3, 4"]),
        ({}, ["--form", "joint"], ["form joint needs N or D"]),
        ({}, ["--bootstrap", "10"], ["resamples: 10; percentiles"]),
        ({}, ["--bootstrap", "10", "--goal", "least"], ["resamples: 10; percentiles", "--goal least"]),
        ({}, ["--sources", "caption,interleavd,text"], ["no column 'interleavd'", "did you mean 'interleaved'?"]),
        ({"n": 1e9}, ["--params", "0", "--n-params", "n"], ["--params: 0.0 is not a positive, finite number"]),
        ({}, ["--params", "7B", "--at-tokens", "1T"], ["--params 7e+09: the law reads no n_params; name their column with --n-params"]),
        ({}, ["--at-tokens", "1T"], ["--at-tokens 1e+12: the law reads no tokens", "--tokens COLUMN, or leave --at-tokens out"]),
        ({}, ["--sources", "caption"], ["--sources caption: a mix needs two sources or more"]),
        ({}, ["--sources", ""], ["say with --sources A,B,... which columns are shares (there: caption, interleaved, text, loss)"]),
    ],
)
def test_law_mixture_refuses_with_every_problem(
    tmp_path: Path, ablate: Ablate, change: dict[str, Any], arguments: list[str], said: list[str]
) -> None:
    file = written(tmp_path, mixed().assign(**change))
    printed = ablate("law", "mixture", file, "--sources", ",".join(SOURCES), *arguments, code=2)
    assert [text for text in said if text not in printed] == []


def test_law_mixture_of_too_few_mixtures_says_how_many_constants_there_are(tmp_path: Path, ablate: Ablate) -> None:
    printed = ablate("law", "mixture", written(tmp_path, mixed(5)), "--sources", ",".join(SOURCES), "--form", "additive", code=2)
    assert "5 distinct mixtures: the additive form of 3 sources has 7 constants" in printed


@pytest.mark.parametrize(("mixes", "form"), [(8, "additive"), (7, "exponential"), (5, "exponential"), (4, "regmix"), (3, "regmix")])
def test_richest_form_leaves_a_degree_of_freedom_where_one_can(mixes: int, form: str) -> None:
    """Of three sources the forms have 7, 4 and 3 constants."""
    frame = pd.concat([mixed(mixes)] * 2)  # a second seed adds no mix
    found, why = richest_form(frame, SOURCES, sizes=())
    assert found == form
    assert why.startswith(f"form {form}: the {'richest that leaves' if mixes > 3 else 'one of fewest constants'}")
    sized = frame.assign(n=range(len(frame)))
    assert richest_form(sized, SOURCES, sizes=("n",))[0] == "additive"


def test_law_mixture_says_which_form_it_took_and_why(tmp_path: Path, ablate: Ablate) -> None:
    found = answer_of(ablate("law", "mixture", written(tmp_path, mixed(4)), "--sources", ",".join(SOURCES), "--bootstrap", "0", "--json"))
    assert found["form"] == "regmix"
    said = "form regmix: the richest that leaves a degree of freedom of 4 mixes, with 3 constants (additive has 7, exponential has 4)"
    assert said in found["law"]["warnings"]


def test_law_mixture_at_a_size_that_does_not_vary_says_that_it_changes_nothing(tmp_path: Path, ablate: Ablate) -> None:
    file = written(tmp_path, mixed().assign(n=1e9))
    arguments = ["--sources", ",".join(SOURCES), "--form", "regmix", "--bootstrap", "0", "--n-params", "n", "--params", "7B"]
    found = answer_of(ablate("law", "mixture", file, *arguments, "--json"))
    assert "--params changes nothing: n does not vary in the runs" in found["law"]["warnings"]
    assert found["best"]["at"] == {}


def test_law_mixture_names_its_form_as_it_was_asked_for(tmp_path: Path, ablate: Ablate) -> None:
    sizes = mixed().assign(n=np.geomspace(1e8, 1e9, 12))
    arguments = ["--sources", ",".join(SOURCES), "--form", "regmix", "--n-params", "n"]
    assert "form regmix has no term for a size" in ablate("law", "mixture", written(tmp_path, sizes), *arguments, code=2)
    few = written(tmp_path, mixed(2), "few.csv")
    assert "2 distinct mixtures: the regmix form of 3 sources" in ablate("law", "mixture", few, *arguments[:4], code=2)


def test_scales_finds_the_planted_flip_and_factor(tmp_path: Path, ablate: Ablate) -> None:
    found = answer_of(ablate("scales", written(tmp_path, scaled()), "--baseline", "base", "--json"))
    assert set(found) == REPORT | {
        *("metric", "goal", "baseline", "arms", "sizes", "transfers", "effects", "compute", "compute_missing", "warnings")
    }
    assert found["sizes"] == [1e8, 4e8, 1e9, 4e9, 1e10]
    first, last = found["transfers"][0], found["transfers"][-1]
    assert set(first) == {"small", "large", "rank", "missing"}
    assert (first["rank"]["small_winner"], first["rank"]["large_winner"], first["rank"]["winner_stays"]) == ("early", "steady", False)
    assert last["rank"]["winner_stays"]
    assert first["rank"]["tau"] < last["rank"]["tau"]
    assert first["rank"]["regret"] > 0.05 > last["rank"]["regret"]
    early, steady, worse = found["effects"]
    assert [flip["clear"] for flip in early["flips"] if (flip["smaller"], flip["larger"]) == (1e8, 1e10)] == [True]
    assert (steady["flips"], worse["flips"]) == ([], [])
    assert early["ci"][0] > 0  # the loss gets worse against the base with size
    factors = {(unit["arm"], unit["compute"]): (unit["factor"], unit["interval"]) for unit in found["compute"]["arms"]}
    for arm, n, worth in (("steady", 1e9, 2.0), ("worse", 1e9, 0.5), ("early", 1e8, 3.0)):
        factor, (low, high) = factors[arm, 120 * n**2]
        assert low < worth < high
        assert factor == pytest.approx(worth, rel=0.2)


def test_scales_for_people_says_what_flips_and_what_it_is_worth(tmp_path: Path, ablate: Ablate) -> None:
    said = ablate("scales", written(tmp_path, scaled()), "--baseline", "base")
    assert "early -> steady" in said
    assert "100M -> 10B" in said
    assert "compute is 6 N D, from n_params and tokens" in said


def test_scales_reads_a_column_of_arms_as_names(tmp_path: Path, ablate: Ablate) -> None:
    names = {"base": "1e-3", "early": "inf", "steady": "02", "worse": "7"}
    frame = scaled().assign(width=lambda runs: runs["arm"].map(names)).drop(columns="arm")
    found = answer_of(ablate("scales", written(tmp_path, frame), "--arm", "width", "--baseline", "1e-3", "--json"))
    assert (found["baseline"], found["arms"]) == ("1e-3", ["1e-3", "inf", "02", "7"])
    assert found["transfers"][0]["rank"]["small_winner"] == "inf"


def test_scales_counts_compute_in_floats(tmp_path: Path, ablate: Ablate) -> None:
    """6 N D of N 1.07e9 and D 5.69e10 is 3.65e20, beyond 64 bits."""
    frame = scaled().assign(n_params=lambda runs: runs["n_params"] * 107 // 1000, tokens=56_900_000_000)
    found = answer_of(ablate("scales", written(tmp_path, frame), "--baseline", "base", "--json"))
    assert max(unit["compute"] for unit in found["compute"]["arms"]) == pytest.approx(6 * 1.07e9 * 5.69e10)


def test_scales_of_one_seed_has_no_ceiling_and_says_why(tmp_path: Path, ablate: Ablate) -> None:
    frame = scaled(seeds=1).drop(columns="tokens")
    found = answer_of(ablate("scales", written(tmp_path, frame), "--baseline", "base", "--json"))
    assert {transfer["rank"]["ceiling"] for transfer in found["transfers"]} == {None}
    assert all(effect["ci"] is None and effect["note"] for trend in found["effects"] for effect in trend["effects"])
    assert found["compute"] is None
    assert "no column compute" in found["compute_missing"]
    assert "one seed an arm and size" in found["warnings"][0]


def test_scales_of_unequal_seeds_and_diverged_runs_says_so(tmp_path: Path, ablate: Ablate) -> None:
    frame = scaled().drop(index=[0, 20])
    frame.loc[5, "loss"] = np.inf
    found = answer_of(ablate("scales", written(tmp_path, frame), "--baseline", "base", "--json"))
    assert found["warnings"][1:] == [
        "1 of 58 trials left out (1 without a finite value)",
        "2 to 3 seeds an arm and size: effects pair the seeds that both sides have",
    ]
    assert "2 to 3 seeds an arm" in found["transfers"][0]["rank"]["note"]


def test_scales_without_the_base_at_three_computes_has_no_factor_and_says_why(tmp_path: Path, ablate: Ablate) -> None:
    frame = scaled()
    found = answer_of(ablate("scales", written(tmp_path, frame[frame["n_params"] > 1e9]), "--baseline", "base", "--json"))
    assert (found["compute"], found["compute_missing"]) == (
        None,
        "the baseline base finished at 2 computes; its scaling curve needs 3, better 5",
    )
    assert all(trend["ci"] is None and "two sizes" in trend["note"] for trend in found["effects"])


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({"n_params": 10**9}, ["--baseline", "bse"], ["column n_params: 1 distinct size", "no arm 'bse'", "did you mean 'base'?"]),
        ({"n_params": [-1, 0, *[10**9] * 58], "tokens": np.inf}, ["--baseline", "base"], ["column n_params: -1.0 (line 2)", "2 such rows"]),
        ({"compute": [np.inf, *[1e20] * 59]}, ["--baseline", "base"], ["column compute: inf (line 2)"]),
        ({"train_flops": [0, *[1e20] * 59]}, ["--baseline", "base"], ["column train_flops: 0.0 (line 2)"]),
        ({"spent": [0, *[1e20] * 59]}, ["--baseline", "base", "--compute", "spent"], ["column spent: 0.0 (line 2)"]),
        ({"width": "big"}, ["--baseline", "base", "--size", "width"], ["column width: 'big' is not a number"]),
        ({"loss": "low", "n_params": "big"}, ["--baseline", "base"], ["column n_params: 'big' is not", "column loss: 'low' is not"]),
        ({"loss": np.nan}, ["--baseline", "base"], ["column loss: no finite number in any row"]),
        ({"arm": "base"}, ["--baseline", "base"], ["1 arm; comparing arms needs two"]),
        ({}, [], ["say with --baseline ARM", "(there: base, early, steady, worse)"]),
        ({}, ["--baseline", "bse", "--metric", "los"], ["no column 'los'", "no arm 'bse'"]),
        ({}, ["--arm", "arms"], ["no column 'arms'", "say with --baseline ARM"]),
        ({}, ["--baseline", "base", "--goal", "low"], ["--goal low: min or max"]),
        ({}, ["--baseline", "base", "--metric", "los", "--size", "n_param"], ["no column 'los'", "no column 'n_param'", "did you mean"]),
        ({"width": 8}, ["--baseline", "base", "--size", "width"], ["column width: 1 distinct size"]),
        ({"seed": 0}, ["--baseline", "base"], ["several values of loss"]),
    ],
)
def test_scales_refuses_with_every_problem(
    tmp_path: Path, ablate: Ablate, change: dict[str, Any], arguments: list[str], said: list[str]
) -> None:
    printed = ablate("scales", written(tmp_path, scaled().assign(**change)), *arguments, code=2)
    assert [text for text in said if text not in printed] == []


def recorded(folder: Path, *, axes: dict[str, Any], metric: str = "loss", goal: str = "min", seeds: int = 2) -> str:
    """The workspace of a study of the synthetic trainer, run."""
    study = make_study(axes=axes, base={"steps": 1}, metric={"name": metric, "goal": goal}, seeds=seeds)
    workspace = Workspace(folder / "work")
    workspace.create()
    store = open_store(workspace.store_url, write=True)
    run_study(study, store=store, workspace=workspace, open_scheduler=lambda _: LocalScheduler(workspace), stop=threading.Event())
    store.close()
    return str(folder / "work")


def test_scales_of_a_study_compares_levels_at_the_sizes_its_trainer_counts(tmp_path: Path, ablate: Ablate) -> None:
    """The law: 448 pixels are better than 112 by 0.056 nats at every size; the other axis stands at its baseline."""
    axes = {"num_params": [1e7, 1e8, 1e9], "image_size": [112, 224, 448], "connector": ["avg_pool", "c_abstractor"]}
    work = recorded(tmp_path, axes=axes, seeds=1)
    found = answer_of(ablate("scales", "small", "--arm", "image_size", "--workspace", work, "--json"))
    assert found["simulated"]
    assert (found["sizes"], found["arms"], found["baseline"]) == ([1e7, 1e8, 1e9], [112, 224, 448], 112)
    assert "the other axes stand at their baseline (connector = avg_pool)" in found["warnings"][0]
    assert [transfer["rank"]["winner_stays"] for transfer in found["transfers"]] == [True, True]
    assert found["columns"] == {"arm": "image_size", "n_params": "num_params", "compute": "train_flops"}
    assert "2 axes could be the arms (image_size, connector)" in ablate("scales", "small", "--workspace", work, code=2)
    printed = ablate("scales", "small", "--workspace", work, "--arm", "image_sise", "--size", "num_parms", code=2)
    assert "did you mean 'image_size'?" in printed
    assert "did you mean 'num_params'?" in printed
    assert "no level of image_size (112, 224, 448)" in ablate(
        "scales", "small", "--workspace", work, "--arm", "image_size", "--baseline", "113", code=2
    )
    printed = ablate("law", "mixture", "small", "--workspace", work, code=2)
    assert "has no axis of data mixes (a `simplex:`); its axes: num_params, image_size, connector" in printed


def test_law_loss_of_a_study_reads_its_sizes_and_a_field_as_tokens(tmp_path: Path, ablate: Ablate) -> None:
    """Of the synthetic trainer the loss does not depend on the steps, which the law says."""
    work = recorded(tmp_path, axes={"num_params": [1e7, 1e8, 1e9], "steps": [1, 3, 9]}, seeds=1)
    found = answer_of(ablate("law", "loss", "small", "--tokens", "steps", "--bootstrap", "0", "--workspace", work, "--json"))
    assert found["simulated"]
    assert found["columns"] == {"n_params": "num_params", "tokens": "steps"}
    assert (found["law"]["rows"], found["law"]["token_range"]) == (9, [1, 9])
    store = open_store(Workspace(Path(work)).store_url)
    by_flops = study_losses(study_runs(store, "small"), metric="loss", n_params="", tokens="")
    store.close()
    horizon = by_flops.source.columns["tokens"]
    assert (by_flops.frame[horizon].min(), by_flops.frame[horizon].max()) == (4096, 9 * 4096)
    assert "tokens are train_flops / 6 N" in by_flops.notes[0]
    printed = ablate("law", "loss", "small", "--tokens", "stepps", "--workspace", work, code=2)
    assert "'stepps' is not there (counted: num_params, train_flops; axes: num_params, steps" in printed
    assert "did you mean 'steps'?" in printed


def test_law_mixture_of_a_study_reads_the_shares_of_its_axis(tmp_path: Path, ablate: Ablate) -> None:
    work = recorded(tmp_path, axes={"mix": {"simplex": list(SOURCES), "lattice": 2}, "num_tokens": [16, 64]}, seeds=1)
    arguments = ["law", "mixture", "small", "--workspace", work, "--bootstrap", "0", "--form", "regmix"]
    found = answer_of(ablate(*arguments, "--json"))
    assert found["law"]["sources"] == list(SOURCES)
    assert (found["law"]["rows"], found["law"]["mixtures"]) == (6, 6)
    assert "the other axes stand at their baseline" in found["law"]["warnings"][0]
    printed = ablate(*arguments, "--sources", "captions,text", code=2)
    assert "no axis mixes just these (there: mix of caption, interleaved, text); did you mean 'caption'?" in printed


@pytest.mark.slow
def test_law_mixture_of_a_study_finds_its_best_mix(tmp_path: Path, ablate: Ablate) -> None:
    """The law: the best share of interleaved data is 0.45; caption and text do the same."""
    work = recorded(tmp_path, axes={"mix": {"simplex": list(SOURCES), "lattice": 4}}, seeds=1)
    found = answer_of(ablate("law", "mixture", "small", "--workspace", work, "--bootstrap", "0", "--json"))
    assert found["best"]["proportions"]["interleaved"] == pytest.approx(0.45, abs=0.15)


@pytest.mark.slow
def test_law_mixture_of_several_sizes_says_where_its_best_mix_is_sought(tmp_path: Path, ablate: Ablate) -> None:
    shares = np.random.default_rng(0).dirichlet([2, 2], 6)
    frames = [
        pd.DataFrame(shares, columns=["caption", "text"]).assign(
            n_params=n, loss=1.8 + 1 / (shares[:, 0] ** 0.5 + 0.8 * shares[:, 1] ** 0.4) + np.exp(shares @ [6.0, 6.6]) * n**-0.3
        )
        for n in (10**8, 10**9, 10**10)
    ]
    arguments = ["--sources", "caption,text", "--form", "joint", "--n-params", "n_params", "--bootstrap", "0", "--json"]
    file = written(tmp_path, pd.concat(frames))
    assert answer_of(ablate("law", "mixture", file, *arguments))["best"]["at"] == {"n_params": 1e10}
    larger = answer_of(ablate("law", "mixture", file, *arguments, "--params", "100B"))
    assert larger["best"]["at"] == {"n_params": 1e11}
    assert any("extrapolated by 1.0 decades" in warning for warning in larger["law"]["warnings"])


def test_verbs_name_an_unknown_study(tmp_path: Path, ablate: Ablate) -> None:
    work = recorded(tmp_path, axes={"num_params": [1e7, 1e8]}, seeds=1)
    for verb in (["law", "loss"], ["law", "mixture"], ["scales"]):
        assert "did you mean 'small'?" in ablate(*verb, "smal", "--workspace", work, code=2)


def test_failed_rows_of_a_csv_are_no_data_for_the_mix_and_the_loss(tmp_path: Path, ablate: Ablate) -> None:
    mixes = [(a / 4, b / 4, (4 - a - b) / 4) for a in range(5) for b in range(5 - a)]
    rows = [(*mix, 2 + 1 / (1 + mix[0] + 2 * mix[1] ** 0.5)) for mix in mixes]
    clean = written(tmp_path, pd.DataFrame(rows, columns=["caption", "interleaved", "text", "loss"]))
    verb = ("law", "mixture", "--sources", "caption,interleaved,text", "--bootstrap", "0", "--json")
    best = json.loads(ablate(*verb, clean))["best"]
    failed = pd.DataFrame([*rows, (0.5, 0.5, 0, 99), (0, 1, 0, -5)], columns=["caption", "interleaved", "text", "loss"])
    for column in ("state", "status", "State"):
        found = json.loads(ablate(*verb, written(tmp_path, failed.assign(**{column: ["ok"] * len(rows) + ["failed", "diverged"]}))))
        assert found["best"] == best
        assert "2 of 17 rows left out (1 diverged, 1 failed)" in found["law"]["warnings"]
    losses = pd.DataFrame([(n, k * n, 1.7 + 400 / n**0.34 + 410 / (k * n) ** 0.28) for n in (1e7, 1e8, 1e9) for k in (5, 20, 80)])
    losses = losses.set_axis(["n_params", "tokens", "loss"], axis=1).assign(status="done")
    losses.loc[4, ["loss", "status"]] = [np.nan, "crashed"]
    law = json.loads(ablate("law", "loss", written(tmp_path, losses), "--json"))["law"]
    assert (law["rows"], law["alpha"]) == (8, pytest.approx(0.34, abs=0.01))
    assert "1 of 9 rows left out (1 lost)" in law["warnings"]
    assert "no run ended well (9 failed)" in ablate("law", "loss", written(tmp_path, losses.assign(status="failed")), code=2)


@pytest.mark.parametrize("column", ["state", "status"])
def test_failed_rows_of_a_csv_are_no_data_for_scales(tmp_path: Path, ablate: Ablate, column: str) -> None:
    frame = scaled()
    verb = ("scales", "--baseline", "base", "--json")
    clean = json.loads(ablate(*verb, written(tmp_path, frame.drop(index=frame.index[0]))))
    frame.loc[frame.index[0], "loss"] = 99.0
    found = json.loads(ablate(*verb, written(tmp_path, frame.assign(**{column: ["crashed", *["ok"] * (len(frame) - 1)]}))))
    slopes = [[trend["slope"] for trend in one["effects"]] for one in (found, clean)]
    assert slopes[0] == pytest.approx(slopes[1])
    assert "1 of 60 trials left out (1 lost)" in found["warnings"]


def test_factor_that_contradicts_its_own_effect_is_withheld_and_notes_are_said_once(tmp_path: Path, ablate: Ablate) -> None:
    rows = [
        (arm, n, seed, 1 + 100 / n**0.3 + shift + 0.001 * ((seed + ord(arm[-1])) ** 2 % 5), 120 * n**2)
        for arm, shift in (("base", 0), ("a", -0.02), ("b", -0.03))
        for n in (1e6, 1e7, 1e8)
        for seed in range(3)
    ]
    file = written(tmp_path, pd.DataFrame(rows, columns=["arm", "n_params", "seed", "loss", "compute"]))
    found = json.loads(ablate("scales", file, "--baseline", "base", "--json"))
    assert all(unit["factor"] is None or unit["factor"] > 1 for unit in found["compute"]["arms"])
    assert "no factor: its seeds are better" in found["compute"]["arms"][0]["note"]
    printed = " ".join(ablate("scales", file, "--baseline", "base").split())
    assert printed.count("3 computes cannot show a bend") == 1
    assert "a, b: no factor" in printed


@pytest.mark.parametrize("name", ["runs.CSV", "runs.tsv"])
def test_tables_are_known_by_any_spelling_of_their_end(tmp_path: Path, ablate: Ablate, name: str) -> None:
    file = tmp_path / name
    file.write_text("arm\tn_params\tseed\tloss\n")
    for verb in (("scales",), ("law", "loss"), ("law", "mixture"), ("law", "fit"), ("next",), ("effects",)):
        assert f"{name}: it has no rows below its header" in ablate(*verb, str(file), code=2)
