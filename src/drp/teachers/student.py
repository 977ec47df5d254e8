"""The student as its own teacher: a step goes if what follows is no less likely to the student without it.

No language model, no key, no rules about what is needed: :mod:`drp.teachers.walk` measures that. Rules only name the
skills and say which units may go together.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby
from typing import ClassVar, Literal, cast

from pydantic import Field

from drp.engines.scoring import Passage, Scorer, Spelling
from drp.engines.student_scoring import open_student
from drp.errors import TeacherError
from drp.pruning.apply import apply_script
from drp.pruning.skills import classify, reflection_count
from drp.records import Action, Check, Edit, EditScript, Trace
from drp.teachers.base import Complaint, Proposal, SingleProposal
from drp.teachers.counting import Counting, counting
from drp.teachers.late_corrections import Mended, mend
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings
from drp.teachers.spans import read_spans
from drp.teachers.walk import Fall, Limits, Outcome, Text, Walk
from drp.text.answers import final_answer, normalise
from drp.text.equations import find_equations

ANSWERS = "student_answers"
"""The figure, and the check, that says whether the student, going on after its pruned thinking, still gives the answer."""
Solves = Callable[[str, Trace], bool]
"""Whether an answer part states the gold answer of a trace's problem."""


class StudentTeacherSettings(TeacherSettings):
    """The student itself, by its own likelihood: no key, no other model."""

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
    window: int = Field(default=4096, ge=0)
    """So many tokens of what follows a stretch are looked at; 0: all, which takes long for traces of 10,000 tokens."""
    mend: bool = True
    """Whether a slip that the trace corrects further on gets the right result in its place, and the correction goes."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""

    loads_student: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, context: TeacherContext) -> AsyncGenerator[OpenTeacher]:
        """Provide the teacher, with the student's weights."""
        scorer, speller = open_student(context.student, context.prompt)
        # All traces at once: what they ask is scored in one batch, and the scorer lets passages wait for memory.
        yield OpenTeacher(StudentTeacher(self, scorer, speller, context.solves), None)


