"""``drp export``: the training set for other trainers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from drp.cli.options import Overrides


def export(
    source: Annotated[Path, typer.Argument(help="Run folder, or JSONL of pruned traces.")],
    form: Annotated[str, typer.Option("--format", help="trl, sharegpt, llamafactory or parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    overrides: Overrides = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Recipe; default: the run's own, or the defaults.", show_default=False),
    ] = None,
) -> None:
    """Write pruned traces as TRL, LLaMA-Factory or others read them: what `drp train` trains on, or Parquet with every edit."""
    from drp import api

    kind: Any = form
    found = api.export(source, kind, out, recipe=recipe, overrides=overrides or [])
    typer.echo(f"{found.rows:,} rows: {found.data}")
    for reason, count in found.left_out.items():
        typer.echo(f"left out: {count:,} {reason}")
    for note in found.notes:
        typer.echo(f"note: {note}")
