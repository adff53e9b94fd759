"""Files become one study: what a child keeps of its parent, where files are found, what a suite lists."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ablate.compose import compose, compose_values, shipped_studies, suite_members
from ablate.errors import InputError
from ablate.load import load_studies, load_study

PARENT = """\
schema: 1
name: parent
trainer: model_zoo
base: {encoder: {width: 32, depth: 1}, connector: {kind: c_abstractor, num_tokens: 4}}
axes:
  decoder.depth: [1, 2]
  connector.num_tokens: [4, 16]
seeds: 3
metric: {name: val_loss, goal: min}
claims:
  - {axis: decoder.depth, expect: decreases}
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def values(folder: Path, name: str = "study") -> dict[str, Any]:
    found = compose(folder / f"{name}.yaml")
    assert not found.problems
    assert found.values is not None
    return found.values


def said(reference: Path | str) -> list[str]:
    """The problems of a study or suite, with the folder left out."""
    with pytest.raises(InputError) as caught:
        load_studies(str(reference))
    folder = Path(reference).parent
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_child_has_what_its_parent_says_and_it_does_not(tmp_path: Path) -> None:
    found = values(write(tmp_path, parent=PARENT, study="schema: 1\nname: child\nextends: parent.yaml\nseeds: [7]\n"))
    assert (found["name"], found["seeds"], found["trainer"]) == ("child", [7], "model_zoo")
    assert "extends" not in found
    assert found["axes"] == {"decoder.depth": [1, 2], "connector.num_tokens": [4, 16]}
    assert found["claims"] == [{"axis": "decoder.depth", "expect": "decreases"}]


def test_axes_are_merged_axis_by_axis_in_the_parents_order(tmp_path: Path) -> None:
    child = "schema: 1\nname: child\nextends: parent.yaml\naxes: {train.steps: [100], connector.num_tokens: {range: [1, 4], step: 3}}\n"
    found = values(write(tmp_path, parent=PARENT, study=child))
    assert list(found["axes"].items()) == [
        ("decoder.depth", [1, 2]),
        ("connector.num_tokens", {"range": [1, 4], "step": 3}),
        ("train.steps", [100]),
    ]


def test_base_is_merged_field_by_field_and_a_group_of_another_kind_replaced(tmp_path: Path) -> None:
    child = "schema: 1\nname: child\nextends: parent.yaml\nbase: {encoder: {width: 64}, connector: {kind: avg_pool}}\n"
    found = values(write(tmp_path, parent=PARENT, study=child))
    assert found["base"] == {"encoder": {"width": 64, "depth": 1}, "connector": {"kind": "avg_pool"}}


def test_kind_over_a_group_that_names_none_keeps_what_it_knows(tmp_path: Path) -> None:
    child = "schema: 1\nname: child\nextends: parent.yaml\nbase: {encoder: {kind: hybrid}}\n"
    grandchild = "schema: 1\nname: grandchild\nextends: child.yaml\nbase: {encoder: {num_heads: 4}}\n"
    inline = PARENT.replace("base: {", "base: {extends: base.yaml, ").replace("width: 32, depth: 1", "kind: hybrid")
    folder = write(tmp_path, parent=PARENT, child=child, grandchild=grandchild, inline=inline, base="encoder: {width: 32, depth: 1}\n")
    assert load_study(folder / "child.yaml").base["encoder"] == {"kind": "hybrid", "width": 32}
    assert load_study(folder / "grandchild.yaml").base["encoder"] == {"kind": "hybrid", "width": 32, "num_heads": 4}
    assert load_study(folder / "inline.yaml").base["encoder"] == {"kind": "hybrid", "width": 32}
    back = load_study(folder / "child.yaml", overrides=["encoder.kind=vit"])
    assert back.base["encoder"] == {"kind": "vit", "width": 32, "depth": 1}


@pytest.mark.parametrize(
    ("own", "name"),
    [("{kind: hybrid, depth: 1}", "child"), ("{kind: hybrid}", "grandchild"), ("{kind: hybrid}", "argument encoder.depth=1")],
)
def test_setting_of_another_kind_beside_or_above_the_kind_is_refused(own: str, name: str, tmp_path: Path) -> None:
    child = f"schema: 1\nname: child\nextends: parent.yaml\nbase: {{encoder: {own}}}\n"
    grandchild = f"schema: 1\nname: grandchild\nextends: child.yaml\nbase: {{encoder: {{{'depth: 1' if name == 'grandchild' else ''}}}}}\n"
    folder = write(tmp_path, parent=PARENT, child=child, grandchild=grandchild)
    with pytest.raises(InputError, match=f"{name}.*: base.encoder: unknown key 'depth'"):
        load_study(folder / "grandchild.yaml", overrides=["encoder.depth=1"] if name.startswith("argument") else [])


