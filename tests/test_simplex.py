"""Axes of data mixes: the mixes each form means, the limits, and what is said where a mix cannot be."""

import math
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ablate.explain import explain
from ablate.marked_yaml import Fault
from ablate.simplex import Mixes, Simplex, mixes

SOURCES = ["caption", "interleaved", "text"]
AT = ("axes", "mix")
SIZES = {"caption": 1.0e9, "interleaved": 5.0e8, "text": 2.0e9}
SHARES = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)
SEEDS = st.integers(0, 2**32 - 1)


def read(**written: Any) -> Mixes:
    return mixes(Simplex.model_validate({"simplex": SOURCES, **written}), at=AT)


def labels(found: Mixes) -> list[str]:
    assert not found.faults
    return [mix.label for mix in found.found]


def only_fault(found: Mixes) -> Fault:
    (fault,) = found.faults
    return fault


def assert_mixes(found: Mixes, *, count: int | None = None) -> None:
    assert not found.faults
    for mix in found.found:
        assert list(mix.shares) == SOURCES
        assert math.fsum(mix.shares.values()) == pytest.approx(1, abs=1e-9)
        assert all(share >= 0 for share in mix.shares.values())
    assert len({mix.label for mix in found.found}) == len(found.found)
    assert count is None or len(found.found) == count


def test_list_keeps_ratios_as_written_and_shares_in_percent() -> None:
    found = read(list=["5:5:1", "9:0:1", {"text": 0.10, "caption": 0.45, "interleaved": 0.45}])
    assert labels(found) == ["5:5:1", "9:0:1", "45:45:10"]
    assert found.found[0].shares == {"caption": 5 / 11, "interleaved": 5 / 11, "text": 1 / 11}
    assert found.found[2].shares == {"caption": 0.45, "interleaved": 0.45, "text": 0.1}
    assert [mix.at for mix in found.found] == [(*AT, "list", index) for index in range(3)]


@given(parts=SHARES)
def test_list_of_ratios_gives_the_ratios(parts: list[int]) -> None:
    found = read(list=[":".join(map(str, parts))])
    assert_mixes(found, count=1)
    assert [share * sum(parts) for share in found.found[0].shares.values()] == pytest.approx(parts)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ("5:5", "text '5:5' has 2 parts, expected 3: caption:interleaved:text"),
        ("5::1", "the part '' of text '5::1' is not a number of 0 or more; write caption:interleaved:text as in 5:5:1"),
        ("5:-1:1", "the part '-1' of text '5:-1:1' is not a number of 0 or more"),
        ("0:0:0", "the parts of text '0:0:0' are all 0"),
        (f"1:1:{'9' * 400}", "is over 1e12"),
        ({"caption": 0.5, "interleaved": 0.4, "txt": 0.1}, "unknown source 'txt' (caption, interleaved, text); did you mean 'text'?"),
        ({"caption": 0.5, "interleaved": 0.5}, "no share for text; write all of caption, interleaved, text"),
        ({"caption": 0.6, "interleaved": 0.5, "text": -0.1}, "the share of text is -0.1; shares are numbers from 0 to 1"),
        ({"caption": 0.6, "interleaved": 0.4, "text": "0"}, "the share of text is text '0'; shares are numbers from 0 to 1"),
        ({"caption": 0.6, "interleaved": 0.4, "text": False}, "the share of text is false; shares are numbers from 0 to 1"),
        ({"caption": 0.5, "interleaved": 0.4, "text": math.nan}, "the share of text is nan"),
        ({"caption": 0.45, "interleaved": 0.45, "text": 0.09}, "sum is 0.99; use 45:45:10 or shares that sum to 1"),
        (7, "expected a ratio such as 5:5:1 (caption:interleaved:text) or shares by source, found 7"),
        (None, "expected a ratio such as 5:5:1 (caption:interleaved:text) or shares by source, found nothing"),
    ],
)
def test_mix_that_is_none_says_why_wherever_it_is_written(mix: Any, words: str) -> None:
    listed = read(list=["1:1:1", mix])
    assert only_fault(listed).path == (*AT, "list", 1)
    assert words in only_fault(listed).message
    assert labels(listed._replace(faults=[])) == ["1:1:1"]
    raised = only_fault(read(**{"raise": {"from": mix, "by": [0.1]}}))
    assert raised.path == (*AT, "raise", "from")
    assert words in raised.message


