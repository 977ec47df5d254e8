"""DRP itself: the student's own traces, pruned step by step."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from drp.methods.base import MethodContext, MethodSettings
from drp.records import PrunedTrace, Target
from drp.runs.layout import GENERATE, PRUNE, TRAIN
from drp.runs.on_demand import Mapped, where


class DrpSettings(MethodSettings):
    """Fine-tunes on the student's own traces, pruned."""

    kind: Literal["drp"] = "drp"

    stages: ClassVar[tuple[str, ...]] = (GENERATE, PRUNE, TRAIN)
    summary: ClassVar[str] = "fine-tune on pruned traces"
    has_pairs: ClassVar[bool] = True

    def targets(self, context: MethodContext) -> Sequence[Target]:
        """Return the accepted pruned traces."""
        return Mapped(where(context.pruned(), lambda p: p.accepted), of_pruned)


def of_pruned(pruned: PrunedTrace) -> Target:
    """Return a pruned trace as a target."""
    return Target(
        id=pruned.id,
        question=pruned.question,
        thinking=pruned.thinking,
        answer=pruned.answer,
        own_thinking=pruned.original_thinking,
        own_answer=pruned.original_answer,
        task=pruned.task,
    )
