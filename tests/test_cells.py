"""Every design's arms by name, in full: which cells a block picks, where conditional axes apply, what blocks do together."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate import synthetic
from ablate.base import Base
from ablate.design import arm_for, count_removed, draft_design, make_arms, search_space
from ablate.draft import Drafting
from ablate.errors import InputError
from ablate.marked_yaml import Marks, Place
from ablate.study import Study

TWO = {"image_size": [224, 336], "num_tokens": [64, 144]}
THREE = TWO | {"connector": ["avg_pool", "c_abstractor"]}


def study(axes: Mapping[str, Any], design: Any = "grid", **changes: Any) -> Study:
    plain = {"schema": 1, "name": "s", "trainer": "synthetic", "axes": axes, "design": design, "metric": {"name": "loss", "goal": "min"}}
    return Study.model_validate(plain | changes)


def zoo(axes: Mapping[str, Any], design: Any = "grid", **changes: Any) -> Study:
    return study(axes, design, **({"trainer": "model_zoo", "metric": {"name": "val_loss", "goal": "min"}} | changes))


def names(declared: Study) -> list[str]:
    return [arm.name for arm in make_arms(declared)]


def messages(declared: Study) -> list[str]:
    with pytest.raises(InputError) as caught:
        make_arms(declared)
    return [problem.message for problem in caught.value.problems]


KIND = {
    "encoder.pretrain.objective": {"choices": {"contrastive": {"encoder.pretrain.steps": [300, 100]}, "none": {}}},
    "connector.kind": ["avg_pool", "c_abstractor"],
}


@pytest.mark.parametrize(
    ("axes", "design", "expected"),
    [
        (TWO, "grid", ["base", "num_tokens=144", "image_size=336", "image_size=336,num_tokens=144"]),
        (
            THREE,
            {"kind": "grid", "axes": ["connector", "image_size"]},
            ["base", "connector=c_abstractor", "image_size=336", "image_size=336,connector=c_abstractor"],
        ),
        (THREE, "one_at_a_time", ["base", "image_size=336", "num_tokens=144", "connector=c_abstractor"]),
        (THREE, {"kind": "one_at_a_time", "axes": ["num_tokens"]}, ["base", "num_tokens=144"]),
        (
            {"image_size": [224, 336, 448], "num_tokens": [64, 144]},
            "leave_one_out",
            ["image_size=448,num_tokens=144", "num_tokens=144", "image_size=448"],
        ),
        (
            {"image_size": [224, 336, 448], "num_tokens": [64, 144]},
            {"kind": "leave_one_out", "final": {"image_size": 336}},
            ["image_size=336,num_tokens=144", "num_tokens=144", "image_size=336"],
        ),
        (
            THREE,
            {"kind": "leave_one_out", "axes": ["connector", "num_tokens"]},
            ["num_tokens=144,connector=c_abstractor", "num_tokens=144", "connector=c_abstractor"],
        ),
        (
            THREE,
            "cumulative",
            ["base", "image_size=336", "image_size=336,num_tokens=144", "image_size=336,num_tokens=144,connector=c_abstractor"],
        ),
        (
            THREE,
            {"kind": "cumulative", "axes": ["connector", "image_size"]},
            ["base", "connector=c_abstractor", "image_size=336,connector=c_abstractor"],
        ),
        (
            {"image_size": [224, 336, 448], "num_tokens": [64, 144]},
            {"kind": "cumulative", "final": {"image_size": 336}},
            ["base", "image_size=336", "image_size=336,num_tokens=144"],
        ),
        (THREE, {"kind": "fractional", "resolution": 3}, ["num_tokens=144"]),
        (
            THREE,
            {"kind": "list", "arms": [{}, {"num_tokens": 144, "image_size": 336}, {"connector": "c_abstractor"}]},
            ["base", "image_size=336,num_tokens=144", "connector=c_abstractor"],
        ),
        (
            THREE,
            [
                {"kind": "grid", "axes": ["image_size"]},
                {"kind": "one_at_a_time", "axes": ["image_size", "num_tokens"]},
                {"kind": "list", "arms": [{}]},
            ],
            ["base", "image_size=336", "num_tokens=144"],
        ),
        (TWO, {"kind": "grid", "sample": 9}, None),
        ({}, "grid", ["base"]),
        ({}, "one_at_a_time", ["base"]),
        ({}, "fractional", ["base"]),
        ({}, {"kind": "sobol", "points": 4}, ["base"]),
    ],
)
def test_design_has_these_arms_in_this_order(axes: Mapping[str, Any], design: Any, expected: list[str] | None) -> None:
    found = names(study(axes, design))
    if design == {"kind": "fractional", "resolution": 3}:
        # half of 2^3: c = a x b, so an even number of changes in every run but for the base's sign
        assert len(found) == 4
        assert found[0] == "base"
        assert all(len(name.split(",")) == 2 for name in found[1:])
    elif expected is None:
        assert sorted(found) == sorted(names(study(axes)))
    else:
        assert found == expected


def test_fraction_is_balanced_and_orthogonal() -> None:
    axes = THREE | {"peak_lr": [1e-4, 2e-4]}
    arms = make_arms(study(axes, {"kind": "fractional", "resolution": 4}))
    signs = [[1 if arm.levels[axis] == levels[1] else -1 for axis, levels in axes.items()] for arm in arms]
    assert len(signs) == 8
    for one, other in itertools.combinations(range(4), 2):
        assert sum(row[one] for row in signs) == sum(row[one] * row[other] for row in signs) == 0


@pytest.mark.parametrize(
    ("axes", "design", "message"),
    [
        (
            TWO | {"steps": [1, 2, 3]},
            "fractional",
            "fractional needs two levels an axis, the base's own among them; steps has the levels 1, 2, 3",
        ),
        (TWO | {"steps": [1]}, "cumulative", "cumulative needs a level that is not the base's own, 1"),
        (TWO, {"kind": "grid", "axes": ["num_tokens", "num_tokens"]}, "design.axes[1]: the axis num_tokens is given twice; give it once"),
        (TWO, {"kind": "fractional", "axes": ["num_tokens", "num_tokens"]}, "design.axes[1]: the axis num_tokens is given twice"),
        (
            TWO,
            {"kind": "cumulative", "axes": ["num_tokens"], "final": {"image_size": 336}},
            "image_size is not among the axes of this design (num_tokens)",
        ),
        (
            TWO,
            ["grid", {"kind": "list", "arms": [{"num_token": 1}]}],
            "design[1].arms[0]: no axis 'num_token' (image_size, num_tokens); did you",
        ),
        (TWO, {"kind": "list", "arms": [{"num_tokens": 65}]}, "no level 65 on num_tokens (64, 144)"),
        (
            TWO | {"peak_lr": {"log": [1e-4, 1e-2]}},
            ["one_at_a_time", {"kind": "sobol", "points": 2}],
            "points is missing: one_at_a_time needs levels",
        ),
        (
            {"peak_lr": {"log": [1e-4, 1e-2]}},
            [{"kind": "list", "arms": [{"peak_lr": 0.5}]}, {"kind": "sobol", "points": 2}],
            "0.5 is not between the bounds of peak_lr, 0.0001 and 0.01",
        ),
    ],
)
def test_design_that_does_not_fit_its_axes_is_refused(axes: Mapping[str, Any], design: Any, message: str) -> None:
    (found,) = messages(study(axes, design))
    assert message in found


def test_fraction_of_too_many_factors_is_refused_at_the_design() -> None:
    axes = {f"s{place}": {"zip": {"num_tokens": [place + 1, place + 2], "image_size": [1, 2]}} for place in range(1)}
    many = {f"encoder.pretrain.{name}": [1, 2] for name in ("steps", "seed")}
    assert names(study(axes, "fractional"))  # one factor is fine
    assert len(names(zoo(many, {"kind": "fractional", "resolution": 5}))) == 4


@pytest.mark.parametrize("kind", ["latin_hypercube", "sobol"])
def test_points_cover_axes_between_bounds_and_levels_alike(kind: str) -> None:
    axes = {"peak_lr": {"log": [1e-5, 1e-2]}, "image_size": {"linspace": [200, 400]}, "connector": ["avg_pool", "c_abstractor"]}
    arms = make_arms(study(axes, {"kind": kind, "points": 16, "seed": 1}))
    assert len(arms) == 16
    assert all(1e-5 <= arm.levels["peak_lr"] <= 1e-2 and isinstance(arm.levels["image_size"], int) for arm in arms)  # type: ignore[operator]
    assert sum(arm.levels["connector"] == "avg_pool" for arm in arms) == 8
    assert sum(arm.levels["peak_lr"] < 10**-3.5 for arm in arms) == 8  # type: ignore[operator]
    assert arms == make_arms(study(axes, {"kind": kind, "points": 16, "seed": 1}))
    assert arms != make_arms(study(axes, {"kind": kind, "points": 16, "seed": 2}))


def test_sample_of_a_grid_is_a_part_of_it_without_repeats() -> None:
    axes = {"peak_lr": {"log": [1e-5, 1e-2], "points": 20}, "num_tokens": {"range": [1, 20], "step": 1}}
    sampled = names(study(axes, {"kind": "grid", "sample": 50, "seed": 3}))
    assert len(set(sampled)) == len(sampled) == 50
    assert set(sampled) < set(names(study(axes)))
    assert sampled[:20] == names(study(axes, {"kind": "grid", "sample": 20, "seed": 3}))
    thinned = names(study(axes, {"kind": "grid", "sample": 50}, where=["num_tokens < 11"]))
    assert len(set(thinned)) == 50


@pytest.mark.slow
def test_sample_larger_than_what_the_conditions_leave_says_how_many_there_are() -> None:
    axes = {"peak_lr": {"log": [1e-5, 1e-2], "points": 1000}, "num_params": {"log": [1e5, 1e9], "points": 1000}}
    (message,) = messages(study(axes, {"kind": "grid", "sample": 500}, where=["num_params < 1.0001e5"]))
    assert "cells drawn satisfy the conditions, 500 are wanted" in message


def test_sample_with_axes_that_do_not_apply_everywhere_counts_arms() -> None:
    axes = {"connector.kind": {"choices": {"avg_pool": {"connector.num_tokens": [1, 4, 9, 16]}, "c_abstractor": {}}}}
    assert len(names(zoo(axes, {"kind": "grid", "sample": 5}))) == 5


def test_sample_of_10_to_the_12_cells_is_drawn_at_once() -> None:
    points = {"points": 1000}
    axes = {"num_params": {"log": [1e3, 1e9], **points}, "peak_lr": {"log": [1e-4, 1e-1], **points}}
    axes |= {"noise_sd": {"linspace": [0.1, 1.0], **points}, "step_seconds": {"linspace": [0.1, 1.0], **points}}
    started = time.process_time()
    draft = draft_design(study(axes, "grid"))
    assert time.process_time() - started < 0.1
    assert ["1,000,000,000,000 trials, the limit is 1,000,000" in fault.message for fault in draft.faults] == [True]


def test_blocks_together_may_not_be_too_many() -> None:
    axes = {"peak_lr": {"log": [1e-5, 1e-2]}, "num_tokens": {"log": [1, 1000]}}
    (message,) = messages(
        study(axes, [{"kind": "latin_hypercube", "points": 600_000}, {"kind": "latin_hypercube", "points": 600_000, "seed": 1}])
    )
    assert "(600000 arms + 600000 arms) x 1 seeds are 1,200,000 trials" in message


def test_nested_axis_varies_only_where_its_kind_is_chosen() -> None:
    arms = make_arms(zoo(KIND))
    assert [arm.name for arm in arms] == [
        "base",
        "connector.kind=c_abstractor",
        "pretrain.steps=100",
        "pretrain.steps=100,connector.kind=c_abstractor",
        "objective=none",
        "objective=none,connector.kind=c_abstractor",
    ]
    assert [arm.levels["encoder.pretrain.steps"] for arm in arms] == [300, 300, 100, 100, None, None]
    assert "encoder.pretrain.steps" not in arms[-1].changes
    assert arms[-1].config["encoder"]["pretrain"] == arms[0].config["encoder"]["pretrain"] | {"objective": "none"}


def test_one_change_brings_along_the_axes_that_only_it_makes_apply() -> None:
    axes = {
        "encoder.pretrain.objective": {
            "choices": {
                "none": {},
                "contrastive": {
                    "encoder.pretrain.steps": [300, 100],
                    "encoder.training": {"choices": {"frozen": {}, "slow": {"train.clip_norm": [1.0, 2.0]}}},
                },
            }
        },
        "decoder.depth": [2, 3],
    }
    assert names(zoo(axes, "one_at_a_time", base={"encoder": {"pretrain": {"objective": "none"}}})) == [
        "base",
        "objective=contrastive",
        "objective=contrastive,pretrain.steps=100",
        "objective=contrastive,encoder.training=slow",
        "objective=contrastive,encoder.training=slow,clip_norm=2",
        "decoder.depth=3",
    ]


def test_condition_in_the_long_form_leaves_the_axis_out_elsewhere() -> None:
    axes = {
        "connector.kind": ["avg_pool", "c_abstractor"],
        "train.clip_norm": {"list": [1.0, 2.0], "when": "connector.kind == 'c_abstractor'"},
    }
    arms = make_arms(zoo(axes))
    assert [arm.name for arm in arms] == ["base", "connector.kind=c_abstractor", "connector.kind=c_abstractor,clip_norm=2"]
    assert [arm.levels["train.clip_norm"] for arm in arms] == [None, 1.0, 2.0]
    assert arm_for(zoo(axes), {"train.clip_norm": 2.0}).name == "base"
    assert arm_for(zoo(axes), {"connector.kind": "c_abstractor", "train.clip_norm": 2.0}) == arms[2]


def test_conditions_count_only_the_cells_there_are() -> None:
    declared = zoo(KIND, where=["encoder.pretrain.steps >= 200 or encoder.pretrain.objective == 'none'"])
    assert names(declared) == ["base", "connector.kind=c_abstractor", "objective=none", "objective=none,connector.kind=c_abstractor"]
    assert list(count_removed(declared).values()) == [2]


def test_axis_that_applies_in_no_arm_is_an_error() -> None:
    axes = {"connector.kind": ["avg_pool"], "train.steps": {"list": [100, 200], "when": "connector.kind == 'c_abstractor'"}}
    assert messages(zoo(axes)) == ["axes: the axis train.steps applies in no arm: connector.kind == 'c_abstractor' holds nowhere"]
    assert "applies in no arm" in messages(zoo(KIND, {"kind": "list", "arms": [{"encoder.pretrain.objective": "none"}]}))[0]


def test_claimed_baseline_of_a_union_is_one_for_all_blocks() -> None:
    """A grid measures against its first level; the axes it leaves alone stay at the base."""
    declared = study(
        TWO,
        [{"kind": "grid", "axes": ["image_size"]}, {"kind": "one_at_a_time", "axes": ["num_tokens"]}],
        base={"image_size": 100, "num_tokens": 16},
    )
    image_size, num_tokens = search_space(declared)
    assert (image_size.baseline, num_tokens.baseline) == (224, 16)
    assert names(declared) == ["image_size=224", "image_size=336", "image_size=224,num_tokens=64", "image_size=224,num_tokens=144"]
    assert [arm.config["num_tokens"] for arm in make_arms(declared)] == [16, 16, 64, 144]


def test_recipe_whose_base_is_the_last_level_takes_the_one_before() -> None:
    declared = study({"image_size": [224, 336, 448], "num_tokens": [64, 144]}, "leave_one_out", base={"image_size": 448, "num_tokens": 144})
    assert names(declared) == ["image_size=336,num_tokens=64", "num_tokens=64", "image_size=336"]


def test_levels_of_several_fields_and_their_base() -> None:
    axes = {"size": {"levels": {"small": {"decoder.width": 32, "decoder.depth": 1}, "large": {"decoder.width": 96}}}}
    own = zoo(axes, "one_at_a_time", base={"decoder": {"width": 96}})
    assert names(own) == ["base", "size=small"]
    other = make_arms(zoo(axes, "one_at_a_time", base={"decoder": {"width": 64}}))
    assert [(arm.name, arm.levels["size"], arm.config["decoder"]["width"]) for arm in other] == [
        ("base", "base", 64),
        ("size=small", "small", 32),
        ("size=large", "large", 96),
    ]
    zipped = make_arms(zoo({"view": {"zip": {"encoder.image_size": [16, 24], "connector.num_tokens": [4, 9]}}}))
    assert [(arm.name, dict(arm.changes)) for arm in zipped] == [
        ("base", {}),
        ("view=24", {"encoder.image_size": 24, "connector.num_tokens": 9}),
    ]


def test_where_is_no_fault_of_a_design_without_arms_beforehand() -> None:
    space = search_space(study({"peak_lr": {"log": [1e-5, 1e-2]}, "num_tokens": [4, 16]}, {"kind": "search", "trials": 3}))
    assert [(axis.name, axis.bounds, axis.labels) for axis in space] == [("peak_lr", (1e-5, 1e-2), ()), ("num_tokens", None, (4, 16))]


NESTED = {
    "connector.kind": {
        "choices": {
            "avg_pool": {"view": {"zip": {"encoder.image_size": [16, 24], "connector.num_tokens": [4, 9]}}},
            "c_abstractor": {
                "encoder.pretrain.objective": {
                    "choices": {
                        "contrastive": {"length": {"zip": {"encoder.pretrain.steps": [300, 100], "encoder.pretrain.batch_size": [96, 48]}}},
                        "none": {},
                    }
                }
            },
        }
    }
}
ABSTRACTOR = {"connector.kind": {"choices": {"avg_pool": {}, "c_abstractor": {"connector.num_tokens": [4, 16]}}}, "decoder.depth": [2, 3]}


@pytest.mark.parametrize(
    ("axes", "design", "expected"),
    [
        (
            NESTED,
            "grid",
            [
                "base",
                "view=24",
                "connector.kind=c_abstractor",
                "connector.kind=c_abstractor,length=100",
                "connector.kind=c_abstractor,objective=none",
            ],
        ),
        (
            NESTED,
            "one_at_a_time",
            [
                "base",
                "connector.kind=c_abstractor",
                "connector.kind=c_abstractor,objective=none",
                "connector.kind=c_abstractor,length=100",
                "view=24",
            ],
        ),
        (
            ABSTRACTOR,
            "leave_one_out",
            [
                "connector.kind=c_abstractor,num_tokens=16,decoder.depth=3",
                "decoder.depth=3",
                "connector.kind=c_abstractor,decoder.depth=3",
                "connector.kind=c_abstractor,num_tokens=16",
            ],
        ),
        (
            ABSTRACTOR,
            "cumulative",
            [
                "base",
                "connector.kind=c_abstractor",
                "connector.kind=c_abstractor,num_tokens=16",
                "connector.kind=c_abstractor,num_tokens=16,decoder.depth=3",
            ],
        ),
        (
            ABSTRACTOR,
            [
                {"kind": "list", "arms": [{"connector.num_tokens": 16}, {"connector.kind": "c_abstractor", "connector.num_tokens": 16}]},
                "one_at_a_time",
            ],
            ["base", "connector.kind=c_abstractor,num_tokens=16", "connector.kind=c_abstractor", "decoder.depth=3"],
        ),
        (
            {"encoder.image_size": [16, 8], "connector.num_tokens": {"list": [4, 16], "when": "encoder.num_patches >= 16"}},
            "grid",
            ["base", "num_tokens=16", "image_size=8"],
        ),
        (
            {"decoder.width": [32, 64], "train.learning_rate": {"list": [1e-3, 4e-3], "when": "decoder.num_params > 50000"}},
            "grid",
            ["base", "decoder.width=64", "decoder.width=64,train.learning_rate=0.004"],
        ),
        (
            {
                "data.mix": {"simplex": ["caption", "interleaved", "text"], "lattice": 1},
                "decoder.depth": {"list": [1, 2], "when": "data.mix.text > 0.3"},
            },
            "grid",
            ["base", "mix=0:100:0", "mix=0:0:100", "mix=0:0:100,decoder.depth=2"],
        ),
    ],
)
def test_axes_that_do_not_apply_everywhere_in_every_design(axes: Mapping[str, Any], design: Any, expected: list[str]) -> None:
    assert names(zoo(axes, design)) == expected


def test_fraction_around_a_base_that_is_no_level_has_the_base_as_one_of_two() -> None:
    base = {"image_size": 100, "num_tokens": 16}
    assert names(study({"image_size": [224], "num_tokens": [64]}, "fractional", base=base)) == [
        "base",
        "image_size=224",
        "num_tokens=64",
        "image_size=224,num_tokens=64",
    ]
    assert len(messages(study(TWO, "fractional", base=base))) == 2


@pytest.mark.parametrize("kind", ["leave_one_out", "cumulative"])
def test_recipe_at_the_bases_own_level_is_refused(kind: str) -> None:
    (message,) = messages(study(TWO, {"kind": kind, "final": {"image_size": 224}}))
    assert message.endswith("224 is the base's own level of image_size; write another one, or leave image_size out of this design's axes")


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ([{"num_tokens": 144}, {"image_size": 336}, {"num_tokens": 144.0}], ["design.arms[2]: arms 1 and 3 are the same; give each once"]),
        ([{}, {"num_tokens": 64}], ["design.arms[1]: arms 1 and 2 are the same; give each once"]),
        (
            [{"num_tokens": 144, "image_size": 336}, {"image_size": 336, "num_tokens": 144}],
            ["design.arms[1]: arms 1 and 2 are the same; give each once"],
        ),
    ],
)
def test_arm_that_is_listed_twice_is_refused(arms: list[Any], expected: list[str]) -> None:
    assert messages(study(TWO, {"kind": "list", "arms": arms})) == expected


def test_arm_that_another_block_has_too_is_there_once() -> None:
    design = ["one_at_a_time", {"kind": "list", "arms": [{"num_tokens": 144}, {"image_size": 336, "num_tokens": 144}]}, "grid"]
    assert names(study(TWO, design)) == ["base", "image_size=336", "num_tokens=144", "image_size=336,num_tokens=144"]


AXES = st.dictionaries(
    st.sampled_from(["image_size", "num_tokens", "steps"]),
    st.lists(st.integers(1, 500), min_size=2, max_size=4, unique=True),
    min_size=1,
    max_size=3,
)
DESIGNS = st.sampled_from(
    ["grid", "one_at_a_time", "leave_one_out", "cumulative", {"kind": "grid", "sample": 5}, {"kind": "latin_hypercube", "points": 4}]
)


@given(AXES, st.lists(DESIGNS, min_size=1, max_size=3), st.dictionaries(st.sampled_from(["image_size", "steps"]), st.integers(1, 500)))
def test_arms_differ_by_name_and_by_levels_and_change_what_they_say(axes: Any, design: Any, base: Any) -> None:
    arms = make_arms(study(axes, design, base=base))
    assert len({arm.name for arm in arms}) == len({tuple(arm.levels.values()) for arm in arms}) == len(arms)
    for arm in arms:
        assert all(arm.config[name] == level for name, level in arm.levels.items())
        assert arm.config == dict(arm.config) | dict(arm.changes)
        parts = "" if arm.name == "base" else arm.name
        assert parts == ",".join(f"{name}={level}" for name, level in arm.changes.items())


@given(AXES, DESIGNS)
def test_joining_a_design_with_itself_adds_nothing(axes: Any, design: Any) -> None:
    assert make_arms(study(axes, [design, design])) == make_arms(study(axes, design))


def test_drafts_of_two_files_keep_their_own_places() -> None:
    def placed(line: int, listed: bool) -> Study:
        block = {"kind": "grid", "axes": ["tokens"]}
        declared = study(TWO, [block] if listed else block)
        marks = Marks("f.yaml", values={("design",): Place("f.yaml", line, 1)})
        if listed:
            marks.values[("design", 0)] = Place("f.yaml", line, 9)
        return declared.with_marks(marks)

    found = []
    for declared in (placed(5, False), placed(7, True), placed(5, False)):
        with pytest.raises(InputError) as caught:
            make_arms(declared)
        found.append(str(caught.value).split(": no axis")[0])
    assert found == ["f.yaml:5:1: design.axes[0]", "f.yaml:7:9: design[0].axes[0]", "f.yaml:5:1: design.axes[0]"]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (16, "16"), (True, 1)])
def test_drafts_of_like_levels_are_not_mixed_up(one: Any, other: Any) -> None:
    first = study({"num_params" if one != 16 else "num_tokens": [one, 2] if one is not True else [True]})
    second = study({"num_params" if one != 16 else "num_tokens": [other, 2] if other != "16" else ["16"]})
    found = [draft_design(declared) for declared in (first, second, first)]
    assert found[0] == found[2]
    assert [repr(arm.levels) for arm in found[0].arms] != [repr(arm.levels) for arm in found[1].arms] or found[0].faults != found[1].faults


ONE_OR_ANOTHER = st.sampled_from(
    [[1], [1.0], ["1"], [True], [1, 2], [2, 1], (1, 2), {"list": [1, 2]}, {"list": [1, 2], "when": "steps > 3"}, [], None]
)
DECLARED = st.fixed_dictionaries(
    {"axes": st.dictionaries(st.sampled_from(["num_tokens", "num_params", "connector"]), ONE_OR_ANOTHER, max_size=2)},
    optional={
        "base": st.sampled_from(
            [{"num_tokens": 1}, {"num_tokens": "1"}, {"num_params": 1}, {"steps": 2}, {"steps": 2.0}, {"mix": {"text": 1}}]
        ),
        "design": st.sampled_from(
            ["grid", ["grid"], "one_at_a_time", {"kind": "grid", "sample": 1}, {"kind": "grid", "axes": ["num_tokens"]}]
        ),
        "where": st.sampled_from([["num_tokens > 1"], ["num_tokens > 1 "], ["num_tokens < 1"]]),
        "seeds": st.sampled_from([1, 2]),
    },
)


@settings(max_examples=60)
@given(st.lists(DECLARED, min_size=2, max_size=6))
def test_kept_draft_is_that_of_the_study_asked_for(written: list[dict[str, Any]]) -> None:
    """Studies that differ in next to nothing, one after the other, some again: each gets what drafting it anew gives."""
    for changes in [*written, *written[:2]]:
        declared = study(**changes)
        drafting = Drafting(declared, Base(synthetic.Config, declared.base))
        drafting.read()
        if not drafting.too_large:
            drafting.build(arms=True)
        kept, anew = draft_design(declared), drafting.draft()
        assert kept == anew
        assert [repr(arm) for arm in kept.arms] == [repr(arm) for arm in anew.arms]


CODE = """
import json, sys
from ablate.design import make_arms
from ablate.load import load_study
from ablate.planned import plan_json
from ablate.planner import make_plan
for text in json.loads(sys.argv[1]):
    study = load_study(text)
    plan = make_plan(study, make_arms(study))
    print(json.dumps(plan_json(plan, states={trial.id: "queued" for trial in plan.trials}, jobs={})["trials"]), *plan.jobs)
