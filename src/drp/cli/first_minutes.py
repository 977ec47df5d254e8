"""``drp recipes``, ``drp init``, ``drp doctor``: what a newcomer asks first."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from drp.cli.options import Limit, Out, Overrides, RecipePath, named


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Print this one, to change it: drp recipes mini > my.yaml", show_default=False),
    ] = None,
) -> None:
    """List the recipes that come with the package; `drp run NAME` takes them in any folder."""
    from drp import api

    found = api.recipes()
    if name is None:
        width = max(len(recipe.name) for recipe in found)
        for recipe in found:
            typer.echo(f"{recipe.name:<{width}}  {recipe.about}")
        return
    chosen = next((recipe for recipe in found if recipe.name == name), None)
    if chosen is None:
        raise typer.BadParameter(f"there is no recipe {name!r}; `drp recipes` lists them")
    typer.echo(chosen.path.read_text(encoding="utf-8"), nl=False)


_COLOURS = {"ok": "green", "problem": "red", "warning": "yellow", "unknown": "bright_black"}


def doctor(
    recipe: RecipePath = None, overrides: Overrides = None, out: Out = None, limit: Limit = None
) -> None:
    """Look at this machine, and at what a recipe needs: packages, GPU, keys, endpoint, template, limits; say how to mend it."""
    from drp import api

    recipe, changes = named(recipe, overrides)
    found = api.doctor(recipe, changes, out=out, limit=limit)
    width = max(len(look.what) for look in found)
    for look in found:
        typer.echo(
            f"{typer.style(f'{look.sign:<9}', fg=_COLOURS[look.state])} {look.what:<{width}}  {look.detail}"
        )
        if look.mend:
            typer.echo(f"{'':<{width + 12}}→ {look.mend}")
    stops = sum(look.state == "problem" for look in found)
    doubts = sum(look.state == "warning" for look in found)
    if stops:
        typer.echo(f"{stops} problem(s) to mend, {doubts} warning(s)")
        raise typer.Exit(1)
    typer.echo(f"nothing that is needed is missing; {doubts} warning(s)")


def init(
    out: Annotated[
        Path, typer.Option("--out", help="The recipe to write; one that exists is not touched.")
    ] = Path("recipe.yaml"),
    student: Annotated[
        str | None, typer.Option(help="mini, a checkpoint folder, or a hub id.", show_default=False)
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option(help="To train on: a benchmark, a JSONL file, or a hub id.", show_default=False),
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="To evaluate on, the same; may stand again.", show_default=False)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="student, rules, edit_script or another, or KIND:MODEL.", show_default=False),
    ] = None,
    teacher_url: Annotated[
        str | None,
        typer.Option(help="Where that model is served: http://localhost:8000/v1", show_default=False),
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0, help="GB of the GPU it will run on.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is suggested.")] = False,
) -> None:
    """Write a commented recipe to begin with: asks on a terminal, takes options elsewhere; looks how the student thinks."""
    from drp import api

    def ask(question: str, suggested: str) -> str:
        return str(typer.prompt(question, default=suggested))

    person = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    begun = api.init(
        out,
        student=student,
        problems=problems,
        benchmarks=benchmark or (),
        teacher=teacher,
        teacher_url=teacher_url,
        gpu_memory=gpu_memory,
        ask=ask if person else None,
    )
    for note in begun.notes:
        typer.echo(f"note: {note}")
    typer.echo(
        f"wrote {begun.path}; next:\n  drp doctor {begun.path}\n  drp run {begun.path} --limit 20\n  drp run {begun.path}"
    )
