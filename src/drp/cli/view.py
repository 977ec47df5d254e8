"""``drp view``: the page of one run or several, opened where there is somebody to look at it."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def view(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The page; default RUN/report/report.html, or view.html there.", show_default=False
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open it in the browser, if this is a terminal.")
    ] = True,
) -> None:
    """Write one page of runs: figures, every trace with what was done to it, completions side by side; needs no network."""
    from drp import api

    page = api.view(list(runs), out=out)
    typer.echo(f"page: {page}")
    if show and sys.stdout.isatty():
        webbrowser.open(page.resolve().as_uri())