def test_mix_written_twice_is_a_fault_of_the_second() -> None:
    assert read(list=["5:5:1", "1:1:1", "10:10:2"]).faults == [
        Fault((*AT, "list", 2), "levels 1 and 3 are the same: 5:5:1 and 10:10:2"),
    ]
    near = {"caption": 0.45, "interleaved": 0.4500001, "text": 0.0999999}
    assert read(list=["45:45:10", near]).faults == []
    nearer = {"caption": 0.45, "interleaved": 0.45000001, "text": 0.09999999}
    assert only_fault(read(list=["45:45:10", nearer])).message == "levels 1 and 2 are the same: 45:45:10"


def test_lattice_of_halves_is_in_order() -> None:
    assert labels(read(lattice=2)) == ["100:0:0", "50:50:0", "50:0:50", "0:100:0", "0:50:50", "0:0:100"]
    assert {mix.at for mix in read(lattice=2).found} == {(*AT, "lattice")}


@given(steps=st.integers(1, 12), sources=st.integers(2, 5))
def test_lattice_has_every_mix_in_its_steps(steps: int, sources: int) -> None:
    names = [f"s{index}" for index in range(sources)]
    found = mixes(Simplex(simplex=names, lattice=steps), at=AT)
    assert len({mix.label for mix in found.found}) == len(found.found) == math.comb(steps + sources - 1, sources - 1)
    for mix in found.found:
        assert math.fsum(mix.shares.values()) == pytest.approx(1, abs=1e-9)
        assert all((share * steps) == pytest.approx(round(share * steps)) and share >= 0 for share in mix.shares.values())


@given(steps=st.integers(1, 12), least=st.lists(st.integers(0, 40), min_size=3, max_size=3), at_most=st.integers(1, 12))
def test_lattice_leaves_out_what_the_limits_forbid(steps: int, least: list[int], at_most: int) -> None:
    floor = {source: part / 100 for source, part in zip(SOURCES, least, strict=True)}
    repeats = {"sizes": SIZES, "total": 1.0e10, "at_most": at_most}
    every = read(lattice=steps).found
    inside = [
        mix.label
        for mix in every
        if all(share > floor[source] - 1e-9 for source, share in mix.shares.items())
        and all(share * 1.0e10 / SIZES[source] < at_most + 1e-6 for source, share in mix.shares.items())
    ]
    found = read(lattice=steps, min=floor, repeats=repeats)
    assert [mix.label for mix in found.found] == inside
    if inside:
        assert found.left_out == len(every) - len(inside)
    else:
        assert "sum" in only_fault(found).message or only_fault(found).path[2] in ("lattice", "min", "repeats")


def test_lattice_too_fine_is_a_fault_with_its_number() -> None:
    fault = only_fault(read(lattice=1000))
    assert fault == Fault(
        (*AT, "lattice"), "steps of 1/1000 over 3 sources are 501,501 mixes; up to 10,000 are allowed, so take larger steps"
    )
    many = Simplex(simplex=[f"s{index}" for index in range(64)], lattice=1000)
    assert f"64 sources are {math.comb(1063, 63):.6g}".replace("e+", "e") in only_fault(mixes(many, at=AT)).message
    assert_mixes(read(lattice=1000, min=0.32), count=861)


def test_lattice_without_a_mix_inside_the_limits_says_their_ranges() -> None:
    message = "the limits leave none of the 6 mixes in steps of 1/2: caption from 0.3 to 1, interleaved from 0.3 to 1, text from 0.3 to 1"
    found = read(lattice=2, min=0.3)
    assert found.faults == [Fault((*AT, "lattice"), message)]
    assert found.left_out == 6


@given(points=st.integers(1, 20), seed=SEEDS, concentration=st.floats(0.05, 50))
def test_dirichlet_gives_distinct_mixes_of_six_digits(points: int, seed: int, concentration: float) -> None:
    written = {"points": points, "seed": seed, "concentration": concentration}
    assume(points <= 10 or 0.5 < concentration)
    found = read(dirichlet=written)
    assert_mixes(found, count=points)
    assert found == read(dirichlet=written)
    for mix in found.found:
        assert all(float(f"{share:.6f}") == share for share in mix.shares.values())
        assert [float(part) / 100 for part in mix.label.split(":")] == pytest.approx(list(mix.shares.values()), abs=1e-12)


