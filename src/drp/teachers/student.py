"""The student as its own teacher: a step goes if what follows is no less likely to the student without it.

No language model, no key, no rules about what is needed: :mod:`drp.teachers.walk` measures that. Rules only name the
skills and say which units may go together.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal

from pydantic import Field

from drp.engines.scoring import Scorer, Spelling
from drp.errors import TeacherError
from drp.pruning.apply import apply_script
from drp.pruning.skills import classify
from drp.records import Edit, EditScript, Record, Trace
from drp.teachers.base import Proposal
from drp.teachers.counting import Counting, counting
from drp.teachers.spans import read_spans
from drp.teachers.walk import Fall, Limits, Outcome, Text, Walk
from drp.text.answers import final_answer, normalise

Grade = Callable[[str, str], bool]
"""Whether an answer text states the gold answer."""


class StudentTeacherSettings(Record):
    """Settings of the teacher that asks the student itself."""

    kind: Literal["student"] = "student"
    coherence: float = Field(default=8.0, ge=0)
    """Most nats by which all that follows may fall without a stretch that goes: from 8 (gentle) to 20 (short)."""
    support: float = Field(default=0.5, ge=0)
    """Most nats by which the mathematics in what follows may fall."""
    tokens: Counting = "digits"
    """Which tokens are mathematics: those with a digit; those of formulas too; or all."""
    passes: int = Field(default=1, ge=1, le=4)
    """How often to walk through what is left: what supported only what went is dead now."""
    slack: float = Field(default=2.0, ge=0)
    """A stretch is given up early once it is so many nats beyond a limit; more costs time and changes little."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""


class StudentTeacher:
    """Prunes by the student's own likelihood; deterministic, and many traces at once are scored together.

    Args:
        settings: The limits.
        scorer: Scores with the student's weights.
        spelling: Spells as the student is trained.
        grade: Whether an answer states the gold answer; by default, whether both are spelled alike.
    """

    name = "student"

    def __init__(
        self,
        settings: StudentTeacherSettings,
        scorer: Scorer,
        spelling: Spelling,
        grade: Grade | None = None,
    ) -> None:
        self.settings, self.scorer, self.spelling = settings, scorer, spelling
        self._grade = grade or _spelled_alike
        self._counts = counting(settings.tokens, spelling)

    @property
    def exempt(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        return await self._proposal(trace, units, self.settings.coherence, self.settings.passes)

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[str]
    ) -> Proposal | None:
        """Return what one walk at half the coherence leaves, or ``None`` if that is the same."""
        _ = complaints
        gentler = await self._proposal(trace, units, self.settings.coherence / 2, 1)
        return None if gentler.script == proposal.script else gentler

    async def polish(self, trace: Trace, units: Sequence[str], proposal: Proposal) -> Proposal | None:
        """Return ``None``: nothing is written anew."""
        _ = trace, units, proposal
        return None

    async def _proposal(self, trace: Trace, units: Sequence[str], coherence: float, passes: int) -> Proposal:
        settings = self.settings
        prompt, spans = self.spelling.prompt(trace.question), read_spans(units)
        limits = Limits(settings.support, coherence, settings.slack)
        keep: list[bool] = [True] * len(units)
        falls: list[Fall | None] = [None] * len(units)
        outcome: Outcome | None = None
        before = 0.0
        for number in range(passes):
            text = Text(self.spelling, units, prompt, trace.answer, keep)
            self._fits(len(text.ids))
            async with self.scorer.open(text.ids) as passage:
                if not number:
                    before = -float(passage.logprobs[len(prompt) :].mean())
                outcome = await Walk(text, passage, self.scorer, self._counts, limits, spans).run()
            falls = [new or old for new, old in zip(outcome.falls, falls, strict=True)]
            if outcome.keep == keep:
                break
            keep = outcome.keep
        if outcome is None or not units:
            raise TeacherError("the trace has no units", kind="no_units")
        script = _script(units, keep, falls)
        thinking = apply_script(units, script)
        same = [*prompt, *outcome.ids] == self.spelling.whole(trace.question, thinking, trace.answer)
        figures = {
            "nll_before": round(before, 4),
            "nll_after": round(-float(outcome.logprobs.mean()), 4),
            "spelled_as_trained": float(same),
        }
        if settings.answer_tokens:
            figures["student_answers"] = float(await self._answers(trace, thinking, prompt))
        return Proposal(script=script, figures=figures)

    def _fits(self, tokens: int) -> None:
        context = self.scorer.core.context
        if context and tokens > context:
            raise TeacherError(
                f"the trace has {tokens} tokens, and the student reads at most {context}", kind="too_long"
            )

    async def _answers(self, trace: Trace, thinking: str, prompt: Sequence[int]) -> bool:
        """Return whether the student, going on greedily after the pruned thinking, gives the gold answer."""
        start = [*prompt, *self.spelling.piece(f"{thinking.strip()}\n"), *self.spelling.close]
        context, limit = self.scorer.core.context, self.settings.answer_tokens
        if context:
            limit = min(limit, context - len(start))
        return limit > 0 and self._grade(
            self.spelling.text(await self.scorer.greedy(start, limit)), trace.gold
        )


def _spelled_alike(answer: str, gold: str) -> bool:
    found = final_answer(answer)
    return found is not None and normalise(found) == normalise(gold)


def _script(units: Sequence[str], keep: Sequence[bool], falls: Sequence[Fall | None]) -> EditScript:
    """Return the edit script: units that went together, and kept ones of one skill, are a step each."""
    skills = [classify(unit) for unit in units]

    def step(index: int) -> tuple[object, ...]:
        return (True, skills[index]) if keep[index] else (False, id(falls[index]))

    edits: list[Edit] = []
    for _, run in groupby(range(len(units)), key=step):
        indices = list(run)
        first, last = indices[0], indices[-1]
        action = "keep" if keep[first] else "delete"
        skill = skills[first] if keep[first] else classify("".join(units[first : last + 1]))
        reason = _reason([falls[i] for i in indices], kept=keep[first])
        edits.append(Edit(first=first, last=last, action=action, skills=(skill,), reason=reason))
    return EditScript(units=len(units), edits=tuple(edits))


def _reason(falls: Sequence[Fall | None], *, kept: bool) -> str | None:
    """Say what was measured: "support 0.12, coherence 3.4 nats"; of a kept step, of the unit that is missed most."""
    known = [fall for fall in falls if fall is not None and fall.support != float("inf")]
    if not known:
        return "corrects a slip that stays" if kept else None
    worst = max(known, key=lambda fall: (fall.support, fall.coherence))
    least = "" if worst.complete else "at least "
    return f"support {least}{worst.support:.2f}, coherence {least}{worst.coherence:.1f} nats"
