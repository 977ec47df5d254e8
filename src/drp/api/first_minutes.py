"""Verbs of the first minutes: which recipes there are, what this machine has, a recipe to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
