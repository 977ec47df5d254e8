"""The control: the student's own right traces, unpruned. What it gains, rejection sampling gains."""

from drp.methods.base import Method, Workshop, of_trace, usable
from drp.records import Target
from drp.runs.layout import GENERATE, TRAIN


def targets(work: Workshop) -> list[Target]:
    """Return the student's closed and right traces."""
    return [of_trace(trace) for trace in work.traces() if usable(trace)]


METHOD = Method("self", (GENERATE, TRAIN), "fine-tune on own right traces, unpruned", targets)
