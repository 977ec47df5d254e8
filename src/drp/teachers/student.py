"""The student as its own teacher: a step goes if what follows is no less likely to the student without it.

No language model, no key, no rules about what is needed: :mod:`drp.teachers.walk` measures that. Rules only name the
skills and say which units may go together.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from drp.engines.scoring import Scorer, Spelling
from drp.records import Trace
from drp.teachers.base import Complaint, Proposal
from drp.teachers.by_student import ANSWERS, ByStudent, ByStudentSettings, Choice, Solves
from drp.teachers.counting import Counting, counting
from drp.teachers.late_corrections import Mended, mend
from drp.teachers.spans import read_spans
from drp.teachers.walk import Limits, Outcome, Walk

__all__ = ["ANSWERS", "StudentTeacher", "StudentTeacherSettings"]


class StudentTeacherSettings(ByStudentSettings):
    """The student itself, by its own likelihood: no key, no other model."""

    kind: Literal["student"] = "student"
    coherence: float = Field(default=4.0, ge=0)
    """Most nats by which all that follows may fall without a stretch that goes: from 4 (gentle) to 20 (short)."""
    support: float = Field(default=0.5, ge=0)
    """Most nats by which the mathematics in what follows may fall."""
    tokens: Counting = "digits"
    """Which tokens are mathematics: those with a digit; those of formulas too; or all."""
    passes: int = Field(default=1, ge=1, le=4)
    """How often to walk through what is left: what supported only what went is dead now."""
    slack: float = Field(default=2.0, ge=0)
    """A stretch is given up early once it is so many nats beyond a limit; more costs time and changes little."""
    window: int = Field(default=4096, ge=0)
    """So many tokens of what follows a stretch are looked at; 0: all, which takes long for traces of 10,000 tokens."""
    mend: bool = True
    """Whether a slip that the trace corrects further on gets the right result in its place, and the correction goes."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""

    def teacher(self, scorer: Scorer, spelling: Spelling, solves: Solves | None) -> ByStudent:
        """Return the teacher."""
        return StudentTeacher(self, scorer, spelling, solves)


class StudentTeacher(ByStudent):
    """Prunes by the fall of all that follows a stretch; see :class:`drp.teachers.by_student.ByStudent`."""

    def __init__(
        self,
        settings: StudentTeacherSettings,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        super().__init__(settings.kind, settings.answer_tokens, scorer, spelling, solves)
        self.settings, self._counts = settings, counting(settings.tokens, spelling)

    async def choose(self, trace: Trace, units: Sequence[str], prompt: Sequence[int]) -> Choice:
        """Return which units stay, after so many passes; see :class:`ByStudent`."""
        return await self._choose(trace, units, prompt, self.settings.coherence, self.settings.passes)

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return the proposal with its shortest check brought back, if none was left; else what half the coherence leaves."""
        better = await super().repair(trace, units, proposal, complaints)
        if better is not None:
            return better
        prompt = self.spelling.prompt(trace.question, trace.task)
        choice = await self._choose(trace, units, prompt, self.settings.coherence / 2, 1)
        gentler = await self.propose(trace, units, prompt, choice)
        return None if gentler.script == proposal.script else gentler

    async def _choose(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], coherence: float, passes: int
    ) -> Choice:
        begun = await self._mended(trace, units, prompt, coherence) or Mended(
            tuple(units), (True,) * len(units)
        )
        outcome = first = await self._walk(trace, begun, prompt, coherence)
        for _ in range(passes - 1):
            again = await self._walk(trace, Mended(begun.units, tuple(outcome.keep)), prompt, coherence)
            falls = [new or old for new, old in zip(again.falls, outcome.falls, strict=True)]
            done, outcome = again.keep == outcome.keep, replace(again, falls=falls)
            if done:
                break
        known = [fall if fall is None or fall.measured else None for fall in outcome.falls]
        return Choice(begun.units, outcome.keep, known, outcome.ids, outcome.logprobs, first.nll_before)

    async def _walk(self, trace: Trace, begun: Mended, prompt: Sequence[int], coherence: float) -> Outcome:
        limits = Limits(self.settings.support, coherence, self.settings.slack, self.settings.window)
        spans = read_spans(begun.units).among(begun.keep)
        async with self.read(trace, begun.units, prompt, begun.keep) as (text, passage):
            return await Walk(text, passage, self.scorer, self._counts, limits, spans).run()

    async def _mended(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], coherence: float
    ) -> Mended | None:
        """Return the trace with its corrected slips mended, if the student finds that no less likely."""
        better = mend(units) if self.settings.mend else None
        if better is None:
            return None
        async with self.read(trace, units, prompt, [True] * len(units)) as (old, passage):
            before = passage.logprobs
        async with self.read(trace, better.units, prompt, better.keep) as (new, passage):
            after = passage.logprobs
        fall = sum(old.logprob(before, i) - new.logprob(after, i) for i in [*new.standing, len(units)])
        return better if fall <= coherence else None
