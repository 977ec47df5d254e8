"""Teachers that know nothing of the steps: what every other teacher must be better than.

`first_conclusion` cuts after the first sentence that concludes; `random_units` leaves out a share of the units, wherever they
stand. Neither means to pass the checks about steps; those are recorded and not required.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Literal

from pydantic import Field

from drp.pruning.checks import CHECK_MEANING
from drp.pruning.conclusion import Goal, conclude
from drp.pruning.skills import classify
from drp.records import Edit, EditScript, Trace
from drp.teachers.base import Proposal, SingleProposal
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings, ready
from drp.text.answers import final_answer, normalise

Keeps = Callable[[Trace, Sequence[str]], Sequence[bool]]
"""Which units of a trace stay."""


class FirstConclusionSettings(TeacherSettings):
    """Cuts a trace after the first sentence that states the answer: no teacher at all."""

    kind: Literal["first_conclusion"] = "first_conclusion"

    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher."""
        _ = context
        return ready(Control(self.kind, _until_concluded))


class RandomUnitsSettings(TeacherSettings):
    """Leaves out units at random."""

    kind: Literal["random_units"] = "random_units"
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the units that goes; the last one stays."""

    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher."""
        _ = context
        return ready(Control(self.kind, self._drawn))

    def _drawn(self, trace: Trace, units: Sequence[str]) -> list[bool]:
        drawn = random.Random(trace.id)
        return [drawn.random() >= self.share for _ in units[:-1]] + [True]


class Control(SingleProposal):
    """A teacher that decides which units stay, and nothing else.

    Args:
        name: Its name in records.
        keeps: Which units stay.
    """

    exempt = frozenset(CHECK_MEANING) - {"shorter"}

    def __init__(self, name: str, keeps: Keeps) -> None:
        self.name, self._keeps = name, keeps

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        kept = self._keeps(trace, units)
        edits: list[Edit] = []
        for keep, run in groupby(range(len(units)), key=lambda index: kept[index]):
            indices = list(run)
            first, last = indices[0], indices[-1]
            edits.append(
                Edit(
                    first=first,
                    last=last,
                    action="keep" if keep else "delete",
                    skills=(classify("".join(units[first : last + 1])),),
                    reason=None if keep else f"a control: {self.name}",
                )
            )
        return Proposal(script=EditScript(units=len(units), edits=tuple(edits)))


def _until_concluded(trace: Trace, units: Sequence[str]) -> list[bool]:
    """Keep what stands before the first conclusion, and all where there is none."""

    def alike(answer: str, gold: str) -> bool:
        return normalise(final_answer(answer) or answer) == normalise(gold)

    goal = Goal(trace.question, trace.gold, trace.answer, alike)
    end = next((i for i in range(len(units)) if conclude(units[: i + 1], goal).at == i), len(units) - 1)
    return [index <= end for index in range(len(units))]
