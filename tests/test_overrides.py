"""Arguments such as `seeds=5`: what they change in a study, what an axis keeps when it gets other levels, and where they are wrong."""

from pathlib import Path
from typing import Any

import pytest

from ablate.compose import compose_values
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_study
from ablate.overrides import override
from ablate.study import Study

SYNTHETIC: dict[str, Any] = {
    "schema": 1,
    "name": "s",
    "trainer": "synthetic",
    "base": {"noise_sd": 0.0},
    "axes": {"num_tokens": [16, 64]},
    "metric": {"name": "loss", "goal": "min"},
}
ZOO = SYNTHETIC | {"trainer": "model_zoo", "base": {"encoder": {"image_size": 16}}, "metric": {"name": "val_loss", "goal": "min"}}


def changed(written: dict[str, Any], *arguments: str) -> dict[str, Any]:
    """The keys of the study with the arguments put in, before anything is checked."""
    found = compose_values(written, folder=Path())
    override(found, arguments)
    assert not found.problems
    assert found.values is not None
    return found.values


def loaded(written: dict[str, Any], *arguments: str) -> Study:
    return load_study(written, overrides=arguments)


def names(study: Study) -> list[str]:
    return [arm.name for arm in make_arms(study)]


def said(written: dict[str, Any], *arguments: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        loaded(written, *arguments)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("seeds=5", "seeds", 5),
        ("seeds=1,2", "seeds", [1, 2]),
        ("seeds=[7]", "seeds", [7]),
        ("name=other", "name", "other"),
        ("design=one_at_a_time", "design", "one_at_a_time"),
        ("design={kind: sobol, points: 8}", "design", {"kind": "sobol", "points": 8}),
        ("metric.goal=max", "metric", {"name": "loss", "goal": "max"}),
        ("resources.cpus=0.5", "resources", {"cpus": 0.5}),
        ("where=num_tokens > 1", "where", ["num_tokens > 1"]),
        ("where=num_tokens > 1,num_tokens < 99", "where", ["num_tokens > 1", "num_tokens < 99"]),
        ("question=Which one, this or that?", "question", ["Which one", "this or that?"]),
        ("question='Which one, this or that?'", "question", "Which one, this or that?"),
        ("num_tokens=4", "axes", {"num_tokens": [4]}),
        ("num_tokens=4,16", "axes", {"num_tokens": [4, 16]}),
        ("num_tokens={range: [4, 16], step: 4}", "axes", {"num_tokens": {"range": [4, 16], "step": 4}}),
        ("axes.num_tokens=4,16", "axes", {"num_tokens": [4, 16]}),
        ("connector=avg_pool,c_abstractor", "axes", {"num_tokens": [16, 64], "connector": ["avg_pool", "c_abstractor"]}),
        ("peak_lr={log: [1e-4, 1e-2], points: 3}", "axes", {"num_tokens": [16, 64], "peak_lr": {"log": [1e-4, 1e-2], "points": 3}}),
        ("connector=avg_pool", "base", {"noise_sd": 0.0, "connector": "avg_pool"}),
        ("noise_sd=1e-1", "base", {"noise_sd": 0.1}),
        ("mix=5:5:1", "base", {"noise_sd": 0.0, "mix": "5:5:1"}),
        ("mix={caption: 1, interleaved: 0, text: 0}", "base", {"noise_sd": 0.0, "mix": {"caption": 1, "interleaved": 0, "text": 0}}),
        ("base.noise_sd=0.5", "base", {"noise_sd": 0.5}),
        ("train.steps=100", "base", {"noise_sd": 0.0, "train": {"steps": 100}}),
        ("fail=no", "base", {"noise_sd": 0.0, "fail": "no"}),
    ],
)
def test_argument_sets_a_key_a_field_or_an_axis(argument: str, key: str, value: Any) -> None:
    found = changed(SYNTHETIC, argument)
    assert found[key] == value
    assert {name: below for name, below in found.items() if name != key} == {name: SYNTHETIC[name] for name in SYNTHETIC if name != key}


def test_design_gets_a_setting_beside_its_name() -> None:
    assert changed(SYNTHETIC | {"design": "grid"}, "design.sample=3")["design"] == {"kind": "grid", "sample": 3}
    assert changed(SYNTHETIC, "design.sample=3")["design"] == {"kind": "grid", "sample": 3}


