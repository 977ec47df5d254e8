"""DRP itself: the student's own traces, pruned step by step."""

from drp.methods.base import Method, Workshop
from drp.records import Target
from drp.runs.layout import GENERATE, PRUNE, TRAIN


def targets(work: Workshop) -> list[Target]:
    """Return the accepted pruned traces."""
    return [
        Target(
            id=p.id, question=p.question, thinking=p.thinking, answer=p.answer,
            own_thinking=p.original_thinking, own_answer=p.original_answer,
        )
        for p in work.pruned()
        if p.accepted
    ]  # fmt: skip


METHOD = Method("drp", (GENERATE, PRUNE, TRAIN), "fine-tune on pruned traces", targets)
