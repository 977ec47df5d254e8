"""Teacher ``direct``: a strong model's own short solutions, the paper's baseline."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from drp.engines.base import Message
from drp.errors import TeacherError
from drp.records import Edit, Trace
from drp.teachers.base import Complaint, Proposal
from drp.teachers.llm import Edited, LlmSettings, LlmTeacher, Session, load_prompt, user
from drp.teachers.load import CHARS_PER_TOKEN, DIRECT_TOKENS, Call, Lengths
from drp.teachers.parts import Part, Span, fenced
from drp.teachers.reading import read_reply
from drp.teachers.registry import Writes
from drp.teachers.replies import ReplyStore
from drp.text.answers import boxed

PROMPT = "direct.v2.txt"
ROOM = 2_000
"""Tokens for a solution; one that is cut off goes on."""


class DirectSettings(LlmSettings):
    """A language model's own solution in place of a trace."""

    kind: Literal["direct"] = "direct"

    prunes: ClassVar[bool] = False
    writes: ClassVar[Writes] = "always"
    protocols: ClassVar[Mapping[str, Mapping[str, str]]] = {}

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
        return [self.call(PROMPT, 1, lengths.question, DIRECT_TOKENS * CHARS_PER_TOKEN)]


class DirectTeacher(LlmTeacher):
    """Replaces a trace by the teacher's own short solution; keeps nothing of the student's."""

    exempt = frozenset({"shorter", "own_share", "reflection", "numbers_grounded"})

    def spans(self, units: Sequence[str]) -> list[Span]:
        """Return the whole trace as one part: a solution does not depend on it."""
        return [(0, len(units) - 1)]

    async def edit(self, session: Session, part: Part) -> Edited:
        """Return one solution; see :class:`drp.teachers.llm.LlmTeacher`."""
        system = Message(role="system", content=load_prompt(PROMPT))
        turns = (system, user(fenced("question", part.trace.question)))
        text, final = await read_reply(session, turns, ROOM, _solution)
        edit = Edit(first=part.first, last=part.last, action="rewrite", skills=("direct",), text=text)
        return Edited([edit], f"The answer is \\boxed{{{final}}}.")

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return ``None``: a wrong solution is not mended by arguing."""
        _ = trace, units, proposal, complaints
        return None


def _solution(reply: str) -> tuple[str, str]:
    """Return a solution and the answer it ends on."""
    final = boxed(reply)
    if final is None:
        raise TeacherError("the solution has no \\boxed{} answer", kind="no_answer", raw=reply)
    return reply.strip(), final
