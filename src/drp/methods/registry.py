"""Finding the method that a recipe names."""

from drp.methods import cot_valve, direct, drp, self_training, tale, think_prune
from drp.methods.base import Method
from drp.recipe import Recipe

METHODS: dict[str, Method] = {
    m.name: m for m in (drp.METHOD, self_training.METHOD, direct.METHOD, cot_valve.METHOD, think_prune.METHOD)
}


def method_of(recipe: Recipe) -> Method:
    """Return the method of a recipe."""
    if recipe.method == "tale":
        return tale.TUNED if recipe.tale.tuned else tale.PROMPTED
    return METHODS[recipe.method]
