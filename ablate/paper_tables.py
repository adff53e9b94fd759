"""A study's effects, verdicts and law become tables for a paper: LaTeX that needs booktabs alone, or Markdown.

In LaTeX every number is `\\ablate{KEY}{NUMBER}`, a macro that prints its second argument. The paper holds what it prints, compiles where
nobody has ablate, and `ablate report STUDY --check paper.tex` finds the numbers again, in tables and in sentences alike.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from ablate.analysis.effects import Effect
from ablate.analysis.laws import size_label
from ablate.analysis.power import ALPHA
from ablate.paper_numbers import PaperNumber, effect_numbers, law_numbers, verdict_numbers
from ablate.plot_style import with_unit
from ablate.report import StudyReport

MACRO = r"\providecommand{\ablate}[2]{#2}"
GREEK = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau upsilon varphi chi psi "
    "omega"
)
CAPITALS = {
    "Γ": "Gamma",
    "Δ": "Delta",
    "Θ": "Theta",
    "Λ": "Lambda",
    "Ξ": "Xi",
    "Π": "Pi",
    "Σ": "Sigma",
    "Φ": "Phi",
    "Ψ": "Psi",
    "Ω": "Omega",
}
SIGNS = {"≈": "approx", "≠": "neq", "∞": "infty", "∈": "in", "∂": "partial", "∑": "sum", "∝": "propto", "√": "surd", "⇒": "Rightarrow"}
INTERVAL = "mean ± half width of the 95 % Student-t interval over n paired seeds, each taken alone"
TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ it would begin an optional argument, as would *
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "−": "$-$",
    "–": "--",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "`": r"\textasciigrave{}",  # behind ! or ? it would turn them upside down
    "ο": "o",
    **{chr(ord("α") + place): rf"$\{name}$" for place, name in enumerate(GREEK.split()) if name != "omicron"},
    **{sign: rf"$\{name}$" for sign, name in (CAPITALS | SIGNS).items()},
    **{sign: f"$^{plain}$" for sign, plain in zip("⁰⁴⁵⁶⁷⁸⁹⁺⁻", "0456789+-", strict=True)},
    **{chr(ord("₀") + digit): f"$_{digit}$" for digit in range(10)},
}
PRINTED = "‐‑‒–—―‖‘’“”†‡•…‰‱※⁄€™←↑↓№"
"""Beyond Latin letters, what pdfLaTeX prints of itself."""
LAST_LATIN = "ſ"
BREAKS = {r"\_": r"\_\allowbreak{}", "/": r"/\allowbreak{}"}
MAX_NAME = 24
"""Letters of a name that fit beside the numbers in one line."""
MAX_HEAD = 10
WIDTHS = {"p": 0.4, "w": 0.16}
"""Of columns of wrapped text, as shares of the line."""
TWICE = re.compile(r"([-',])(?=\1)")
"""Pairs that TeX would make one sign of."""
MARKDOWN = {character: "\\" + character for character in "\\`*_[]|~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
EXPONENT = re.compile(r"(.+)e([+-])0*(\d+)")


@dataclass(frozen=True)
class Cell:
    parts: tuple[str | PaperNumber, ...]
    """Text, which is escaped, and numbers."""
    bold: bool = False


@dataclass(frozen=True)
class Table:
    name: str
    """`effects`, `verdicts` or `law`."""
    caption: str
    columns: tuple[str, ...]
    align: str
    """A letter a column: `l` for names, `p` for sentences, `r` for numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    """Sentences below the table."""


def latex_tables(reports: Iterable[StudyReport]) -> str:
    """One text with all tables of all studies."""
    lines = ["% Needs the package booktabs. Written by ablate; `ablate report STUDY --check paper.tex` compares each", f"{MACRO}", ""]
    lines[1:1] = [r"% \ablate{KEY}{NUMBER} with the store. The macro prints the number, and may stand in running text as well:"]
    body: list[str] = []
    for report in reports:
        body += [f"% mind: {_one_line(warning)}" for warning in report.warnings]
        for table in tables(report):
            body += [*_latex(table, label=f"tab:{report.study}-{table.name}"), ""]
    if letters := foreign("\n".join(line for line in body if not line.startswith("%"))):
        lines.insert(2, f"% pdfLaTeX prints no {' '.join(letters)}: use XeLaTeX or LuaLaTeX with a font that has them (fontspec).")
    return "\n".join([*lines, *body])


