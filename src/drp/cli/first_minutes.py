"""``drp recipes``, ``drp init``, ``drp doctor``: what a newcomer asks first."""

from typing import Annotated

import typer


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
