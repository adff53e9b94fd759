import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.analysis.effects import adjust, level_effects
from ablate.paper_marks import printed_number
from ablate.paper_numbers import effect_numbers, key_part, law_numbers, paper_numbers, verdict_numbers
from ablate.paper_tables import latex_tables, markdown_text, tables, tex_number, tex_text
from tests.reported import law, report

NASTY = r"[x]*a_b%c$d#e{f}g^h~i\j&k|l<m>--n" + "\n\\end{table}"


def rows_of(tex: str) -> list[list[str]]:
    """Cells of every row of every tabular, split at bare ampersands."""
    return [
        re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
        for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", tex, re.DOTALL)
        for line in body.splitlines()
        if line.endswith(r" \\")
    ]


def test_latex_tables_have_each_number_under_its_key() -> None:
    given = report(fingerprint="0123456789ab", updated="2026-01-31 10:00 UTC")
    tex, effect = latex_tables([given]), given.effects[0]
    assert effect.mean_diff is not None
    assert r"\ablate{resolution/size=24/difference/score}{$+4.6$} $\pm$ \ablate{resolution/size=24/interval/score}{$1.6$}" in tex
    assert r"\ablate{resolution/size=24/n/score}{$3$}" in tex
    assert "Study file 0123456789ab, store of 2026-01-31 10:00 UTC, ablate " in tex
    marked = dict(re.findall(r"\\ablate\{([^{}]*)\}\{\$?([^$}]*)\$?\}", re.sub("(?m)^%.*", "", tex)))
    known = paper_numbers([given])
    assert len(marked) == 2 * 6 + 5
    for key, text in marked.items():
        value, number = known[key].value, printed_number(text)
        assert text == value if isinstance(value, str) else number and value is not None and number.agrees(value), key


def test_latex_tables_need_booktabs_alone_and_close_what_they_open() -> None:
    tex = latex_tables([report(simulated=True, law=law(), unit="%")])
    assert tex.count("{") == tex.count("}")
    for name in ("table", "tabular"):
        assert tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}") == 3
    known = r"providecommand|ablate|begin|end|centering|caption|label|toprule|midrule|bottomrule|smallskip|footnotesize|par|bfseries"
    known += r"|boldmath|pm|times|raggedright|linewidth|textless|small|setlength|tabcolsep|shortstack|allowbreak"
    assert set(re.findall(r"\\([A-Za-z]+)", re.sub("%.*", "", tex.replace(r"\%", "")))) <= set(known.split("|"))
    assert r"Simulated, not trained: resolution" in tex
    assert tex.count("simulated results") == 3
    for columns, body in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n\\toprule\n(.*?)\\bottomrule", tex, re.DOTALL):
        letters = re.sub(r"p\{.*?\}", "p", columns)
        assert {len(row) for row in rows_of(rf"\toprule{chr(10)}{body}\bottomrule")} == {len(letters)}


def test_tables_are_bold_only_where_holms_p_is_small() -> None:
    given = report()
    strong, weak = replace(given.effects[0], p_holm=0.049), replace(given.effects[1], p_holm=0.05)
    table = tables(replace(given, effects=(strong, weak)))[0]
    assert [[cell.bold for cell in row] for row in table.rows] == [[False] * 5 + [True, False, False], [False] * 8]


def test_table_of_one_seed_has_no_interval_no_p_and_says_why() -> None:
    frame = report().results.query("seed == 0")
    effects = adjust(level_effects(frame, axis="size", baseline=16, metric="score"))
    tex = latex_tables([report(results=frame, effects=effects, verdicts=())])
    cells = rows_of(tex)[1]
    assert cells[5] == r"\ablate{resolution/size=24/difference/score}{$+4$}"
    assert cells[7] == "--"
    assert "All rows: one seed: no interval; a second seed gives one." in tex
    assert "interval/score" not in tex


def test_tables_of_a_study_with_nothing_finished_are_none() -> None:
    assert tables(report(effects=(), verdicts=())) == ()


def test_latex_hostile_names_stay_text() -> None:
    results = report().results.rename(columns={"size": NASTY})
    given = report(results=results, effects=level_effects(results, axis=NASTY, baseline=16, metric="score"), warnings=(NASTY,), unit=NASTY)
    tex = re.sub("(?m)^%.*", "", latex_tables([given]))  # each warning is one comment
    assert tex.count("\\end{table}") == 2
    rows = rows_of(tex)
    assert {len(row) for row in rows} == {8, 5}
    assert rows[1][0] == r"\raggedright " + (
        r"{[}x{]}{*}a\_\allowbreak{}b\%c\$d\#e\{f\}g\textasciicircum{}h\textasciitilde{}i\textbackslash{}j\&k\textbar{}l\textless{}m\textgreater{}-{}-n"
        r" \textbackslash{}end\{table\}"
    )
    keys = re.findall(r"\\ablate\{(.*?)\}\{", tex)
    assert keys
    assert all(re.fullmatch(r"[A-Za-z0-9._:+,=/@-]+", key) for key in keys)


