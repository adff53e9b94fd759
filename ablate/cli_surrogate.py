"""The verb `surrogate`: recorded trials become a response surface that stands for their trainer. Heavy libraries are imported by it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ablate.arguments import WORKSPACE, Folder, Json, StoreUrl, open_store_of, print_json, study_names_of
from ablate.errors import InputError

surrogate_app = typer.Typer()
"""Mounted without a name: its verb stands beside the others."""


@surrogate_app.command("surrogate")
def surrogate(
    studies: Annotated[
        list[str],
        typer.Argument(metavar="STUDY...", help="Names of studies in the store, or their files; several of one trainer make one surface."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the surface, for trainer: surrogate.")
    ] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Fit a response surface to finished trials, say its error on trials left out, and write it as a simulated trainer."""
    for library in ("OPENBLAS", "OMP", "MKL"):  # before numpy is loaded: its threads only wait for one another on fits so small
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from ablate.surface import to_json
    from ablate.surface_fit import fit_surface
    from ablate.tables import write_new
    from ablate.terminal_surrogate import show_surface

    if output and output.exists():
        raise InputError(f"{output} exists already; move it away, or name another file")
    surface = fit_surface(open_store_of(workspace, store), study_names_of(studies))
    if output:
        write_new(to_json(surface), output)
    if as_json:
        print_json(surface.summary())
        return
    show_surface(surface)
    if output:
        print(f"\nwrote {output}; a study becomes simulated with\n  trainer: surrogate\n  surrogate: {{file: {output}}}")