def test_dirichlet_is_the_same_on_every_machine() -> None:
    """Ids of trials hang on these: a change here makes every such study a new one."""
    assert labels(read(dirichlet={"points": 2})) == ["48.644:37.0888:14.2672", "19.5247:46.6517:33.8236"]
    skewed = {"points": 2, "seed": 7, "concentration": {"caption": 0.3, "interleaved": 2, "text": 5}}
    assert labels(read(dirichlet=skewed)) == ["0.4059:35.1894:64.4047", "0.0044:12.7077:87.2879"]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 3.0, 5.0), (0.5, 0.5, 4.0)])
def test_dirichlet_has_the_mean_and_variance_of_its_concentrations(weights: tuple[float, ...]) -> None:
    found = read(dirichlet={"points": 1000, "seed": 1, "concentration": dict(zip(SOURCES, weights, strict=True))})
    total = sum(weights)
    for source, weight in zip(SOURCES, weights, strict=True):
        shares = [mix.shares[source] for mix in found.found]
        mean, variance = weight / total, weight * (total - weight) / (total**2 * (total + 1))
        assert sum(shares) / 1000 == pytest.approx(mean, abs=4 * math.sqrt(variance / 1000))
        assert sum((share - mean) ** 2 for share in shares) / 1000 == pytest.approx(variance, rel=0.2)


@given(seed=SEEDS, text=st.floats(0, 0.5))
def test_dirichlet_draws_on_until_enough_are_inside_the_limits(seed: int, text: float) -> None:
    repeats = {"sizes": SIZES, "total": 1.0e10, "at_most": 8}
    found = read(dirichlet={"points": 5, "seed": seed}, min={"text": text}, repeats=repeats)
    assert_mixes(found, count=5)
    for mix in found.found:
        assert mix.shares["text"] >= text - 1e-9
        assert all(share * 1.0e10 / SIZES[source] <= 8 + 1e-6 for source, share in mix.shares.items())


def test_dirichlet_that_finds_too_few_says_how_many_it_found() -> None:
    fault = only_fault(read(dirichlet={"points": 3}, min=0.3333))
    assert fault.path == (*AT, "dirichlet")
    assert fault.message.startswith("10,000 draws give 0 of 3 mixes: 10,000 lie outside the limits (caption from 0.3333 to 1,")
    corners = Simplex.model_validate({"simplex": ["a", "b"], "dirichlet": {"points": 1000, "concentration": 0.01}})
    few = only_fault(mixes(corners, at=AT)).message
    counts = re.fullmatch(r"10,000 draws give (\d+) of 1000 mixes: (.*) came again; ask for fewer, or use lattice", few)
    assert counts
    assert int(counts[1]) + int(counts[2].replace(",", "")) == 10_000


@pytest.mark.parametrize(
    ("concentration", "path", "words"),
    [
        (0, (), "the concentration of caption is 0; write a number from 0.01 to 1e6"),
        ("1", (), "expected a number, or numbers by source (caption, interleaved, text); found text '1'"),
        ({"caption": 1, "text": 1}, (), "no number for interleaved; write all of caption, interleaved, text"),
        ({"caption": 1, "interleaved": 1, "text": "a"}, ("text",), "the concentration of text is text 'a'; write a number"),
        ({"caption": 1, "interleaved": 1, "text": 0.001}, (), "the concentration of text is 0.001; write a number from"),
    ],
)
def test_dirichlet_concentration_that_is_none_says_why(concentration: Any, path: tuple[str, ...], words: str) -> None:
    fault = only_fault(read(dirichlet={"points": 1, "concentration": concentration}))
    assert fault.path == (*AT, "dirichlet", "concentration", *path)
    assert words in fault.message