@pytest.mark.parametrize("written", ["encoder: 3", "encoder: {kind: hybrid, 7: 1}", "encoder: {kind: [vit]}"])
def test_group_that_is_none_is_refused_as_ever(written: str, tmp_path: Path) -> None:
    child = f"schema: 1\nname: child\nextends: parent.yaml\nbase: {{{written}}}\n"
    assert said(write(tmp_path, parent=PARENT, child=child) / "child.yaml")


@pytest.mark.parametrize(
    ("key", "theirs", "own"),
    [
        ("claims", "[{axis: decoder.depth, expect: decreases}]", []),
        ("where", "[decoder.depth < 9]", []),
        ("metric", "{name: val_loss, goal: min, noise_sd: 0.1}", {"name": "a", "goal": "max"}),
        ("design", "{kind: grid, sample: 3}", {"kind": "grid", "seed": 1}),
        ("resources", "{cpus: 2}", {"gpus": 1}),
    ],
)
def test_other_keys_replace_the_parents_whole(key: str, theirs: str, own: Any, tmp_path: Path) -> None:
    child = f"schema: 1\nname: child\nextends: parent.yaml\n{key}: {json.dumps(own)}\n"
    found = values(write(tmp_path, parent=f"schema: 1\nname: parent\n{key}: {theirs}\n", study=child))
    assert found[key] == own


def test_chain_of_parents_and_bases_is_followed_from_folder_to_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        study="schema: 1\nname: child\nextends: inner/middle.yaml\nbase: {encoder: {depth: 3}}\n",
        inner__middle="schema: 1\nname: middle\nextends: top.yaml\nbase: own.yaml\n",
        inner__top=PARENT,
        inner__own="extends: deeper/base.yaml\nencoder: {width: 96}\n",
        inner__deeper__base="encoder: {width: 1, num_heads: 4}\ntrain: {steps: 50}\n",
    )
    assert values(tmp_path)["base"] == {
        "encoder": {"width": 96, "depth": 3, "num_heads": 4},
        "connector": {"kind": "c_abstractor", "num_tokens": 4},
        "train": {"steps": 50},
    }


def test_shipped_files_are_found_from_anywhere_and_a_file_beside_comes_first(tmp_path: Path) -> None:
    child = "schema: 1\nname: child\nextends: quickstart.yaml\n"
    shipped = values(write(tmp_path, study=child))
    assert shipped["axes"] == load_study("quickstart").axes
    assert values(write(tmp_path, quickstart=PARENT, study=child))["seeds"] == 3


def test_every_value_keeps_the_file_and_line_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, parent=PARENT, study="schema: 1\nname: child\nextends: parent.yaml\naxes: {train.steps: [100]}\n")
    marks = compose(tmp_path / "study.yaml").marks
    places = [
        marks.value(path) for path in (("seeds",), ("axes", "train.steps"), ("axes", "decoder.depth", 1), ("base", "encoder", "depth"))
    ]
    assert [(Path(place.file).name, place.line, place.column) for place in places] == [
        ("parent.yaml", 8, 8),
        ("study.yaml", 4, 21),
        ("parent.yaml", 6, 22),
        ("parent.yaml", 4, 36),
    ]


def test_mistakes_of_parent_and_child_are_reported_together_each_in_its_file(tmp_path: Path) -> None:
    child = "schema: 1\nname: child\nextends: parent.yaml\naxes: {decoder.dept: [1]}\nbase: base.yaml\nseed: 3\n"
    write(tmp_path, parent=PARENT.replace("seeds: 3", "seeds: 0"), study=child, base="encoder:\n  widht: 3\n")
    found = said(tmp_path / "study.yaml")
    assert [problem.split(": ")[0] for problem in found] == ["base.yaml:2:3", "parent.yaml:8:8", "study.yaml:4:8", "study.yaml:6:1"]
    assert "did you mean 'depth'?" in found[2]


def test_mistake_in_what_the_child_replaces_is_none(tmp_path: Path) -> None:
    write(tmp_path, parent=PARENT.replace("seeds: 3", "seeds: 0"), study="schema: 1\nname: child\nextends: parent.yaml\nseeds: 1\n")
    assert load_study(tmp_path / "study.yaml").seeds == (0,)


def test_parent_that_cannot_be_read_hides_no_mistake_of_the_child_and_brings_none(tmp_path: Path) -> None:
    write(tmp_path, parent="schema: 1\nname: [\n", study="schema: 1\nname: a/b\nextends: parent.yaml\nseeds: 0\n")
    assert [problem.split(": ")[0] for problem in said(tmp_path / "study.yaml")] == ["parent.yaml:3:1", "study.yaml:2:7", "study.yaml:4:8"]


def test_name_is_never_inherited(tmp_path: Path) -> None:
    write(tmp_path, parent=PARENT, study="schema: 1\nextends: parent.yaml\n")
    assert said(tmp_path / "study.yaml") == ["study.yaml:1:1: 'name' is missing"]


