"""The recipe: one strict description of a run, its settings and how it is read."""

from drp.recipe.loading import RecipeSource, load_recipe
from drp.recipe.settings import (
    PROTOCOLS,
    EndpointSettings,
    PromptSettings,
    PruneSettings,
    Recipe,
    StudentEndpointSettings,
    StudentSettings,
    defining_pruning,
)
from drp.runs.fingerprints import defining

__all__ = [
    "PROTOCOLS",
    "EndpointSettings",
    "PromptSettings",
    "PruneSettings",
    "Recipe",
    "RecipeSource",
    "StudentEndpointSettings",
    "StudentSettings",
    "defining",
    "defining_pruning",
    "load_recipe",
]