def markdown_tables(reports: Iterable[StudyReport]) -> str:
    """The same tables, without keys."""
    lines: list[str] = []
    for report in reports:
        for table in tables(report):
            lines += [*_markdown(table), ""]
        lines += [f"Mind: {markdown_text(warning)}.\n" for warning in report.warnings]
    return "\n".join(lines)


def tables(report: StudyReport) -> tuple[Table, ...]:
    """Those that the study has something for."""
    found = []
    if report.effects:
        found.append(_effects_table(report))
    if report.verdicts:
        found.append(_verdicts_table(report))
    if report.law is not None and report.law.fit is not None:
        found.append(_law_table(report))
    return tuple(found)


def tex_text(text: str) -> str:
    """Text from data as LaTeX that prints it. Letters of other scripts stay (`foreign`); Greek ones are those of formulas."""
    apart = TWICE.sub("\\1\0", _one_line(text))  # no text has this character once it is one line
    return "".join(TEX.get(character, character) for character in apart).replace("\0", "{}")


def foreign(tex: str) -> list[str]:
    """The letters that pdfLaTeX stops at, each once."""
    return sorted({letter for letter in tex if letter > LAST_LATIN and letter not in PRINTED})


def markdown_text(text: str) -> str:
    """Text from data that no reader takes for Markdown, HTML or an address."""
    escaped = "".join(MARKDOWN.get(character, character) for character in _one_line(text))
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")


def tex_number(text: str) -> str:
    """A number, a bound such as `< 0.001` or a word."""
    if not text:
        return "--"
    if text[0].isalpha():
        return tex_text(text)
    found = EXPONENT.fullmatch(text)
    if found is None:
        return f"${text}$"
    return rf"${found[1]} \times 10^{{{found[2].replace('+', '')}{found[3]}}}$"


def _effects_table(report: StudyReport) -> Table:
    metric = _metric(report)
    rows = []
    for effect in report.effects:
        numbers = effect_numbers(report, effect)
        names = [Cell((str(name),)) for name in (effect.axis, effect.level, effect.baseline)]
        bold = effect.p_holm is not None and effect.p_holm < ALPHA
        means = [_number(numbers["mean"]), _number(numbers["baseline"])]
        difference = _plus_minus(numbers["difference"], numbers["interval"], bold=bold)
        rows.append((*names, *means, difference, _number(numbers["n"]), _number(numbers["p_holm"])))
    return Table(
        "effects",
        f"{_who(report)}: effects on {metric}. Difference: level minus baseline, {INTERVAL}.",
        (
            "Axis",
            "Level",
            "Baseline",
            "Mean",
            "Baseline's mean",
            f"Difference{f' ({report.unit})' if report.unit else ''}",
            "n",
            "Holm's p",
        ),
        "lllrrrrr",
        tuple(rows),
        (f"Bold: Holm's p < {ALPHA:g} over this table.", *_effect_notes(report.effects), _source(report)),
    )


def _verdicts_table(report: StudyReport) -> Table:
    rows = []
    for verdict in report.verdicts:
        numbers = verdict_numbers(report, verdict)
        bold = verdict.p_holm is not None and verdict.p_holm < ALPHA
        said = Cell((numbers["verdict"],), bold=bold)
        if "difference" in numbers:
            difference, n = _plus_minus(numbers["difference"], numbers["interval"]), _number(numbers["n"])
        else:
            difference = n = Cell(("–",))
        rows.append((Cell((verdict.statement,)), said, difference, n, _number(numbers["p_holm"])))
    return Table(
        "verdicts",
        f"{_who(report)}: the claims of the study, on {_metric(report)} unless they name another metric. "
        f"Difference: the one that decides, {INTERVAL}.",
        ("Claim", "Verdict", "Difference", "n", "Holm's p"),
        "plrrr",
        tuple(rows),
        (f"Bold: Holm's p < {ALPHA:g} over the claims of the study.", _source(report)),
    )


def _law_table(report: StudyReport) -> Table:
    assert report.law is not None
    numbers, prediction = law_numbers(report), report.law.prediction
    rows = [
        (Cell(("Slope ± standard error",)), _plus_minus(numbers["slope"], numbers["slope_se"])),
        (Cell(("Sizes of the fit",)), _number(numbers["sizes"])),
    ]
    if prediction is not None:
        where = f" at {size_label(prediction.n_params)}" if prediction.n_params is not None else ""
        rows.append((Cell((f"Best learning rate{where}",)), _number(numbers["rate"])))
        if prediction.interval is not None:
            bounds: tuple[str | PaperNumber, ...] = (numbers["rate_low"], " to ", numbers["rate_high"])
            rows.append((Cell(("95 % prediction interval",)), Cell(bounds)))
    caption = f"{_who(report)}: law of the best learning rate, by {_metric(report)}."
    return Table("law", caption, ("Quantity", "Value"), "lr", tuple(rows), (_source(report),))