def test_diamond_of_parents_is_no_circle(tmp_path: Path) -> None:
    write(
        tmp_path,
        study="schema: 1\nname: child\nextends: parent.yaml\nbase: {extends: common.yaml}\n",
        parent=PARENT.replace("base: {", "base: {extends: common.yaml, "),
        common="train: {steps: 60}\n",
    )
    assert values(tmp_path)["base"]["train"] == {"steps": 60}


def test_study_written_in_python_reads_the_files_it_names(tmp_path: Path) -> None:
    write(tmp_path, parent=PARENT, base="train: {steps: 60}\n")
    found = compose_values({"schema": 1, "name": "x", "extends": "parent.yaml", "base": "base.yaml"}, folder=tmp_path)
    assert (found.values or {})["base"]["train"] == {"steps": 60}
    assert not found.problems


def test_unreadable_things_are_no_study(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, about in (("pipe", "is not a regular file"), ("folder", "is a folder"), ("nothing", "is no file here")):
        with pytest.raises(InputError, match=about):
            compose(tmp_path / f"{name}.yaml")
    write(
        tmp_path,
        study=PARENT.replace("base: {encoder: {width: 32, depth: 1}, connector: {kind: c_abstractor, num_tokens: 4}}", "base: pipe.yaml"),
    )
    (problem,) = said(tmp_path / "study.yaml")
    assert problem.startswith("study.yaml:4:7: base: no file 'pipe.yaml': looked for pipe.yaml and among the shipped bases")


SUITE = "schema: 1\nname: both\nquestion: Two of them.\nstudies: [one.yaml, two.yaml]\n"
ONE = "schema: 1\nname: one\ntrainer: synthetic\naxes: {num_tokens: [16, 64]}\nmetric: {name: loss, goal: min}\n"


def test_suite_lists_files_beside_it_and_shipped_studies(tmp_path: Path) -> None:
    write(tmp_path, suite=SUITE.replace("two.yaml", "quickstart"), one=ONE)
    assert suite_members(str(tmp_path / "suite.yaml")) == (str(tmp_path / "one.yaml"), "quickstart")
    assert [study.name for study in load_studies(str(tmp_path / "suite.yaml"), overrides=["seeds=2"])] == ["one", "quickstart"]
    assert suite_members(str(tmp_path / "one.yaml")) is None


@pytest.mark.parametrize(
    ("suite", "two", "expected"),
    [
        (
            SUITE,
            "schema: 1\nname: one\nextends: one.yaml\n",
            ["two.yaml:2:7: name: one is the name of another study of the suite (one.yaml:2)"],
        ),
        (
            SUITE,
            "schema: 1\nname: ONE\nextends: one.yaml\n",
            ["two.yaml:2:7: name: ONE is the name of another study of the suite (one.yaml:2)"],
        ),
        (SUITE.replace("two.yaml", "one.yaml"), ONE, ["suite.yaml:4:10: studies: a study is listed twice"]),
        (SUITE.replace("two.yaml", "tow.yaml"), ONE, ["suite.yaml:4:21: studies[1]: 'tow.yaml' is no file beside the suite"]),
        (SUITE.replace("two.yaml", "../two.yaml"), ONE, ["suite.yaml:4:21: studies[1]: '../two.yaml' is no file beside the suite"]),
        (SUITE.replace("[one.yaml, two.yaml]", "[]"), ONE, ["suite.yaml:4:10: studies: expected a list of study files"]),
        (SUITE.replace("[one.yaml, two.yaml]", "one.yaml"), ONE, ["suite.yaml:4:10: studies: expected a list of study files"]),
        (SUITE.replace("schema: 1", "schema: 2"), ONE, ["suite.yaml:1:9: schema: a suite begins with schema: 1"]),
        (SUITE + "seeds: 3\n", ONE, ["suite.yaml:5:1: unknown key 'seeds' (allowed in a suite: schema, name, question, studies)"]),
        (
            SUITE,
            ONE.replace("one", "two").replace("[16, 64]", "[16, 16]"),
            ["two.yaml:4:25: axes.num_tokens[1]: levels 1 and 2 are the same: 16"],
        ),
    ],
)
def test_suite_with_a_mistake_says_where(suite: str, two: str, expected: list[str], tmp_path: Path) -> None:
    found = said(write(tmp_path, suite=suite, one=ONE, two=two) / "suite.yaml")
    assert len(found) == len(expected)
    assert all(part in problem for problem, part in zip(found, expected, strict=True))


def test_suite_is_no_study(tmp_path: Path) -> None:
    write(tmp_path, suite=SUITE, one=ONE, two=ONE)
    with pytest.raises(InputError, match=r"suite\.yaml:4:1: a suite, which lists studies; name one of them here"):
        load_study(tmp_path / "suite.yaml")


def test_shipped_studies_are_named_by_their_path() -> None:
    assert {"quickstart", "lr_law_tiny", "demo"} <= set(shipped_studies())
    assert not any("bases" in name or "template" in name for name in shipped_studies())