def test_raise_moves_one_part_and_starts_with_the_mix_itself() -> None:
    found = read(**{"raise": {"from": "45:45:10", "by": [0.1, 0.2]}})
    assert labels(found) == [
        "45:45:10",
        "55:36.8182:8.18182",
        "65:28.6364:6.36364",
        "36.8182:55:8.18182",
        "28.6364:65:6.36364",
        "40:40:20",
        "35:35:30",
    ]
    assert [mix.at[2:] for mix in found.found[:3]] == [("raise", "from"), ("raise", "by", 0), ("raise", "by", 1)]
    assert found.found[-1].shares == {"caption": 0.35, "interleaved": 0.35, "text": 0.3}  # not 0.30000000000000004


@given(parts=st.lists(st.integers(1, 100), min_size=3, max_size=3), step=st.integers(-99, 99), as_shares=st.booleans())
def test_raise_keeps_the_proportions_of_the_others(parts: list[int], step: int, as_shares: bool) -> None:
    assume(step)
    shares = dict(zip(SOURCES, (part / sum(parts) for part in parts), strict=True))
    possible = [source for source in SOURCES if 0 <= shares[source] + step / 100 <= 1]
    found = read(**{"raise": {"from": shares if as_shares else ":".join(map(str, parts)), "by": [step / 100]}})
    assert len(found.faults) == 3 - len(possible)
    assert_mixes(found._replace(faults=[]), count=1 + len(possible))
    for source, mix in zip(possible, found.found[1:], strict=True):
        assert mix.shares[source] == pytest.approx(shares[source] + step / 100, abs=1e-6)
        one, other = (name for name in SOURCES if name != source)
        assert mix.shares[one] * shares[other] == pytest.approx(mix.shares[other] * shares[one], abs=1e-6)


def test_raise_past_an_end_gives_the_numbers() -> None:
    start = {"from": "45:45:10", "by": [0.1, 0.6, -0.2, 0]}
    messages = {fault.path[-1]: fault.message for fault in read(**{"raise": start}).faults}
    assert messages[1].startswith("interleaved 0.45 + 0.6 = 1.05; a share is from 0 to 1, so take a smaller step")
    assert messages[2].startswith("text 0.1 - 0.2 = -0.1;")
    zero = read(**{"raise": start | {"by": [0]}})
    assert only_fault(zero) == Fault((*AT, "raise", "by", 0), "levels 1 and 2 are the same: 45:45:10")
    whole = read(**{"raise": {"from": "1:0:0", "by": [-0.1]}})
    assert "caption is the whole mix" in whole.faults[0].message


def test_written_mix_outside_the_limits_gives_the_numbers() -> None:
    repeats = {"sizes": {"caption": 1e10, "interleaved": 1e10, "text": 2e8}, "total": 1e10, "at_most": 4}
    found = read(list=["50:48:2", "45:45:10", "100:0:0"], repeats=repeats, min={"interleaved": 0.02})
    assert [(fault.path, fault.message) for fault in found.faults] == [
        ((*AT, "list", 1), "text 0.1 x 1e10 / 2e8 = 5 repeats, at most 4"),
        ((*AT, "list", 2), "interleaved 0 is under its least share 0.02"),
    ]
    raised = read(**{"raise": {"from": "50:48:2", "by": [0.1]}}, repeats=repeats)
    assert only_fault(raised) == Fault(
        (*AT, "raise", "by", 0), "44.898:43.102:12 breaks a limit: text 0.12 x 1e10 / 2e8 = 6 repeats, at most 4"
    )


def test_empty_source_can_have_no_share() -> None:
    repeats = {"sizes": {"caption": 1e10, "interleaved": 0, "text": 1e10}, "total": 1e10, "at_most": 4}
    assert labels(read(list=["1:0:1"], repeats=repeats)) == ["1:0:1"]
    fault = only_fault(read(list=["1:1:2"], repeats=repeats))
    assert fault.message == "interleaved 0.25 x 1e10 from a source of size 0, which can have share 0 only"
    assert labels(read(lattice=2, repeats=repeats)) == ["100:0:0", "50:0:50", "0:0:100"]


