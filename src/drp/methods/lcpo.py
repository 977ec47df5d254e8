"""LCPO: of several own traces of a problem that are all right, the shortest is preferred to the longest (arXiv 2508.10164).

The loss, ``train.objective=lcpo``, is in `drp.training.preferring`. The paper's 0.8 k pairs and 50 steps are ``train.max_examples=800,
epochs=1, effective_batch=16``; it draws 16 traces of each problem and trains on those whose traces are all right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from pydantic import Field

from drp.errors import TrainingError
from drp.methods.base import MethodContext, MethodSettings, of_trace, tokens_of, usable
from drp.records import Target, Trace
from drp.runs.on_demand import Mapped


class LcpoSettings(MethodSettings):
    """Prefers the student's own shortest right trace of a problem to its longest."""

    kind: Literal["lcpo"] = "lcpo"
    pass_rate: float = Field(default=1.0, gt=0, le=1)
    """Least share of a problem's traces that must be right; 1, the paper's, takes only problems that the student masters."""

    summary: ClassVar[str] = "prefer the shortest of several right traces to the longest"
    has_pairs: ClassVar[bool] = True
    least_samples: ClassVar[int] = 2
    needs_pairs: ClassVar[bool] = True

    def targets(self, context: MethodContext) -> Sequence[Target]:
        """Return the shortest right trace of each problem, with the longest as the student's own.

        Raises:
            TrainingError: No problem has two right traces of different lengths.
        """
        traces, found = context.traces(), dict[str, _Drawn]()
        for index, trace in enumerate(traces):
            found.setdefault(trace.problem_id, _Drawn()).add(index, trace)
        kept = [drawn for drawn in found.values() if drawn.pass_rate >= self.pass_rate and drawn.differ]
        if not kept:
            raise TrainingError(
                f"no pair to train on: of {len(found)} problems none has a pass rate of method.pass_rate={self.pass_rate:g} or more "
                "and right traces of different lengths. Raise generate.samples, or lower method.pass_rate"
            )
        return Mapped(kept, partial(_pair, traces))


@dataclass
class _Drawn:
    """What is known of a problem's traces, of which only two are looked at again."""

    count: int = 0
    right: int = 0
    shortest: tuple[int, int] | None = None
    """Its tokens and its place among the traces."""
    longest: tuple[int, int] | None = None

    def add(self, index: int, trace: Trace) -> None:
        """Take one more into account."""
        self.count += 1
        if usable(trace):
            self.right += 1
            seen = (tokens_of(trace), index)
            self.shortest = min(self.shortest or seen, seen)
            self.longest = max(self.longest or seen, seen)

    @property
    def pass_rate(self) -> float:
        """Share of right traces."""
        return self.right / self.count

    @property
    def differ(self) -> bool:
        """Whether there are a shorter and a longer one."""
        return bool(self.shortest and self.longest and self.shortest[0] < self.longest[0])


def _pair(traces: Sequence[Trace], drawn: _Drawn) -> Target:
    assert drawn.shortest and drawn.longest
    shortest, longest = traces[drawn.shortest[1]], traces[drawn.longest[1]]
    # Which the other one is defines the training too, and grows with the samples.
    return of_trace(shortest, longest).model_copy(update={"id": f"{shortest.id}/{longest.id}"})
