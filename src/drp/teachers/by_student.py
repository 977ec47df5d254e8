"""What all teachers share that ask the student itself: its weights, how it reads a trace, the guards, and the edit script.

They differ in what they measure of a step and in which steps may go: that is a *judge*'s choice. Everything else is the same,
so that they can be compared.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Protocol, cast

import numpy as np

from drp.engines.scoring import Continuation, Floats, Passage, Scorer, Spelling
from drp.engines.student_scoring import open_student
from drp.errors import TeacherError
from drp.pruning.apply import apply_script
from drp.pruning.reflection import Step, reflective_steps
from drp.pruning.skills import classify
from drp.records import Action, Check, Edit, EditScript, Trace
from drp.teachers.base import Complaint, Proposal, SingleProposal
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings
from drp.teachers.walk import Text
from drp.text.answers import final_answer, normalise
from drp.text.equations import find_equations
from drp.text.units import split_units

ANSWERS = "student_answers"
"""The figure, and the check, that says whether the student, going on after its pruned thinking, still gives the answer."""
Solves = Callable[[str, Trace], bool]
"""Whether an answer part states the gold answer of a trace's problem."""


class Worth(Protocol):
    """What was measured of a step; its text is the reason on record."""

    @property
    def rank(self) -> tuple[float, ...]:
        """What orders steps, the most needed last."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which units stay, and what was measured of each."""

    units: Sequence[str]
    """The units, some of them perhaps mended."""
    keep: Sequence[bool]
    worths: Sequence[Worth | None]
    """The same object for units that were judged together."""
    ids: Sequence[int]
    """The pruned response …"""
    logprobs: Floats
    """… and the log-probability of each of its tokens."""
    nll_before: float
    """NLL per token of the response before, in nats."""


@dataclass(frozen=True)
class Version:
    """A text of which some units may be gone, as the student finds it."""

    text: Text
    logprobs: Floats
    """Of each token, in nats."""
    close: int
    """How many tokens the closing tag has."""

    @property
    def answer(self) -> Floats:
        """Log-probabilities of the answer part, without the closing tag."""
        return self.logprobs[self.text.starts[len(self.text.units)] + self.close :]

    def of(self, units: Sequence[int]) -> Floats:
        """Log-probabilities of units that stand."""
        return np.concatenate([self.logprobs[self.text.place(unit)] for unit in units])


class ByStudentSettings(TeacherSettings):
    """What all teachers share that ask the student.

    Each has its own field ``answer_tokens``, behind its others: fingerprints go by the order of fields.
    """

    loads_student: ClassVar[bool] = True

    @abstractmethod
    def teacher(self, scorer: Scorer, spelling: Spelling, solves: Solves | None) -> "ByStudent":
        """Return the teacher; see :class:`ByStudent`."""

    @asynccontextmanager
    async def open(self, context: TeacherContext) -> AsyncGenerator[OpenTeacher]:
        """Provide the teacher, with the student's weights or its server."""
        scorer, speller = open_student(context.student, context.prompt, context.student_server, context.say)
        # All traces at once: what they ask is scored in one batch, and the scorer lets passages wait for memory.
        yield OpenTeacher(self.teacher(scorer, speller, context.solves), None)


class ByStudent(SingleProposal):
    """Prunes by what the student itself says of a trace; deterministic, and many traces at once are scored together.

    Args:
        name: Its name in records.
        answer_tokens: Most tokens the student may write to show that it still gives the answer; 0: it is not asked.
        scorer: Scores with the student's weights.
        spelling: Spells as the student is trained.
        solves: Whether an answer is right; left out, whether it is spelled as the gold answer.
    """

    exempt: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        answer_tokens: int,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        self.name, self.scorer, self.spelling = name, scorer, spelling
        self._answer_tokens = answer_tokens
        self._solves = solves or _spelled_alike

    @abstractmethod
    async def choose(self, trace: Trace, units: Sequence[str], prompt: Sequence[int]) -> Choice:
        """Return which units of a trace stay, given the ids of its prompt."""

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return the edit script; see :class:`drp.teachers.base.Teacher`."""
        _ = candidate
        prompt = self._prompt(trace, units)
        return await self.propose(trace, units, prompt, await self.choose(trace, units, prompt))

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return the proposal with its shortest check brought back, if none was left."""
        _ = complaints
        script = with_a_check(trace.question, units, proposal.script)
        if script is None:
            return None
        figures = dict(proposal.figures)
        if ANSWERS in figures:
            prompt = self.spelling.prompt(trace.question, trace.task)
            figures[ANSWERS] = float(await self.still_answers(trace, apply_script(units, script), prompt))
        return Proposal(script=script, figures=figures)

    async def propose(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], choice: Choice
    ) -> Proposal:
        """Return a choice as a proposal: its edit script, figures, and whether the student still answers."""
        script = _script(units, choice)
        thinking = apply_script(units, script)
        same = [*prompt, *choice.ids] == self.spelling.whole(
            trace.question, thinking, trace.answer, trace.task
        )
        figures = {
            "nll_before": round(choice.nll_before, 4),
            "nll_after": round(-float(choice.logprobs.mean()), 4),
            "mended_units": float(sum(a != b for a, b in zip(units, choice.units, strict=True))),
            "spelled_as_trained": float(same),
        }
        if not self._answer_tokens:
            return Proposal(script=script, figures=figures)
        answers = await self.still_answers(trace, thinking, prompt)
        check = Check(name=ANSWERS, passed=answers, figures={"answers": answers})
        return Proposal(script=script, figures=figures | {ANSWERS: float(answers)}, checks=(check,))

    @asynccontextmanager
    async def read(
        self, trace: Trace, units: Sequence[str], prompt: Sequence[int], keep: Sequence[bool]
    ) -> AsyncGenerator[tuple[Text, Passage]]:
        """Provide a text, some units of which may be gone, and what the student read of it.

        Raises:
            TeacherError: It is longer than the student's context.
        """
        text = Text(self.spelling, units, prompt, trace.answer, keep)
        self._fits(len(text.ids))
        async with self.scorer.open(text.ids) as passage:
            yield text, passage

    async def version(self, text: Text, passage: Passage, gone: Collection[int]) -> Version:
        """Return a text that was read, as it is when further units are gone; only what differs from it is computed."""
        if gone:
            keep = [i in text.starts and i not in gone for i in range(len(text.units))]
            text = Text(self.spelling, text.units, text.prompt, text.answer, keep)
        logprobs = await continued(self.scorer, passage, text.ids)
        return Version(text, logprobs, len(self.spelling.close))

    def chosen(self, read: Version, left: Version, worths: Sequence[Worth | None]) -> Choice:
        """Return the choice that leaves one version of another."""
        begin, units = len(read.text.prompt), left.text.units
        return Choice(
            units=units,
            keep=[i in left.text.starts for i in range(len(units))],
            worths=worths,
            ids=left.text.ids[begin:],
            logprobs=left.logprobs[begin:],
            nll_before=-float(read.logprobs[begin:].mean()),
        )

    def _prompt(self, trace: Trace, units: Sequence[str]) -> list[int]:
        if not units:
            raise TeacherError("the trace has no units", kind="no_units")
        return self.spelling.prompt(trace.question, trace.task)

    def _fits(self, tokens: int) -> None:
        context = self.scorer.core.context
        if context and tokens > context:
            raise TeacherError(
                f"the trace has {tokens} tokens, and the student reads at most {context}", kind="too_long"
            )

    async def still_answers(self, trace: Trace, thinking: str, prompt: Sequence[int]) -> bool:
        """Return whether the student, going on greedily after the pruned thinking, gives the gold answer."""
        start = [*prompt, *self.spelling.piece(f"{thinking.strip()}\n"), *self.spelling.close]
        context, limit = self.scorer.core.context, self._answer_tokens
        if context:
            limit = min(limit, context - len(start))
        if limit <= 0:
            return False
        answer = self.spelling.text(await self.scorer.greedy(start, limit))
        return await asyncio.to_thread(self._solves, answer, trace)