def test_arguments_are_put_in_one_after_the_other() -> None:
    assert changed(ZOO, "encoder={depth: 3}", "encoder.width=32")["base"] == {"encoder": {"depth": 3, "width": 32}}
    assert loaded(SYNTHETIC, "seeds=2", "num_tokens=4,9", "noise_sd=0.5").seeds == (0, 1)


def test_study_as_written_stays_as_it_was() -> None:
    inner = {"axes": {"connector.kind": {"choices": {"avg_pool": {"connector.num_tokens": [4, 16]}}}}}
    changed(ZOO | inner, "encoder.image_size=24", "connector.num_tokens=9")
    assert ZOO["base"] == {"encoder": {"image_size": 16}}
    assert inner["axes"]["connector.kind"]["choices"]["avg_pool"] == {"connector.num_tokens": [4, 16]}


KINDS = {"connector.kind": {"choices": {"avg_pool": {"connector.num_tokens": [4, 16]}, "c_abstractor": {"encoder.depth": [1, 2]}}}}
SIZES = {"size": {"levels": {"small": {"decoder.width": 32, "decoder.depth": 1}, "large": {"decoder.width": 96}}}}
VIEWS = {"view": {"zip": {"encoder.image_size": [16, 24, 32], "connector.num_tokens": [4, 9, 16]}}}
MIXES = {"data.mix": {"simplex": ["text", "interleaved", "caption"], "lattice": 4, "min": {"text": 0.1}}}
WHEN = {"connector.kind": ["avg_pool", "c_abstractor"], "train.clip_norm": {"list": [1.0, 2.0], "when": "connector.kind == 'c_abstractor'"}}


@pytest.mark.parametrize(
    ("axes", "argument", "expected"),
    [
        (KINDS, "connector.kind=avg_pool", ["base", "num_tokens=16"]),
        (KINDS, "connector.kind=c_abstractor,attention_pool", ["base", "encoder.depth=2", "connector.kind=attention_pool"]),
        (KINDS, "connector.num_tokens=9", ["base", "connector.kind=c_abstractor", "connector.kind=c_abstractor,encoder.depth=2"]),
        (
            KINDS,
            "axes.connector.num_tokens=4,9",
            ["base", "num_tokens=9", "connector.kind=c_abstractor", "connector.kind=c_abstractor,encoder.depth=2"],
        ),
        (SIZES, "size=large", ["base"]),
        (SIZES, "size=large,small", ["base", "size=small"]),
        (VIEWS, "view=32,16", ["view=32", "base"]),
        (MIXES, "data.mix=1:0:3,1:1:0", ["base", "mix=1:1:0"]),
        (MIXES, "data.mix={text: 0.5, interleaved: 0.5, caption: 0}", ["base"]),
        (MIXES, "data.mix={simplex: [caption, interleaved, text], lattice: 1}", ["base", "mix=0:100:0", "mix=0:0:100"]),
        (WHEN, "train.clip_norm=3,4", ["base", "connector.kind=c_abstractor", "connector.kind=c_abstractor,clip_norm=4"]),
        (
            WHEN,
            "train.clip_norm={list: [3, 4]}",
            ["base", "clip_norm=4", "connector.kind=c_abstractor", "connector.kind=c_abstractor,clip_norm=4"],
        ),
    ],
)
def test_axis_that_gets_other_levels_keeps_what_it_is(axes: dict[str, Any], argument: str, expected: list[str]) -> None:
    assert names(loaded(ZOO | {"axes": axes}, argument)) == expected


ONE_ARM = ZOO | {"axes": {"train.steps": [300]}}
PLAIN = {"encoder": {"image_size": 24, "width": 32, "depth": 3}, "decoder": {"width": 32, "keys": "smeared", "moe": {"num_experts": 2}}}
NAMED = {"encoder": {"kind": "vit"} | PLAIN["encoder"], "decoder": {"kind": "packed"} | PLAIN["decoder"]}


@pytest.mark.parametrize("base", [PLAIN, NAMED], ids=["no_kind", "kind"])
@pytest.mark.parametrize(("group", "kinds"), [("encoder", ["vit", "hybrid"]), ("decoder", ["packed", "llama"])])
def test_kind_of_an_argument_is_that_of_an_arm(base: dict[str, Any], group: str, kinds: list[str]) -> None:
    study = ONE_ARM | {"base": base}
    arms = make_arms(loaded(ZOO | {"base": base, "axes": {f"{group}.kind": kinds}}))
    for arm, kind in zip(arms, kinds, strict=True):
        (alone,) = make_arms(loaded(study, f"{group}.kind={kind}"))
        assert alone.config[group] == arm.config[group]
    assert (arms[0].config[group], arms[1].config[group]["width"]) == (make_arms(loaded(study))[0].config[group], 32)


