"""Verbs of the first minutes: which recipes there are, what this machine has, a recipe to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.jobs import job
from drp.recipe import RecipeSource

if TYPE_CHECKING:
    from drp.findings import Finding
    from drp.recipe.shipped import ShippedRecipe


def recipes() -> list[ShippedRecipe]:
    """Return the recipes that come with the package; :func:`run` takes their names.

    Examples:
        >>> [recipe.name for recipe in drp.recipes()][:2]
        ['demo', 'mini']
        >>> drp.plan("mini")[0]
        'recipe mini: method drp'
    """
    from drp.recipe.shipped import shipped_recipes

    return shipped_recipes()


def doctor(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
) -> list[Finding]:
    """Return what this machine has and lacks, for a recipe where one is named: packages, GPU, keys, endpoint, template, limits.

    Nothing is run, fetched or paid, and torch is not loaded. What would stop a run has the state ``problem``.

    Args:
        recipe: As for :func:`run`; left out, and without ``out``: the machine alone.
        overrides: As for :func:`run`.
        out: As for :func:`run`.
        limit: As for :func:`run`.

    Examples:
        >>> found = drp.doctor("mini")
        >>> [look.what for look in found if look.state == "problem"]
        []
        >>> next(look.detail for look in found if look.what == "template")[:37]
        'keeps thinking: opens the thinking it'
    """
    from drp.checkup import checkup

    if recipe is None and out is None and not overrides:
        return checkup()
    return checkup(*job(recipe, overrides, out), limit)