def test_markdown_hostile_names_stay_text() -> None:
    said = markdown_text("a|b *c* _d_ `e` [f](https://x.y) <img src=x> &amp; @someone www.x.y $z$\n# h \\| i")
    assert said == (r"a\|b \*c\* \_d\_ \`e\` \[f\](https&#58;//x.y) &lt;img src=x&gt; &amp;amp; &#64;someone www&#46;x.y \$z\$ # h \\\| i")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "--"),
        ("-25.2", "$-25.2$"),
        ("< 0.001", "$< 0.001$"),
        ("2.21e-05", r"$2.21 \times 10^{-5}$"),
        ("1.5e+12", r"$1.5 \times 10^{12}$"),
    ],
)
def test_tex_number_reads_as_in_a_paper(text: str, expected: str) -> None:
    assert tex_number(text) == expected


def test_tex_text_has_the_signs_of_the_field() -> None:
    assert tex_text("±1 × −2 – 3") == r"$\pm$1 $\times$ $-$2 -- 3"
    assert tex_text("βοςω ≥ Δ 10⁻⁵ x₀ é") == r"$\beta$o$\varsigma$$\omega$ $\geq$ $\Delta$ 10$^-$$^5$ x$_0$ é"


def test_tex_text_signs_that_tex_would_join_stay_apart() -> None:
    assert tex_text("a---b ''c'' ,,d !`e") == r"a-{}-{}-b '{}'c'{}' ,{},d !\textasciigrave{}e"


def test_letters_that_pdflatex_has_not_are_named_above_the_tables() -> None:
    names = [line for line in latex_tables([report(unit="é β 中文 文")]).splitlines() if line.startswith("% pdfLaTeX")]
    assert names == ["% pdfLaTeX prints no 中 文: use XeLaTeX or LuaLaTeX with a font that has them (fontspec)."]
    assert "pdfLaTeX" not in latex_tables([report(unit="é β “x” … €")])


def test_long_names_wrap_and_short_ones_do_not() -> None:
    results = report().results.rename(columns={"size": "an axis with a name_that/fills a line"})
    effects = level_effects(results, axis="an axis with a name_that/fills a line", baseline=16, metric="score")
    tex = latex_tables([report(results=results, effects=effects, verdicts=(), law=law())])
    assert re.findall(r"\\begin\{tabular\}\{(.*)\}", tex) == [r"p{0.16\linewidth}llrrrrr", "lr"]
    assert r"\raggedright an axis with a name\_\allowbreak{}that/\allowbreak{}fills a line &" in tex
    assert r"\shortstack[r]{Baseline's\\ mean} &" in tex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on the path (apt-get install texlive-latex-base); CI has no TeX")
def test_tables_compile(tmp_path: Path) -> None:
    results = report().results.rename(columns={"size": NASTY})
    effects = level_effects(results, axis=NASTY, baseline=16, metric="score")
    tex = latex_tables(
        [report(law=law()), report(name="hostile", results=results, effects=effects, warnings=(NASTY,), unit="é β ≥ × → 10⁻⁵ `%")]
    )
    paper = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + tex + r"\end{document}"
    (tmp_path / "paper.tex").write_text(paper, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_key_part_other_texts_have_other_keys() -> None:
    texts = ["a/b", "a=b", "a@2fb", "a b", "é", "a_b", "a-b", "", "%"]
    assert len({key_part(text) for text in texts}) == len(texts)
    assert key_part("few_shot/4", slashes=True) == "few_shot/4"


def test_paper_numbers_an_edited_claim_has_another_key() -> None:
    given = report()
    edited = replace(given.verdicts[0], statement="another claim")
    assert not set(paper_numbers([replace(given, effects=())])) & set(paper_numbers([replace(given, effects=(), verdicts=(edited,))]))


def test_paper_numbers_size_has_no_sign() -> None:
    given = report()
    falls = replace(given.effects[0].reversed(), level=24)
    numbers = paper_numbers([replace(given, effects=(falls,), verdicts=())])
    assert numbers["resolution/size=24/difference/score"].text == "-4.6"
    assert numbers["resolution/size=24/size/score"].text == "4.6"


def test_guide_names_every_quantity() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
    given = report(law=law(), target=3e10)
    groups = {
        "an effect": effect_numbers(given, given.effects[0]),
        "a verdict": verdict_numbers(given, given.verdicts[0]),
        "a law": law_numbers(given),
    }
    for name, numbers in groups.items():
        (row,) = re.findall(rf"^\| {name} \| (.*) \|$", guide, re.MULTILINE)
        assert set(re.findall("`(.*?)`", row)) == set(numbers)
