"""Arguments and options that several commands share, and how the first of them are told apart."""

from pathlib import Path
from typing import Annotated

import typer

from drp.runs import layout


def _recipes(incomplete: str) -> list[str]:
    """Return what a recipe's name may go on with: recipes of the package, files and folders here."""
    from drp.recipe.shipped import shipped_recipes

    here = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    files = [f"{p}/" if p.is_dir() else str(p) for p in here.glob("*") if p.is_dir() or p.suffix == ".yaml"]
    return [n for n in (*(r.name for r in shipped_recipes()), *sorted(files)) if n.startswith(incomplete)]


RecipePath = Annotated[
    str | None,
    typer.Argument(
        help="A recipe of the package, such as mini (`drp recipes` lists them), a file (YAML), or a run folder, for its own. "
        "Left out: that of --out.",
        show_default=False,
        autocompletion=_recipes,
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe: section.field=value …", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Run folder; default runs/<recipe name>.", show_default=False)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="At most this many problems per problem set.", show_default=False),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Go on without the items of a stage that failed and are still owed.")
]
Counter = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", help="Folder or hub id: counts tokens where a file has no counts.", show_default=False
    ),
]

Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        help="Teacher, instead of the recipe's: KIND, or KIND/PROTOCOL such as edit_script/json.",
        show_default=False,
    ),
]

Gpu = Annotated[
    str,
    typer.Option(
        "--gpu",
        help="h200, h100, a100-80, a100-40, l40s, a10, l4, rtx4090, rtx3090, cpu, or memory=GIB,bandwidth=TB_PER_S,flops=TFLOPS.",
    ),
]
PricePerHour = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        min=0,
        help="Dollars for an hour of one GPU; default the table's.",
        show_default=False,
    ),
]


def named(
    recipe: str | None, overrides: list[str] | None, teacher: str | None = None
) -> tuple[str | None, list[str]]:
    """Tell a recipe from the first change to one, where only changes were given; a named teacher is the last change."""
    changes = list(overrides or [])
    if teacher:
        from drp.recipe.naming import named_teacher

        changes += named_teacher(teacher)
    return (None, [recipe, *changes]) if recipe is not None and "=" in recipe else (recipe, changes)


def recipe_of(
    recipe: str | None, overrides: list[str] | None, out: Path | None
) -> tuple[str | None, list[str]]:
    """Return the recipe that was named and the changes to it; without one, ``out`` must have its own."""
    recipe, changes = named(recipe, overrides)
    if recipe is None and (out is None or not (out / layout.RECIPE).exists()):
        raise typer.BadParameter("name a recipe, or give --out a run folder that has one (recipe.json)")
    return recipe, changes