@pytest.mark.parametrize("arguments", [("encoder.kind=hybrid", "encoder.depth=3"), ("encoder.depth=3", "encoder.kind=hybrid")])
def test_setting_of_another_kind_that_an_argument_gives_is_refused(arguments: tuple[str, str]) -> None:
    (problem,) = said(ONE_ARM | {"base": PLAIN}, *arguments)
    assert problem.startswith("argument encoder.depth=3:1:1: encoder: unknown key 'depth'")


def test_setting_inside_a_block_of_another_kind_that_an_argument_gives_is_refused() -> None:
    (problem,) = said(ONE_ARM | {"base": PLAIN}, "decoder.kind=llama", "decoder.moe.num_experts=3")
    assert "unknown key 'moe'" in problem


def test_misspelt_key_of_the_base_is_refused_beside_a_kind_of_an_argument() -> None:
    (problem,) = said(ONE_ARM | {"base": {"encoder": {"depht": 3}}}, "encoder.kind=hybrid")
    assert "unknown key 'depht'" in problem


def test_mix_of_an_argument_is_read_in_the_order_of_the_axis() -> None:
    (arm,) = make_arms(loaded(ZOO | {"axes": MIXES}, "data.mix=1:0:3"))
    assert arm.config["data"]["mix"] == {"text": 0.25, "interleaved": 0.0, "caption": 0.75}


@pytest.mark.parametrize(
    ("axes", "argument", "place", "part"),
    [
        (KINDS, "connector.kind=avg_pool,avgpool", "1:25", "found text 'avgpool'"),
        (KINDS, "connector.kind=avg_pool,avg_pool", "1:1", "the level text 'avg_pool' of connector.kind is given twice"),
        (
            SIZES,
            "size=large,smal",
            "1:1",
            "no level text 'smal' on size (small, large), whose levels set several fields; did you mean 'small'?",
        ),
        (SIZES, "size=large,large", "1:1", "the level text 'large' of size is given twice"),
        (SIZES, "decoder.width=32,64", "1:1", "decoder.width is varied by the axis size already"),
        (VIEWS, "view=24,25", "1:1", "no level 25 on view (16, 24, 32)"),
        (MIXES, "data.mix=1:0:3,0:1:1", "1:16", "text 0 is under its least share 0.1"),
        (MIXES, "data.mix=5:5", "1:10", "text '5:5' has 2 parts, expected 3: text:interleaved:caption"),
        (WHEN, "train.clip_norm=3,x", "1:19", "levels mix numbers and text"),
    ],
)
def test_level_that_an_axis_cannot_have_is_refused_in_the_argument(axes: dict[str, Any], argument: str, place: str, part: str) -> None:
    (problem,) = said(ZOO | {"axes": axes}, argument)
    assert problem.startswith(f"argument {argument}:{place}: ")
    assert part in problem


