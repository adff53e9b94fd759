"""The verb `report`: a page, tables for a paper, its figures as files, and whether a paper still says what the store says."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ablate.arguments import WORKSPACE, Folder, StoreUrl, open_store_of, print_json, study_names_of
from ablate.durable import write_now
from ablate.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from ablate.report import StudyReport

PAGE, FIGURES = Path("report.html"), Path("figures")
"""Where these go unless told; tables go to standard output."""
FORMS = ("html", "latex", "markdown", "svg", "pdf")
report_app = typer.Typer()
"""Mounted without a name: its verb stands beside the others."""


@report_app.command()
def report(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Names of studies in the store, or their files.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write, or the folder of svg and pdf; default: report.html, figures/, standard output for tables.",
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="html (default): a page; latex, markdown: tables; svg, pdf: each figure as a file (needs the extra figures).",
        ),
    ] = "",
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="PAPER.tex", help=r"Say which \ablate{KEY}{NUMBER} of a paper no longer match the store; writes nothing."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --check: one JSON document on standard output, and nothing else there.")
    ] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Write studies as one page that opens offline, as tables or as figures; or check a paper's numbers against the store.

    --check ends with 0 where all marked numbers match, 1 where some do not, 2 where the paper cannot be read or has no marks.
    """
    from ablate.conclude import study_report

    if check is not None and (form or output is not None):
        raise InputError("--check reads a paper and writes nothing; leave out --format and --output")
    if as_json and check is None:
        raise InputError("--json is for --check; `ablate effects STUDY --json` has a study's numbers")
    if form and form not in FORMS:
        raise InputError(f"unknown format '{form}' ({', '.join(FORMS)}){did_you_mean(form, FORMS)}")
    opened = open_store_of(workspace, store)
    reports = [study_report(opened, name) for name in dict.fromkeys(study_names_of(studies))]
    if check is not None:
        _check(check, reports, as_json=as_json)
    elif form in ("svg", "pdf"):
        _write_figures(reports, output or FIGURES, "svg" if form == "svg" else "pdf")
    else:
        _write_text(reports, output, form or "html")


def _check(paper: Path, reports: "list[StudyReport]", *, as_json: bool) -> None:
    from ablate.paper_check import check_paper
    from ablate.paper_marks import read_marks
    from ablate.paper_numbers import paper_numbers

    found = check_paper(read_marks(paper), numbers=paper_numbers(reports), studies={report.study for report in reports})
    if as_json:
        print_json(found.to_json())
    else:
        print(*found.wrong, *(f"{line} (not checked)" for line in found.not_read), found.summary, sep="\n")
    raise typer.Exit(1 if found.wrong else 0)


def _write_figures(reports: "list[StudyReport]", folder: Path, form: Literal["svg", "pdf"]) -> None:
    from ablate.figure_files import write_figures

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: figures go into a folder, and this is a file; name another with -o")
    print(*(f"wrote {path}" for path in write_figures(reports, folder=folder, form=form)), sep="\n")


def _write_text(reports: "list[StudyReport]", output: Path | None, form: str) -> None:
    text = _text_of(reports, form)
    if output is None and form != "html":
        sys.stdout.write(text)
        return
    path = output or PAGE
    if path.is_dir():
        raise InputError(f"{path}: a folder; name the file to write, such as {path / PAGE}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_now(path, text.encode())
    print(f"wrote {path}")


def _text_of(reports: "list[StudyReport]", form: str) -> str:
    if form == "html":
        from ablate.report_page import render_report

        return render_report(reports)
    from ablate.paper_tables import latex_tables, markdown_tables

    return latex_tables(reports) if form == "latex" else markdown_tables(reports)
