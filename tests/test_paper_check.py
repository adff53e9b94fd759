from dataclasses import replace
from pathlib import Path

import pytest

from ablate.errors import InputError
from ablate.paper_check import PaperCheck, check_paper
from ablate.paper_marks import printed_number, read_marks
from ablate.paper_numbers import paper_numbers
from ablate.paper_tables import latex_tables
from ablate.report import StudyReport
from tests.reported import law, report

KEY = "resolution/size=24/difference/score"
"""+5.25 is what the store says."""


def steady() -> StudyReport:
    given = report()
    return replace(given, effects=(replace(given.effects[0], mean_diff=5.25, ci=(3.65, 6.85)), given.effects[1]))


def checked(paper: Path, *studies: StudyReport) -> PaperCheck:
    known = studies or (steady(),)
    return check_paper(read_marks(paper), numbers=paper_numbers(known), studies={study.study for study in known})


def outcomes(found: PaperCheck) -> list[tuple[str, str | None]]:
    return [(one.outcome, one.now) for one in found.compared]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("5.25", ("match", "5.25")),
        ("$+5.25$", ("match", "5.25")),
        (r"\textbf{5.3}", ("match", "5.2")),  # a half may be rounded either way
        ("5.2", ("match", "5.2")),
        ("5", ("match", "5")),
        (r"$0.525 \times 10^{1}$", ("match", "0.525e1")),
        ("5.26", ("differs", "5.25")),
        ("-5.25", ("differs", "5.25")),
        ("$>$ 5", ("match", "5")),
        ("$< 5$", ("differs", "+5.2")),
        ("5.25 points", ("incomparable", "+5.2")),
        ("--", ("incomparable", "+5.2")),
        ("0e999", ("incomparable", "+5.2")),
    ],
)
def test_check_compares_at_the_printed_precision(tmp_path: Path, printed: str, expected: tuple[str, str]) -> None:
    paper = tmp_path / "paper.tex"
    paper.write_text(rf"It rises by \ablate{{{KEY}}}{{{printed}}} points.")
    assert outcomes(checked(paper)) == [expected]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("12{,}346", 12346, 1),
        (r"12\,346.0", 12346, 0.1),
        (".04", 0.04, 0.01),
        ("1.50e-4", 1.5e-4, 1e-6),
        ("−3", -3, 1),
        (r"\num{-3.0}", -3, 0.1),
        (r"${-}3.1 \cdot 10^{-2}$", -0.031, 0.001),
    ],
)
def test_printed_number_reads_what_papers_print(text: str, value: float, unit: float) -> None:
    found = printed_number(text)
    assert found is not None
    assert (found.value, found.unit) == (pytest.approx(value), pytest.approx(unit))


@pytest.mark.parametrize("text", ["", "-", ".", "n/a", "1 or 2", "3 %", "1e999", "0e999", "0.0e301", "0e-999", r"\result", "1,23"])
def test_printed_number_of_something_else_is_none(text: str) -> None:
    assert printed_number(text) is None


def test_check_of_own_tables_matches_and_of_a_changed_store_says_where_not(tmp_path: Path) -> None:
    paper, given = tmp_path / "paper.tex", report(law=law(), target=3e10)
    paper.write_text(latex_tables([given]))
    found = checked(paper, given)
    assert len(found.compared) > 20
    assert found.wrong == ()
    moved = replace(given, effects=(replace(given.effects[0], level_mean=99.0), given.effects[1]))
    (wrong,) = checked(paper, moved).wrong
    line = next(at for at, text in enumerate(paper.read_text().splitlines(), 1) if "size=24/mean" in text)
    assert str(wrong) == f"{paper}:{line}: differs: resolution/size=24/mean/score: printed $13.6$, now 99.0"


def test_check_verdict_that_turned_is_told(tmp_path: Path) -> None:
    paper, given = tmp_path / "paper.tex", report()
    paper.write_text(latex_tables([replace(given, effects=())]))
    turned = replace(given, verdicts=(replace(given.verdicts[0], verdict="contradicted"),))
    (wrong,) = checked(paper, turned).wrong
    assert (wrong.mark.printed, wrong.now) == ("supported", "contradicted")


def test_check_unknown_keys_say_what_may_be_meant(tmp_path: Path) -> None:
    paper = tmp_path / "paper.tex"
    paper.write_text("\\ablate{resolution/size=24/diference/score}{1}\n\\ablate{other/size=24/n/score}{3}")
    found = checked(paper)
    assert [one.note for one in found.wrong] == [f"did you mean '{KEY}'?", "'other' is not among the studies named"]
    assert found.summary == "0 of 2 marked numbers match the store; 2 unknown"


def test_check_number_that_is_no_more_cannot_be_compared(tmp_path: Path) -> None:
    paper, given = tmp_path / "paper.tex", report()
    paper.write_text(r"\ablate{resolution/size=24/interval/score}{1.6}")
    lost = replace(given, effects=(replace(given.effects[0], ci=None), given.effects[1]))
    assert outcomes(checked(paper, lost)) == [("incomparable", None)]


def test_marks_are_found_across_lines_and_not_in_comments_or_longer_names(tmp_path: Path) -> None:
    paper = tmp_path / "paper.tex"
    paper.write_text(
        "\\providecommand{\\ablate}[2]{#2}\n% \\ablate{a}{1}\n50\\% of \\ablate{b}{2} % \\ablate{c}{3}\n"
        "\\ablated{d}{4} \\\\% \\ablate{e}{5}\n\\ablate{f/\n  g}%\n  {\\textbf{6}}\n"
    )
    assert [(mark.line, mark.key, mark.printed) for mark in read_marks(paper).found] == [(3, "b", "2"), (5, "f/g", r"\textbf{6}")]


def test_files_beside_the_paper_are_read_and_none_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    (folder / "tables").mkdir(parents=True)
    (tmp_path / "secret.tex").write_text(r"\ablate{secret}{1}")
    (folder / "link.tex").symlink_to(tmp_path / "secret.tex")
    (folder / "tables" / "one.tex").write_text("\n\\ablate{one}{1} \\input{tables/one} \\input paper")
    paper = folder / "paper.tex"
    inputs = r"\input{tables/one}", r"\include{../secret}", rf"\input{{{tmp_path}/secret.tex}}", r"\input{link}", r"\input{glyphtounicode}"
    paper.write_text("\n".join(inputs) + "\n\\input{\\which}")
    found = read_marks(paper)
    assert [(mark.file, mark.line, mark.key) for mark in found.found] == [(str(folder / "tables" / "one.tex"), 2, "one")]
    outside = "outside the paper's folder, so it is not read"
    assert [line.removeprefix(f"{paper}:") for line in found.not_read] == [
        f"2: ../secret: {outside}",
        f"3: {tmp_path}/secret.tex: {outside}",
        f"4: link: {outside}",
        "5: glyphtounicode: not in the paper's folder",
        "6: \\which: not a plain name",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no marks", "no .ablate.KEY..NUMBER. in the paper"),
        ("\n\\ablate{key} 3", r"paper.tex:2: \\ablate needs two arguments"),
        (r"\ablate{key}{3", r"paper.tex:1: \\ablate needs two arguments"),
    ],
)
def test_paper_that_says_nothing_to_check_is_refused(tmp_path: Path, text: str, said: str) -> None:
    paper = tmp_path / "paper.tex"
    paper.write_text(text)
    with pytest.raises(InputError, match=said):
        checked(paper)


def test_paper_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_marks(tmp_path / "paper.tex")
    with pytest.raises(InputError, match="not a file"):
        read_marks(tmp_path)
