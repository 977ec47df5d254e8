"""``drp push``: what a run gives to others, as folders and on the hub."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    repo: Annotated[
        str | None,
        typer.Option(
            help="ORG/NAME on the hub; with several parts, the adapter's and the data set's names get -adapter and -traces.",
            show_default=False,
        ),
    ] = None,
    what: Annotated[
        list[str] | None,
        typer.Option(
            help="adapter, model or dataset; may be repeated. Left out: all there is.", show_default=False
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make new repositories private.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write everything to RUN/push and upload nothing.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="ORG/NAME of the student, where the run had it in a folder.", show_default=False),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", help="Licence, if not the student's or not known.", show_default=False),
    ] = None,
) -> None:
    """Push a run's adapter, merged model and pruned traces to the Hugging Face hub, with cards that say what was measured."""
    from drp import api

    if repo is None and not dry_run:
        raise typer.BadParameter("name a repository, or add --dry-run", param_hint="--repo")
    pushed = api.push(
        run, repo, what or (), private=private, dry_run=dry_run, base=base, licence=license_, say=typer.echo
    )
    for part in pushed.parts:
        where = part.url or f"not uploaded{f', for {part.repo}' if part.repo else ''}"
        typer.echo(f"{part.part}: {part.folder} ({part.files} files, {part.size / 1e6:,.1f} MB): {where}")
    for note in pushed.notes:
        typer.secho(f"note: {note}", fg="yellow", err=True)
