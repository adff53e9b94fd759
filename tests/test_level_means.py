from math import isnan, nan, sqrt

import pandas as pd
import pytest
from scipy import stats

from ablate.errors import InputError
from ablate.level_means import averaged_over, level_means


def grid(kinds: str = "ab", sizes: tuple[int, ...] = (16, 32)) -> pd.DataFrame:
    rows = [
        {"arm": f"{kind}-{size}", "seed": seed, "state": "done", "kind": kind, "size": size, "score": size + (kind == "b") + seed}
        for kind in kinds
        for size in sizes
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows).astype({"score": float})


def test_level_means_have_the_mean_and_t_interval_of_the_seeds() -> None:
    found = level_means(grid(), by=["kind", "size"], metric="score")
    assert found.table[[0, 1, "mean", "n"]].to_numpy().tolist() == [["a", 16, 17, 3], ["a", 32, 33, 3], ["b", 16, 18, 3], ["b", 32, 34, 3]]
    assert found.table["half"].tolist() == pytest.approx([stats.t.ppf(0.975, 2) / sqrt(3)] * 4)
    assert found.note == ""


def test_level_means_one_at_a_time_compares_at_the_shared_baseline() -> None:
    frame = grid().query("kind == 'a' or size == 16")  # only the baseline kind has the larger size
    found = level_means(frame, by=["kind"], metric="score", others=["size"])
    assert found.table[[0, "mean"]].to_numpy().tolist() == [["a", 17], ["b", 18]]
    assert found.note == "6 of 9 finished trials: those at levels of size that all have"


def test_level_means_full_grid_takes_the_mean_over_other_axes() -> None:
    found = level_means(grid(), by=["kind"], metric="score", others=["size"])
    assert found.table["mean"].tolist() == [25, 26]
    assert found.note == "mean over size"


def test_level_means_nothing_shared_is_said() -> None:
    frame = grid().query("(kind == 'a') == (size == 16)")
    assert "which differ" in level_means(frame, by=["kind"], metric="score", others=["size"]).note


def test_level_means_axis_of_any_name_and_absent_levels() -> None:
    frame = grid().rename(columns={"kind": "mean", "size": "level"})
    frame["level"] = frame["level"].astype(object).where(frame["mean"] == "a", None)
    found = level_means(frame, by=["mean", "level"], metric="score").table
    assert [(kind, isnan(size) if kind == "b" else size) for kind, size in zip(found[0], found[1], strict=True)] == [
        ("a", 16),
        ("a", 32),
        ("b", True),
    ]


def test_level_means_unfinished_and_missing_are_left_out_and_one_seed_has_no_interval() -> None:
    frame = grid()
    frame.loc[frame["seed"] == 1, "state"] = "failed"
    frame.loc[frame["seed"] == 2, "score"] = nan
    found = level_means(frame, by=["kind"], metric="score").table
    assert found["n"].tolist() == [1, 1]
    assert found["half"].isna().all()
    assert level_means(frame.assign(state="queued"), by=["kind"], metric="score").table.empty


def test_level_means_unknown_axis_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'kind'"):
        level_means(grid(), by=["kin"], metric="score")


def test_averaged_over_names_the_other_axes_that_vary() -> None:
    assert averaged_over(grid(), axis="kind", axes=["kind", "size"]) == ["Each point is a mean over what else varies: size."]
    assert averaged_over(grid(sizes=(16,)), axis="kind", axes=["kind", "size"]) == []
