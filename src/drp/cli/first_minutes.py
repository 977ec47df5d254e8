"""``drp recipes``, ``drp init``, ``drp doctor``: what a newcomer asks first."""

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
