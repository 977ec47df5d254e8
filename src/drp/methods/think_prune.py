"""ThinkPrune: GRPO on problems alone; completions that have not ended by a tightening limit score nothing.

With ``length_weight`` right completions also score more the shorter they are, and started from a pruned student
(``student.model`` of an earlier run) this is the refinement by RL that the paper names as future work.
"""

from typing import ClassVar, Literal

from drp.methods.base import MethodSettings
from drp.runs.fingerprints import defining
from drp.runs.layout import TRAIN
from drp.training.settings import GrpoSettings


class ThinkPruneSettings(GrpoSettings, MethodSettings):
    """Reinforces the student on problems with a limit on length. The defaults are ThinkPrune's."""

    kind: Literal["think_prune"] = "think_prune"

    trains_on: ClassVar[Literal["texts", "problems", "nothing"]] = "problems"
    stages: ClassVar[tuple[str, ...]] = (TRAIN,)
    summary: ClassVar[str] = "reinforce on problems with a limit on length"

    @property
    def reinforcement(self) -> GrpoSettings:
        """These settings."""
        return self

    def defining_training(self) -> object:
        """Return all of them; which kind it is stands beside them."""
        return {name: value for name, value in defining(self).items() if name != "kind"}