"""


def planned(*texts: Mapping[str, Any], hash_seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(texts)], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed}
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_plan_is_the_same_for_every_hash_seed_and_order_of_keys() -> None:
    text = {
        "schema": 1,
        "name": "s",
        "trainer": "model_zoo",
        "base": {
            "encoder": {"width": 32, "depth": 1, "pretrain": {"steps": 3, "batch_size": 4}},
            "train": {"steps": 50, "warmup_steps": 1},
        },
        "axes": KIND | {"data.mix": {"simplex": ["caption", "interleaved", "text"], "lattice": 2}},
        "design": [{"kind": "grid", "sample": 7, "seed": 1}, {"kind": "latin_hypercube", "points": 5, "seed": 2}],
        "where": ["encoder.depth < 9"],
        "seeds": 2,
        "metric": {"name": "val_loss", "goal": "min"},
    }
    turned = dict(reversed(text.items())) | {
        "base": {
            "train": {"warmup_steps": 1, "steps": 50},
            "encoder": {"pretrain": {"batch_size": 4, "steps": 3}, "depth": 1, "width": 32},
        },
        "metric": {"goal": "min", "name": "val_loss"},
        "design": [{"seed": 1, "sample": 7, "kind": "grid"}, {"points": 5, "seed": 2, "kind": "latin_hypercube"}],
    }
    first, second = (planned(text, turned, hash_seed=seed) for seed in ("1", "2"))
    assert first == second
    assert first[0] == first[1]


FILE = {
    "schema": "1",
    "name": "turned",
    "trainer": "model_zoo",
    "base": "{encoder: {width: 32, depth: 1}, train: {steps: 50, warmup_steps: 1}}",
    "axes": """
  connector.kind: {choices: {avg_pool: {connector.num_tokens: [4, 16]}, c_abstractor: {}}}
  size: {levels: {small: {decoder.width: 32, decoder.depth: 1}, large: {decoder.depth: 3, decoder.width: 96}}}
  data.mix: {simplex: [caption, interleaved, text], dirichlet: {points: 3, seed: 1}}""",
    "design": "[{kind: grid, sample: 6, seed: 1}, {kind: sobol, points: 4, seed: 2}]",
    "where": "[encoder.depth < 9, decoder.depth < 9]",
    "seeds": "2",
    "metric": "{name: val_loss, goal: min}",
    "hardware": "{peak_flops: 1.0e12, utilisation: 0.4, price_per_hour: 2.0}",
    "budget": "{trials: 99, money: 1000}",
    "claims": "[{axis: size, expect: equivalent, within: 0.1}]",
}
TURNED = dict(reversed(FILE.items())) | {
    "base": "{train: {warmup_steps: 1, steps: 50}, encoder: {depth: 1, width: 32}}",
    "axes": """
  connector.kind: {choices: {avg_pool: {connector.num_tokens: [4, 16]}, c_abstractor: {}}}
  size: {levels: {small: {decoder.depth: 1, decoder.width: 32}, large: {decoder.width: 96, decoder.depth: 3}}}
  data.mix: {dirichlet: {seed: 1, points: 3}, simplex: [caption, interleaved, text]}""",
    "design": "[{seed: 1, sample: 6, kind: grid}, {points: 4, seed: 2, kind: sobol}]",
    "metric": "{goal: min, name: val_loss}",
    "hardware": "{price_per_hour: 2.0, utilisation: 0.4, peak_flops: 1.0e12}",
    "claims": "[{within: 0.1, expect: equivalent, axis: size}]",
}


@pytest.mark.slow
def test_command_plans_a_file_byte_for_byte_the_same(tmp_path: Path) -> None:
    """In other processes, with other hash seeds, from a file whose keys stand in another order where order means nothing."""
    found = []
    for place, (written, hash_seed) in enumerate([(FILE, "1"), (FILE, "2"), (TURNED, "3")]):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "study.yaml").write_text("".join(f"{key}: {value}\n" for key, value in written.items()), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "ablate", "plan", "study.yaml", "--json"],
            capture_output=True,
            cwd=folder,
            env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"},
            check=True,
        )
        found.append(done.stdout)
    assert found[0] == found[1]
    changes = [{trial["id"]: trial.pop("changes") for trial in json.loads(text)["trials"]} for text in found]
    assert changes[0] == changes[2]  # the fields of a named level may be listed in either order
    assert [trial["id"] for trial in json.loads(found[0])["trials"]] == [trial["id"] for trial in json.loads(found[2])["trials"]]
    assert json.loads(found[0]) == json.loads(found[2])