def _number(number: PaperNumber) -> Cell:
    return Cell((number,))


def _plus_minus(number: PaperNumber, interval: PaperNumber, *, bold: bool = False) -> Cell:
    return Cell((number, " ± ", interval) if interval.text else (number,), bold=bold)


def _who(report: StudyReport) -> str:
    return f"Simulated, not trained: {report.study}" if report.simulated else report.study


def _metric(report: StudyReport) -> str:
    return f"{with_unit(report.metric, report.unit)} ({'higher' if report.goal == 'max' else 'lower'} is better)"


def _effect_notes(effects: Sequence[Effect]) -> list[str]:
    rows: dict[str, list[str]] = {}
    for effect in effects:
        if effect.note:
            rows.setdefault(effect.note, []).append(f"{effect.axis} = {effect.level}")
    return [f"{'; '.join(names) if len(names) < len(effects) else 'All rows'}: {note}." for note, names in rows.items()]


def _source(report: StudyReport) -> str:
    said = [f"Study file {report.fingerprint}"] if report.fingerprint else []
    said += [f"store of {report.updated}"] if report.updated else []
    text = ", ".join([*said, f"ablate {version('ablate')}"])
    return f"{text[0].upper()}{text[1:]}{'; simulated results' if report.simulated else ''}."


def _latex(table: Table, *, label: str) -> list[str]:
    align = [_wrapped(table, column) for column in range(len(table.align))]
    columns = "".join(rf"p{{{WIDTHS[letter]}\linewidth}}" if letter in WIDTHS else letter for letter in align)
    return [
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{tex_text(table.caption)}}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_tex_head(name, letter) for name, letter in zip(table.columns, align, strict=True)) + r" \\",
        r"\midrule",
        *(" & ".join(_tex_cell(cell, letter) for cell, letter in zip(row, align, strict=True)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\smallskip",
        rf"{{\footnotesize {' '.join(map(tex_text, table.notes))}\par}}",
        r"\end{table}",
    ]


def _wrapped(table: Table, column: int) -> str:
    """The column's letter; `w` for names too long for one line with others."""
    letter = table.align[column]
    long = any(len(part) > MAX_NAME for row in table.rows for part in row[column].parts if isinstance(part, str))
    return "w" if letter == "l" and long and table.align.count("l") > 1 else letter


def _tex_head(name: str, letter: str) -> str:
    """A long name above numbers stands in two lines."""
    words = [tex_text(word) for word in name.split(" ", 1)]
    if letter != "r" or len(name) <= MAX_HEAD or len(words) == 1:
        return tex_text(name)
    return rf"\shortstack[r]{{{words[0]}\\ {words[1]}}}"


def _tex_cell(cell: Cell, letter: str) -> str:
    parts = [tex_text(part) if isinstance(part, str) else _marked(part) for part in cell.parts]
    text = "".join(parts)
    if cell.bold:
        return rf"{{\bfseries\boldmath {text}}}"
    if letter not in WIDTHS:
        return text
    for sign, breakable in BREAKS.items():
        text = text.replace(sign, breakable)
    return rf"\raggedright {text}"


def _marked(number: PaperNumber) -> str:
    return rf"\ablate{{{number.key}}}{{{tex_number(number.text)}}}" if number.text else tex_number("")


def _markdown(table: Table) -> list[str]:
    rule = ["---:" if letter == "r" else "---" for letter in table.align]
    return [
        f"**{markdown_text(table.caption)}**",
        "",
        _line(map(markdown_text, table.columns)),
        _line(rule),
        *(_line(map(_markdown_cell, row)) for row in table.rows),
        "",
        f"*{' '.join(map(markdown_text, table.notes))}*",
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    parts = [part if isinstance(part, str) else part.text.replace("-", "−") or "–" for part in cell.parts]
    text = markdown_text("".join(parts))
    return f"**{text}**" if cell.bold else text


def _one_line(text: str) -> str:
    """No line break, and no other character that prints nothing, can end a comment or a row."""
    return "".join(character if character.isprintable() else " " for character in text)
