"""The paper's baseline: the teacher's own short solutions, with nothing of the student's in them."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from drp.methods.base import MethodContext, MethodSettings
from drp.methods.drp import of_pruned
from drp.records import Target
from drp.runs.layout import GENERATE, PRUNE, TRAIN
from drp.runs.on_demand import Mapped, where


class DirectMethodSettings(MethodSettings):
    """Fine-tunes on the teacher's own solutions."""

    kind: Literal["direct"] = "direct"

    stages: ClassVar[tuple[str, ...]] = (GENERATE, PRUNE, TRAIN)
    summary: ClassVar[str] = "fine-tune on the teacher's own solutions"
    learns_solutions: ClassVar[bool] = True
    has_pairs: ClassVar[bool] = True

    def targets(self, context: MethodContext) -> Sequence[Target]:
        """Return the accepted solutions."""
        return Mapped(where(context.pruned(), lambda p: p.accepted), of_pruned)
