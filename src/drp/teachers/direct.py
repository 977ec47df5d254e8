"""Teacher ``direct``: a strong model's own short solutions, the paper's baseline."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from drp.errors import TeacherError
from drp.records import Edit, EditScript, Trace
from drp.teachers.base import Proposal
from drp.teachers.llm import LlmSettings, LlmTeacher, Session, fenced, load_prompt, user
from drp.teachers.load import CHARS_PER_TOKEN, DIRECT_TOKENS, Call, Lengths
from drp.teachers.registry import Writes
from drp.teachers.replies import ReplyStore
from drp.teachers.whole import whole_reply
from drp.text.answers import boxed


class DirectSettings(LlmSettings):
    """A language model's own solution in place of a trace."""

    kind: Literal["direct"] = "direct"

    prunes: ClassVar[bool] = False
    writes: ClassVar[Writes] = "always"

    @property
    def name(self) -> str:
        """Protocol and model."""
        return f"{self.kind}/{self.model}"

    def teacher(self, store: ReplyStore, *, write_answer: bool) -> "DirectTeacher":
        """Return the protocol."""
        return DirectTeacher(store, self, write_answer=write_answer)

    def calls(self, lengths: Lengths, *, writes_answer: bool) -> list[Call]:
        """Return what one solution takes, however long the trace is."""
        _ = writes_answer
        return [self.call("direct.v1.txt", 1, lengths.question, DIRECT_TOKENS * CHARS_PER_TOKEN)]


class DirectTeacher(LlmTeacher):
    """Replaces a trace by the teacher's own short solution; keeps nothing of the student's."""

    exempt = frozenset({"shorter", "own_share", "reflection", "numbers_grounded"})

    async def propose(
        self,
        trace: Trace,
        units: Sequence[str],
        session: Session,
        earlier: EditScript | None,
        complaints: Sequence[str],
    ) -> Proposal:
        """Return one solution; see :class:`drp.teachers.llm.LlmTeacher`."""
        _ = earlier, complaints
        message = user(fenced("question", trace.question))
        completion = await whole_reply(session, load_prompt("direct.v1.txt"), message, 2_000)
        final = boxed(completion.answer)
        if final is None:
            raise TeacherError(
                "the solution has no \\boxed{} answer", kind="no_answer", raw=completion.answer
            )
        text = completion.answer.strip()
        edit = Edit(first=0, last=len(units) - 1, action="rewrite", skills=("direct",), text=text)
        script = EditScript(units=len(units), edits=(edit,))
        return Proposal(script=script, answer=f"The answer is \\boxed{{{final}}}.", usage=session.usage)

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[str]
    ) -> Proposal | None:
        """Return ``None``: a wrong solution is not mended by arguing."""
        _ = trace, units, proposal, complaints
        return None
