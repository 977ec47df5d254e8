"""The control: the student's own right traces, unpruned. What it gains, rejection sampling gains."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from drp.methods.base import MethodContext, MethodSettings, of_trace, usable
from drp.records import Target
from drp.runs.on_demand import Mapped, where


class SelfSettings(MethodSettings):
    """Fine-tunes on the student's own right traces as they are."""

    kind: Literal["self"] = "self"

    summary: ClassVar[str] = "fine-tune on own right traces, unpruned"

    def targets(self, context: MethodContext) -> Sequence[Target]:
        """Return the student's closed and right traces."""
        return Mapped(where(context.traces(), usable), of_trace)