def test_limits_hold_at_the_very_edge() -> None:
    tenth = {"sizes": dict.fromkeys(SOURCES, 1e9), "total": 1e10, "at_most": 7}
    assert labels(read(list=["70:20:10"], min=0.1, repeats=tenth)) == ["70:20:10"]
    assert labels(read(lattice=3, min=1 / 3)) == ["33.3333:33.3333:33.3333"]


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        ({"min": 0.35}, ("min",), "the least shares caption 0.35 + interleaved 0.35 + text 0.35 sum to 1.05, over 1; lower some"),
        ({"min": {"text": 1.5}}, ("min",), "the least share of text is 1.5; shares are from 0 to 1"),
        ({"min": {"txt": 0.1}}, ("min", "txt"), "unknown source 'txt' (caption, interleaved, text); did you mean 'text'?"),
        ({"min": {"text": "a"}}, ("min", "text"), "the least share of text is text 'a'; write a number"),
        ({"min": True}, ("min",), "expected a number, or numbers by source (caption, interleaved, text); found true"),
        (
            {"repeats": {"sizes": SIZES, "total": 1e10, "at_most": 2}},
            ("repeats",),
            "2 repeats allow shares up to caption 0.2 + interleaved 0.1 + text 0.4, 0.7 in all, and a mix needs 1",
        ),
        (
            {"repeats": {"sizes": SIZES, "total": 1e10, "at_most": 4}, "min": {"interleaved": 0.3}},
            ("min",),
            "no mix has the least share: interleaved 0.3 x 1e10 / 5e8 = 6 repeats, at most 4",
        ),
        (
            {"repeats": {"sizes": {"caption": 1, "text": 1}, "total": 1, "at_most": 1}},
            ("repeats", "sizes"),
            "no size for interleaved; write all of caption, interleaved, text",
        ),
        (
            {"repeats": {"sizes": SIZES | {"vqa": 1}, "total": 1, "at_most": 1}},
            ("repeats", "sizes", "vqa"),
            "unknown source 'vqa' (caption, interleaved, text)",
        ),
    ],
)
def test_limits_that_cannot_be_kept_give_the_numbers(written: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    for form in ({"lattice": 2}, {"list": ["1:1:1"]}, {"dirichlet": {"points": 1}}):
        fault = only_fault(read(**form, **written))
        assert fault.path == (*AT, *path)
        assert words in fault.message


def test_one_form_is_written_and_no_more() -> None:
    assert only_fault(read()).path == AT
    assert only_fault(read()).message.startswith("an axis needs at least one level; write list:")
    assert only_fault(read(list=[])) == Fault((*AT, "list"), 'an axis needs at least one level; write list: ["5:5:1", ...]')
    assert only_fault(read(list=[], lattice=3)).message == "found list and lattice; write one of list, lattice, dirichlet, raise"


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        ({"simplex": ["text"]}, ("simplex",), "expected the names of two or more sources, each once; found a list of 1"),
        ({"simplex": ["a", "a"]}, ("simplex",), "expected the names of two or more sources, each once; found a list of 2"),
        ({"simplex": ["a", 1]}, ("simplex",), "expected the names of two or more sources, each once"),
        ({"simplex": "text"}, ("simplex",), "expected the names of two or more sources, each once; found text 'text'"),
        ({"simplex": SOURCES, "lattice": 0}, ("lattice",), "must be at least 1, found 0"),
        ({"simplex": SOURCES, "lattice": 1.5}, ("lattice",), "expected a whole number, found 1.5"),
        ({"simplex": SOURCES, "raise": {"from": "1:1:1"}}, ("raise",), "'by' is missing"),
        ({"simplex": SOURCES, "lattices": 3}, ("lattices",), "did you mean 'lattice'?"),
        ({"simplex": SOURCES, "raised": {}}, ("raised",), "did you mean 'raise'?"),
    ],
)
def test_what_is_no_simplex_is_explained_at_its_key(written: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Simplex.model_validate(written)
    (fault,) = explain(caught.value, Simplex, written)
    assert fault.path == path
    assert words in fault.message


def test_schema_says_what_a_mix_may_be() -> None:
    schema = Simplex.model_json_schema()["properties"]
    listed = next(kind for kind in schema["list"]["anyOf"] if kind.get("type") == "array")
    assert [kind["type"] for kind in listed["items"]["anyOf"]] == ["string", "object"]
    assert {"raise", "min", "repeats", "when"} <= set(schema)
    assert all("description" in key for key in schema.values())
