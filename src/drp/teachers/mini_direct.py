"""The mini world's own short solution: what a strong teacher would write, as one compound expression."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal

from drp.benchmarks.mini_world import expression, parse
from drp.errors import DataError, TeacherError
from drp.records import Edit, EditScript, Trace
from drp.teachers.base import Proposal, SingleProposal
from drp.teachers.direct import DirectTeacher
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings, Writes, ready


class MiniDirectSettings(TeacherSettings):
    """The mini world's generator in place of a strong model; asks nobody."""

    kind: Literal["mini_direct"] = "mini_direct"

    prunes: ClassVar[bool] = False
    writes: ClassVar[Writes] = "always"

    def open(self, context: TeacherContext) -> AbstractAsyncContextManager[OpenTeacher]:
        """Provide the teacher."""
        _ = context
        return ready(MiniDirectTeacher())


class MiniDirectTeacher(SingleProposal):
    """Replaces a trace by the generator's solution; keeps nothing of the student's. Only for the mini world."""

    name = "mini_direct"
    exempt = DirectTeacher.exempt

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return one solution; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        try:
            problem = parse(trace.question)
        except DataError as error:
            raise TeacherError(f"teacher mini_direct: {error}", kind="not_mini") from error
        who = problem.quantities[-1].owner
        subject = f"{who} has" if who else "Together they have"
        text = f"{subject} {expression(problem)} = {problem.gold} {problem.item}."
        edit = Edit(first=0, last=len(units) - 1, action="rewrite", skills=("direct",), text=text)
        script = EditScript(units=len(units), edits=(edit,))
        return Proposal(script=script, answer=f"The answer is \\boxed{{{problem.gold}}}.")