async def continued(scorer: Scorer, passage: Passage, ids: Sequence[int]) -> Floats:
    """Return the log-probabilities of a text's tokens, of which only those behind what it shares with a passage are computed."""
    most = min(len(ids), len(passage.ids))
    same = next((n for n in range(most) if ids[n] != passage.ids[n]), most)
    if same == len(ids):
        return passage.logprobs[:same]
    rest = await scorer.score(passage, Continuation(same, ids[same:]))
    return np.concatenate([passage.logprobs[:same], rest])


def _spelled_alike(answer: str, trace: Trace) -> bool:
    found = final_answer(answer)
    return found is not None and normalise(found) == normalise(trace.gold)


def _script(units: Sequence[str], choice: Choice) -> EditScript:
    """Return the edit script: units that went together, and kept ones of one skill, are a step each."""
    keep, worths = choice.keep, choice.worths
    skills = [classify(unit) for unit in units]

    def step(index: int) -> tuple[object, ...]:
        if not keep[index]:
            return "delete", id(worths[index])
        return ("keep", skills[index]) if choice.units[index] == units[index] else ("rewrite", index)

    edits: list[Edit] = []
    for (action, _), run in groupby(range(len(units)), key=step):
        indices = list(run)
        first, last = indices[0], indices[-1]
        known = [worth for i in indices if (worth := worths[i]) is not None]
        measured = str(max(known, key=lambda worth: worth.rank)) if known else None
        edit = Edit(
            first=first,
            last=last,
            action=cast("Action", action),
            skills=(classify("".join(units[first : last + 1])) if action == "delete" else skills[first],),
            text=choice.units[first].strip() if action == "rewrite" else None,
            reason=measured or ("corrects a slip that is mended" if action == "delete" else None),
        )
        edits.append(edit)
    return EditScript(units=len(units), edits=tuple(edits))


def with_a_check(question: str, units: Sequence[str], script: EditScript) -> EditScript | None:
    """Return the script with the shortest deleted check kept, if no step that is kept reflects; else ``None``.

    To the student a check is hardly worth a nat, whichever it is: its habit of checking is not seen in one trace. Of checks that went
    as one stretch one comes back.
    """
    if reflective_steps(question, split_units(apply_script(units, script))):
        return None
    found = [
        (edit, step)
        for step in reflective_steps(question, units)
        for edit in script.edits
        if edit.action == "delete" and edit.first <= step.first and step.last <= edit.last
        if step.kind != "rereading" and all(e.holds for e in find_equations(_joined(units, step)))
    ]
    if not found:
        return None
    stretch, check = min(found, key=lambda one: len(_joined(units, one[1])))
    kept = Edit(
        first=check.first,
        last=check.last,
        action="keep",
        skills=("verification",),
        reason="the student's habit of checking",
    )
    around = [(stretch.first, check.first - 1), (check.last + 1, stretch.last)]
    before, after = (
        [stretch.model_copy(update={"first": first, "last": last})] if first <= last else []
        for first, last in around
    )
    edits = [part for e in script.edits for part in ([*before, kept, *after] if e is stretch else [e])]
    return script.model_copy(update={"edits": tuple(edits)})


def _joined(units: Sequence[str], stretch: Edit | Step) -> str:
    return "".join(units[stretch.first : stretch.last + 1])
