"""The recipe: one strict description of a run, its settings and how it is read."""

from drp.engines.settings import PromptSettings, StudentSettings
from drp.recipe.loading import RecipeSource, load_recipe
from drp.recipe.settings import PROTOCOLS, PruneSettings, Recipe, defining_pruning
from drp.runs.fingerprints import defining

__all__ = [
    "PROTOCOLS",
    "PromptSettings",
    "PruneSettings",
    "Recipe",
    "RecipeSource",
    "StudentSettings",
    "defining",
    "defining_pruning",
    "load_recipe",
]
