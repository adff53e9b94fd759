"""A study file as it is loaded: where it and its base are found, what is filled in, what survives the store, its documented examples."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import pytest

from ablate.blocks import Block
from ablate.design import make_arms
from ablate.errors import InputError
from ablate.load import load_studies, load_study
from ablate.study import Study

TEXT = """\
schema: 1
name: small
trainer: synthetic
axes:
  num_tokens: [64, 16, 144]
  connector: [avg_pool, attention_pool, c_abstractor]
metric: {name: loss, goal: min}
"""
DOCUMENT = (Path(__file__).parent.parent / "docs" / "study-format.md").read_text(encoding="utf-8")


def load(folder: Path, text: str, **files: str) -> Study:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return load_study(folder / "study.yaml")


def test_study_survives_the_store(tmp_path: Path) -> None:
    study = load(tmp_path, TEXT + "seeds: 2\nclaims:\n  - {axis: num_tokens, expect: decreases}\nlaw: {hyperparameter: num_tokens}\n")
    kept = json.loads(json.dumps(study.model_dump(mode="json", by_alias=True)))
    again = Study.model_validate(kept)
    assert again == study
    assert make_arms(again) == make_arms(study)
    assert set(kept) == {info.alias or name for name, info in Study.model_fields.items()}


def test_source_and_marks_are_no_part_of_the_study(tmp_path: Path) -> None:
    here, there = load(tmp_path, TEXT), load(tmp_path, "# a comment\n" + TEXT)
    assert here == there
    assert here.source == str(tmp_path / "study.yaml")
    assert here.marks.key(("name",)).line + 1 == there.marks.key(("name",)).line


def test_seeds_can_be_overridden_and_the_rest_stays(tmp_path: Path) -> None:
    study = load(tmp_path, TEXT)
    more = study.model_copy(update={"seeds": (0, 1)})
    assert (more.seeds, more.source, make_arms(more)) == ((0, 1), study.source, make_arms(study))


def test_base_file_beside_the_study_comes_before_the_shipped_one(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT + "base: own.yaml\n", own="noise_sd: 0.5\n").base == {"noise_sd": 0.5}
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "tiny.yaml").write_text("noise_sd: 0.25\n", encoding="utf-8")
    assert load(tmp_path, TEXT + "base: bases/tiny.yaml\n").base == {"noise_sd": 0.25}


def test_shipped_base_is_found_from_any_folder(tmp_path: Path) -> None:
    text = (
        "schema: 1\nname: a\ntrainer: model_zoo\nbase: bases/tiny.yaml\naxes: {train.steps: [200]}\nmetric: {name: val_loss, goal: min}\n"
    )
    study = load(tmp_path, text)
    assert study.base["encoder"]["width"] == 64
    assert study.marks.value(("base", "encoder", "width")).file == "shipped studies/bases/tiny.yaml"


def test_of_two_fields_that_disagree_the_one_nearer_to_the_author_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("schema: 1\nname: a\nextends: quickstart.yaml\nbase: {train: {steps: 30}}\n", encoding="utf-8")
    for reference, arguments, place in (
        (tmp_path / "study.yaml", (), f"{tmp_path}/study.yaml:4:23: base.train.steps: "),
        ("quickstart", ("base.train.steps=30",), "argument base.train.steps=30:1:18: train.steps: "),
        ("quickstart", ("axes={train.steps: [30]}",), "argument axes={train.steps: [30]}:1:21: axes.train.steps[0]: "),
    ):
        with pytest.raises(InputError) as caught:
            load_study(reference, overrides=arguments)
        assert str(caught.value.problems[0]) == f"{place}40 warmup steps do not fit in 30 steps: at most 30"
    with pytest.raises(
        InputError, match=r"argument base.connector.kind=mlp:1:21: connector.kind: num_tokens is 4, which kind mlp cannot give"
    ):
        load_study("quickstart", overrides=("base.connector.kind=mlp",))


def shipped() -> list[str]:
    files = sorted(entry.name for entry in resources.files("studies").iterdir())
    return [name.removesuffix(".yaml") for name in files if name.endswith(".yaml") and name != "template.yaml"]


@pytest.mark.parametrize("name", shipped())
def test_shipped_study_or_suite_loads_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    studies = load_studies(name)
    assert len(studies) >= 1
    assert all(bool(make_arms(study)) != bool(study.search) for study in studies)


def test_suite_is_its_studies_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [study.name for study in load_studies("demo")] == ["quickstart", "lr_law_tiny"]
    with pytest.raises(InputError, match="a suite, which lists studies"):
        load_study("demo")


def claims(folder: Path, *written: str, extra: str = "") -> list[tuple[Any, Any]]:
    lines = "".join(f"  - {{{claim}}}\n" for claim in written)
    return [(claim.level, claim.against) for claim in load(folder, f"{TEXT}{extra}claims:\n{lines}").claims]


def test_claim_on_numbers_compares_the_highest_with_the_lowest(tmp_path: Path) -> None:
    assert claims(
        tmp_path,
        "axis: num_tokens, expect: increases",
        "axis: num_tokens, expect: equivalent, within: 1",
        "axis: num_tokens, level: 64, expect: increases",
        "axis: num_tokens, against: 64.0, expect: increases",
    ) == [(144, 16), (144, 16), (64, 16), (144, 64)]


def test_claim_on_words_compares_the_last_with_the_baseline(tmp_path: Path) -> None:
    written = ["axis: connector, expect: equivalent, within: 1", "axis: connector, level: attention_pool, expect: increases"]
    assert claims(tmp_path, *written) == [("c_abstractor", "avg_pool"), ("attention_pool", "avg_pool")]
    assert claims(tmp_path, *written, extra="base: {connector: c_abstractor}\n") == [
        ("attention_pool", "c_abstractor"),
        ("attention_pool", "c_abstractor"),
    ]
    assert claims(tmp_path, "axis: connector, level: avg_pool, expect: best_level") == [("avg_pool", None)]


def test_claim_may_name_a_mix_by_its_shares(tmp_path: Path) -> None:
    mix = '  mix: {simplex: [caption, interleaved, text], list: ["5:5:1", {caption: 0.5, interleaved: 0.4, text: 0.1}]}\n'
    text = TEXT.replace("metric", f"{mix}metric", 1)
    claim = "claims:\n  - {axis: mix, level: {text: 0.1, caption: 0.5, interleaved: 0.4}, against: '5:5:1', expect: increases}\n"
    assert [(claim.level, claim.against) for claim in load(tmp_path, text + claim).claims] == [("50:40:10", "5:5:1")]


def test_claim_may_name_the_base_that_is_no_level(tmp_path: Path) -> None:
    extra = "base: {num_tokens: 32}\ndesign: one_at_a_time\n"
    assert claims(tmp_path, "axis: num_tokens, against: 32, expect: increases", extra=extra) == [(144, 32)]


def test_several_problems_are_sorted_by_place(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, TEXT.replace("name: small", "name: a/b") + "seed: 1\nseeds: 0\n")
    assert [problem.line for problem in caught.value.problems] == [2, 8, 9]
    assert str(caught.value).count("\n") == 2


EXAMPLES = re.findall(r"```yaml\n(# whole study\n.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=[text.split("name: ", 1)[1].split("\n")[0] for text in EXAMPLES])
def test_example_of_the_document_loads(text: str, tmp_path: Path) -> None:
    study = load(tmp_path, text)
    assert bool(make_arms(study)) != bool(study.search)


def test_document_has_an_example_of_every_design_and_form(tmp_path: Path) -> None:
    assert len(EXAMPLES) == DOCUMENT.count("# whole study")
    studies = [load(tmp_path, text) for text in EXAMPLES]
    kinds = {get_args(block.model_fields["kind"].annotation)[0] for block in get_args(get_args(Block)[0])}
    assert {block.kind for study in studies for block in study.design} == kinds
    written = {key for study in studies for form in study.axes.values() if isinstance(form, dict) for key in form}
    assert written >= {"list", "range", "linspace", "log", "levels", "zip", "choices", "when", "simplex"}
    assert written >= {"lattice", "dirichlet", "raise", "min", "repeats"}


def test_suite_of_the_document_loads(tmp_path: Path) -> None:
    text, *others = re.findall(r"```yaml\n(# whole suite\n.*?)```", DOCUMENT, flags=re.DOTALL)
    (tmp_path / "suite.yaml").write_text(text, encoding="utf-8")
    assert not others
    assert len(load_studies(str(tmp_path / "suite.yaml"))) == 2
