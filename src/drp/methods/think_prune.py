"""ThinkPrune: GRPO on problems alone; completions that have not ended by a tightening limit score nothing.

With ``rl.length_weight`` right completions also score more the shorter they are, and started from a pruned student
(``student.model`` of an earlier run) this is the refinement by RL that the paper names as future work.
"""

from drp.methods.base import Method
from drp.recipe import Recipe, defining
from drp.runs.layout import TRAIN


def _defining(recipe: Recipe) -> object:
    return defining(recipe.rl)


METHOD = Method("think_prune", (TRAIN,), "reinforce on problems with a limit on length", defining=_defining)