class StudentTeacher(SingleProposal):
    """Prunes by the student's own likelihood; deterministic, and many traces at once are scored together.

    Args:
        settings: The limits.
        scorer: Scores with the student's weights.
        spelling: Spells as the student is trained.
        solves: Whether an answer is right; left out, whether it is spelled as the gold answer.
    """

    name = "student"

    def __init__(
        self,
        settings: StudentTeacherSettings,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        self.settings, self.scorer, self.spelling = settings, scorer, spelling
        self._solves = solves or _spelled_alike
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
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return the proposal with its shortest check brought back, if none was left; else what half the coherence leaves."""
        _ = complaints
        script = _with_a_check(units, proposal.script)
        if script is None:
            gentler = await self._proposal(trace, units, self.settings.coherence / 2, 1)
            return None if gentler.script == proposal.script else gentler
        figures = dict(proposal.figures)
        if ANSWERS in figures:
            prompt = self.spelling.prompt(trace.question, trace.task)
            figures[ANSWERS] = float(await self._answers(trace, apply_script(units, script), prompt))
        return Proposal(script=script, figures=figures)

    async def _proposal(self, trace: Trace, units: Sequence[str], coherence: float, passes: int) -> Proposal:
        if not units:
            raise TeacherError("the trace has no units", kind="no_units")
        prompt, settings = self.spelling.prompt(trace.question, trace.task), self.settings
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
        script = _script(units, begun, outcome)
        thinking = apply_script(units, script)
        same = [*prompt, *outcome.ids] == self.spelling.whole(
            trace.question, thinking, trace.answer, trace.task
        )
        figures = {
            "nll_before": round(first.nll_before, 4),
            "nll_after": round(-float(outcome.logprobs.mean()), 4),
            "mended_units": float(sum(a != b for a, b in zip(units, begun.units, strict=True))),
            "spelled_as_trained": float(same),
        }
        if not settings.answer_tokens:
            return Proposal(script=script, figures=figures)
        answers = await self._answers(trace, thinking, prompt)
        check = Check(name=ANSWERS, passed=answers, figures={"answers": answers})
        return Proposal(script=script, figures=figures | {ANSWERS: float(answers)}, checks=(check,))

    async def _walk(self, trace: Trace, begun: Mended, prompt: Sequence[int], coherence: float) -> Outcome:
        limits = Limits(self.settings.support, coherence, self.settings.slack, self.settings.window)
        spans = read_spans(begun.units).among(begun.keep)
        async with self._read(trace, begun.units, prompt, begun.keep) as (text, passage):
            return await Walk(text, passage, self.scorer, self._counts, limits, spans).run()

    @asynccontextmanager
    async def _read(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], keep: Sequence[bool]
    ) -> AsyncGenerator[tuple[Text, Passage]]:
        text = Text(self.spelling, units, prompt, trace.answer, keep)
        self._fits(len(text.ids))
        async with self.scorer.open(text.ids) as passage:
            yield text, passage

    async def _mended(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], coherence: float
    ) -> Mended | None:
        """Return the trace with its corrected slips mended, if the student finds that no less likely."""
        better = mend(units) if self.settings.mend else None
        if better is None:
            return None
        async with self._read(trace, units, prompt, [True] * len(units)) as (old, passage):
            before = passage.logprobs
        async with self._read(trace, better.units, prompt, better.keep) as (new, passage):
            after = passage.logprobs
        fall = sum(old.logprob(before, i) - new.logprob(after, i) for i in [*new.standing, len(units)])
        return better if fall <= coherence else None

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
        if limit <= 0:
            return False
        answer = self.spelling.text(await self.scorer.greedy(start, limit))
        return await asyncio.to_thread(self._solves, answer, trace)


def _spelled_alike(answer: str, trace: Trace) -> bool:
    found = final_answer(answer)
    return found is not None and normalise(found) == normalise(trace.gold)


def _script(units: Sequence[str], begun: Mended, outcome: Outcome) -> EditScript:
    """Return the edit script: units that went together, and kept ones of one skill, are a step each."""
    keep, falls = outcome.keep, outcome.falls
    skills = [classify(unit) for unit in units]

    def step(index: int) -> tuple[object, ...]:
        if not keep[index]:
            return "delete", id(falls[index])
        return ("keep", skills[index]) if begun.units[index] == units[index] else ("rewrite", index)

    edits: list[Edit] = []
    for (action, _), run in groupby(range(len(units)), key=step):
        indices = list(run)
        first, last = indices[0], indices[-1]
        measured = _reason([falls[i] for i in indices])
        edit = Edit(
            first=first,
            last=last,
            action=cast("Action", action),
            skills=(classify("".join(units[first : last + 1])) if action == "delete" else skills[first],),
            text=begun.units[first].strip() if action == "rewrite" else None,
            reason=measured or ("corrects a slip that is mended" if action == "delete" else None),
        )
        edits.append(edit)
    return EditScript(units=len(units), edits=tuple(edits))


def _with_a_check(units: Sequence[str], script: EditScript) -> EditScript | None:
    """Return the script with the shortest deleted check kept, if no step that is kept reflects; else ``None``.

    To the student a check is hardly worth a nat, whichever it is: its habit of checking is not seen in one trace.
    """

    def text(edit: Edit) -> str:
        return edit.text or "".join(units[edit.first : edit.last + 1])

    if any(reflection_count(text(edit)) for edit in script.edits if edit.action != "delete"):
        return None
    checks = [e for e in script.edits if e.action == "delete" and e.skills == ("verification",)]
    sound = [e for e in checks if all(equation.holds for equation in find_equations(text(e)))]
    if not sound:
        return None
    chosen = min(sound, key=lambda edit: len(text(edit)))
    kept = chosen.model_copy(update={"action": "keep", "reason": "the student's habit of checking"})
    return script.model_copy(update={"edits": tuple(kept if e is chosen else e for e in script.edits)})


def _reason(falls: Sequence[Fall | None]) -> str | None:
    """Say what was measured: "support 0.12, coherence 3.4 nats"; of a kept step, of the unit that is missed most."""
    known = [fall for fall in falls if fall is not None and fall.support != float("inf")]
    if not known:
        return None
    worst = max(known, key=lambda fall: (fall.support, fall.coherence))
    least = "" if worst.complete else "at least "
    return f"support {least}{worst.support:.2f}, coherence {least}{worst.coherence:.1f} nats"