@pytest.mark.parametrize(
    ("argument", "place", "part"),
    [
        ("a=", "1:3", "the value is missing; write KEY=VALUE"),
        ("a= ", "1:3", "the value is missing"),
        ("=b", "1:1", "write KEY=VALUE, such as seeds=5"),
        ("..=1", "1:1", "write KEY=VALUE"),
        ("seeds=five", "1:7", "seeds: found text 'five'; write a count from 1"),
        ("seeds=0", "1:7", "seeds: found 0"),
        ("seeds=1,1", "1:7", "seeds 1 and 2 are the same: 1"),
        ("seeds=1e3", "1:7", "seeds: found 1000.0"),
        ("seeds=" + "9" * 400, "1:7", "a number of 400 digits is too large"),
        ("seeds=!foo 3", "1:7", "tags are not allowed: !foo"),
        ("seeds=*a", "1:7", "alias *a names no anchor before it"),
        ("seeds='3", "1:9", "not YAML"),
        ("seeds=3\nname: x", "1:1", "an argument is one value on one line"),
        ("design=[grid", "1:13", "not YAML"),
        ("design=gird", "1:8", "found text 'gird'"),
        ("design.kind=sobol", "1:13", "design: 'points' is missing"),
        ("design={kind: sobol, points: 1}", "1:30", "design.points: must be at least 2, found 1"),
        ("metric.goal=maximum", "1:13", "metric.goal: found text 'maximum' (allowed: min, max)"),
        ("metric=loss", "1:8", "metric: expected a group of fields"),
        ("metric.goal.x=1", "1:1", "metric.goal is text 'min' in the study, and has no x; write metric.goal=... whole"),
        ("name=a/b", "1:6", "name: found text 'a/b'"),
        ("schema=2", "1:8", "schema: found 2 (allowed: 1)"),
        ("trainer=synthetik", "1:9", "unknown trainer 'synthetik'"),
        ("extends=quickstart.yaml", "1:1", "a study says in its file what it extends"),
        ("base=bases/tiny.yaml", "1:6", "expected a mapping, found text"),
        ("axes=5", "1:6", "axes: expected a mapping, found 5"),
        ("axes.num_tokens=5", "1:17", "found 5, and an axis needs a list of levels"),
        ("where=num_token > 1", "1:7", "unknown name 'num_token'; did you mean 'num_tokens'?"),
        ("claims.0.axis=x", "1:15", "claims: expected a list, found a mapping"),
        ("budget.trials=0", "1:15", "budget.trials: must be above 0, found 0"),
        (
            "nose_sd=1",
            "1:1",
            "unknown key 'nose_sd'",
        ),
        ("noise_sd=x", "1:10", "noise_sd: expected a number, found text 'x'"),
        ("noise_sd=true", "1:10", "noise_sd: expected a number, found true"),
        ("noise_sd='0.5'", "1:10", "noise_sd: expected a number, found text '0.5'; write 0.5 without quotes"),
        ("noise_sd=.nan", "1:10", ".nan is not a finite number"),
        ("noise_sd=0.1,x", "1:14", "levels mix numbers and text"),
        ("num_tokens=16,16", "1:15", "levels 1 and 2 are the same: 16"),
        ("num_tokens=16,-16", "1:15", "must be above 0, found -16"),
        ("peak_rl=1e-4,1e-3", "1:1", "no field 'peak_rl'"),
    ],
)
def test_argument_that_is_wrong_is_placed_in_the_argument(argument: str, place: str, part: str) -> None:
    (problem,) = said(SYNTHETIC, argument)
    shown = argument.replace("\n", "U+000A")
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    assert problem.startswith(f"argument {shown}:{place}: ")
    assert part in problem


def test_argument_that_is_given_twice_is_refused() -> None:
    assert said(SYNTHETIC, "seeds=2", "seeds=3") == ["argument seeds=3:1:1: 'seeds' is given twice"]


def test_arguments_and_study_are_wrong_together() -> None:
    found = said(SYNTHETIC | {"seeds": 0}, "noise_sd=x", "connector.knid=avg_pool")
    assert [problem.split(":")[0] for problem in found] == ["argument connector.knid=avg_pool", "argument noise_sd=x", "study"]
    assert said(SYNTHETIC | {"seeds": 0}, "seeds=five")[0].startswith("argument seeds=five:1:7: seeds: found text 'five'")


def test_argument_mends_what_the_study_has_wrong() -> None:
    assert loaded(SYNTHETIC | {"seeds": 0}, "seeds=2").seeds == (0, 1)
    assert names(loaded(SYNTHETIC | {"axes": {"num_tokens": []}}, "num_tokens=4,9")) == ["base", "num_tokens=9"]


def test_axis_of_a_parent_in_a_file_gets_other_levels(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(
        "schema: 1\nname: p\ntrainer: model_zoo\nmetric: {name: val_loss, goal: min}\n"
        "axes: {connector.kind: {choices: {avg_pool: {connector.num_tokens: [4, 16]}, c_abstractor: {}}}}\n",
        encoding="utf-8",
    )
    (tmp_path / "study.yaml").write_text("schema: 1\nname: s\nextends: parent.yaml\n", encoding="utf-8")
    study = load_study(tmp_path / "study.yaml", overrides=["connector.num_tokens=1,9", "encoder.depth=3"])
    assert names(study) == ["base", "num_tokens=9", "connector.kind=c_abstractor"]
    assert make_arms(study)[0].config["encoder"]["depth"] == 3
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "study.yaml", overrides=["connector.num_tokens=1,5"])
    assert str(caught.value).startswith("argument connector.num_tokens=1,5:1:24: ")
