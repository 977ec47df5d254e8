"""Grading: is the answer the gold answer? Spelling and number first, then math-verify with a limit."""

import asyncio
import queue
from typing import Literal, Protocol, Self

from drp.grading import units
from drp.grading.forms import (
    LONGEST,
    bare,
    choice,
    interval,
    number,
    numeral,
    parts,
    same_spelling,
    unit,
    variable,
)
from drp.grading.process import Process
from drp.records import Record
from drp.tasks.base import Verdict, task_of
from drp.text.answers import MARKED, Reading, stated_answer

How = Literal[
    "missing",
    "spelling",
    "choice",
    "number",
    "unit",
    "variable",
    "parts",
    "math_verify",
    "time_limit",
    "too_long",
]
DEEPEST = 80
"""Brackets beyond which an answer is not given to algebra; no final answer has so many."""


class Grade(Record):
    """The verdict on one answer, and how it came about."""

    correct: bool
    extracted: str | None
    how: How
    reading: Reading | None = None
    """By what the answer was known in its text; ``None`` where there was none, or answers alone were compared."""


class Graded(Protocol):
    """What must be known of a problem to grade an answer to it; traces and problems know it."""

    @property
    def question(self) -> str:
        """The question."""
        ...

    @property
    def gold(self) -> str:
        """The gold answer."""
        ...

    @property
    def task(self) -> str:
        """The kind of its task."""
        ...


class Grader:
    """Grades answers; safe to share between threads, and from asyncio through :meth:`grade_async`.

    What needs math-verify goes to one of a few processes, started when first needed, and killed and
    replaced when an item takes too long; the others go on meanwhile.
    """

    def __init__(self, time_limit_s: float = 5.0, processes: int = 2, *, strict: bool = False) -> None:
        """Set limits; nothing is started yet.

        Args:
            time_limit_s: Seconds after which an item counts as wrong and its process is killed.
            processes: Most math-verify processes.
            strict: Accept only answers that are marked, by a box or ``####``. So does lm-evaluation-harness
                under ``strict-match``: what counts is the form that was asked for (``#### 5`` of ``gsm8k``,
                "The answer is 5" of ``gsm8k_cot``, whose examples show it), and DRP asks for a box. Its
                ``flexible-extract`` takes the last number of the text, as we do where nothing else is stated.
        """
        self.strict = strict
        # Last in, first out: a second process starts only when the first is busy.
        self._free: queue.LifoQueue[Process] = queue.LifoQueue()
        self._all = [Process(time_limit_s) for _ in range(processes)]
        for process in reversed(self._all):
            self._free.put(process)

    def grade(self, text: str, gold: str) -> Grade:
        """Grade the final answer that ``text`` states against ``gold``.

        Several boxes of one statement are the members of a gold answer that lists several values.

        Raises:
            GradingError: math-verify is needed, and its process does not start.
        """
        stated = stated_answer(text)
        if stated is None or (self.strict and stated.reading not in MARKED):
            return Grade(correct=False, extracted=None, how="missing")
        grade = self.compare(stated.text, gold)
        wanted = parts(gold) if len(stated.together) > 1 and not grade.correct else None
        if wanted and wanted[0] == "{":
            listed = self.compare(", ".join(stated.together), gold)
            grade = listed if listed.correct else grade
        return grade.model_copy(update={"reading": stated.reading})

    def compare(self, extracted: str, gold: str) -> Grade:
        """Compare two final answers."""
        if max(len(extracted), len(gold)) > LONGEST:
            same = extracted.strip() == gold.strip()
            return Grade(correct=same, extracted=extracted[:LONGEST], how="spelling" if same else "too_long")
        ours, theirs = interval(extracted), interval(gold)
        if (ours is None) != (theirs is None):
            # Two inequalities stay as they are: their variables have to agree.
            grade = self.compare(ours or extracted, theirs or gold)
            return grade.model_copy(update={"extracted": extracted})
        quick = self._quick(extracted, gold)
        if quick is not None:
            correct, how = quick
            return Grade(correct=correct, extracted=extracted, how=how)
        if sum(map(extracted.count, "({[")) > DEEPEST:
            return Grade(correct=False, extracted=extracted, how="too_long")
        verdict = self._math_verify(bare(extracted), bare(gold))
        how: How = "time_limit" if verdict is None else "math_verify"
        return Grade(correct=bool(verdict), extracted=extracted, how=how)

    def _quick(self, extracted: str, gold: str) -> tuple[bool, How] | None:
        """Decide without computer algebra where that is safe; ``None`` leaves it to math-verify."""
        name, wanted_name = variable(extracted), variable(gold)
        if name and wanted_name and name != wanted_name:
            return False, "variable"
        if same_spelling(extracted, gold):
            return True, "spelling"
        wanted_choice = choice(gold)
        if wanted_choice is not None:
            return choice(extracted, spelt_out=True) == wanted_choice, "choice"
        (digits, base), (wanted_digits, wanted_base) = numeral(extracted), numeral(gold)
        if base or wanted_base:  # the question may name the base, so one side may leave it out
            return digits == wanted_digits and (base or wanted_base) == (wanted_base or base), "number"
        if not units.agree(unit(extracted), unit(gold)):
            return False, "unit"
        value, wanted = number(extracted), number(gold)
        if value is not None and wanted is not None:
            return value == wanted, "number"
        ours, theirs = parts(extracted), parts(gold)
        if theirs is None:
            return None
        if ours is None or len(ours[1]) != len(theirs[1]) or (ours[0], ours[2]) != (theirs[0], theirs[2]):
            # Several values are not one; a tuple is no interval. Other spellings of sets are left to algebra.
            listed = ours is not None and len(ours[1]) != len(theirs[1])
            return (False, "parts") if listed else None
        if theirs[0] == "{":
            return self._same_members(ours[1], theirs[1]), "parts"
        return all(self.compare(a, b).correct for a, b in zip(ours[1], theirs[1], strict=True)), "parts"

    def _same_members(self, ours: list[str], theirs: list[str]) -> bool:
        left = list(theirs)
        for member in ours:
            found = next((i for i, other in enumerate(left) if self.compare(member, other).correct), None)
            if found is None:
                return False
            del left[found]
        return True

    def is_correct(self, text: str, gold: str) -> bool:
        """Return only whether a mathematical answer is right."""
        return self.grade(text, gold).correct

    def verdict(self, text: str, problem: Graded) -> Verdict:
        """Grade the final answer that ``text`` states as the problem's task does.

        Raises:
            GradingError: See :meth:`grade`.
            ValueError: There is no such task.
        """
        found = task_of(problem.task).grade(text, problem.gold, problem.question, self._maths)
        unmarked = self.strict and found.reading not in MARKED
        return found.model_copy(update={"correct": False}) if unmarked else found

    def solves(self, text: str, problem: Graded) -> bool:
        """Return only whether it is right."""
        return self.verdict(text, problem).correct

    def _maths(self, text: str, gold: str) -> Verdict:
        grade = self.grade(text, gold)
        return Verdict(correct=grade.correct, reading=grade.reading)

    async def grade_async(self, text: str, gold: str) -> Grade:
        """Grade without holding up the event loop."""
        return await asyncio.to_thread(self.grade, text, gold)

    def _math_verify(self, answer: str, gold: str) -> bool | None:
        """Return math-verify's verdict, or ``None`` where it did not come in time."""
        process = self._free.get()
        try:
            verdict = process.ask(answer, gold)
            if verdict is None:
                process.start()  # whoever lost it waits for the next one, so that nobody else has to
            return verdict
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
