"""Grading: is the answer the gold answer? Spelling and number first, then math-verify with a limit."""

import asyncio
import contextlib
import json
import queue
import select
import subprocess
import sys
from typing import Literal, Self

from drp.grading.forms import bare, choice, interval, number, numeral, parts, same_spelling
from drp.records import Record
from drp.text.answers import final_answer

How = Literal["missing", "spelling", "choice", "number", "parts", "math_verify", "time_limit", "too_long"]


LONGEST, DEEPEST = 1_000, 80
"""Characters and brackets beyond which an answer is not given to algebra; no final answer has so many."""
STARTING_S = 60.0


class Grade(Record):
    """The verdict on one answer, and how it came about."""

    correct: bool
    extracted: str | None
    how: How


class Grader:
    """Grades answers; safe to share between threads, and from asyncio through :meth:`grade_async`.

    What needs math-verify goes to one of a few processes, started when first needed, and killed and
    replaced when an item takes too long; the others go on meanwhile.
    """

    def __init__(self, time_limit_s: float = 5.0, processes: int = 2) -> None:
        """Set limits; nothing is started yet.

        Args:
            time_limit_s: Seconds after which an item counts as wrong and its process is killed.
            processes: Most math-verify processes.
        """
        # Last in, first out: a second process starts only when the first is busy.
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._all = [_Process(time_limit_s) for _ in range(processes)]
        for process in reversed(self._all):
            self._free.put(process)

    def grade(self, text: str, gold: str) -> Grade:
        """Grade the final answer that ``text`` states against ``gold``."""
        extracted = final_answer(text)
        if extracted is None:
            return Grade(correct=False, extracted=None, how="missing")
        return self.compare(extracted, gold)

    def compare(self, extracted: str, gold: str) -> Grade:
        """Compare two final answers."""
        ours, theirs = interval(extracted), interval(gold)
        if (ours is None) != (theirs is None):
            # Two inequalities stay as they are: their variables have to agree.
            grade = self.compare(ours or extracted, theirs or gold)
            return grade.model_copy(update={"extracted": extracted})
        quick = self._quick(extracted, gold)
        if quick is not None:
            correct, how = quick
            return Grade(correct=correct, extracted=extracted, how=how)
        if len(extracted) > LONGEST or sum(map(extracted.count, "({[")) > DEEPEST:
            return Grade(correct=False, extracted=extracted[:LONGEST], how="too_long")
        verdict = self._math_verify(bare(extracted), bare(gold))
        how: How = "time_limit" if verdict is None else "math_verify"
        return Grade(correct=bool(verdict), extracted=extracted, how=how)

    def _quick(self, extracted: str, gold: str) -> tuple[bool, How] | None:
        """Decide without computer algebra where that is safe; ``None`` leaves it to math-verify."""
        if same_spelling(extracted, gold):
            return True, "spelling"
        wanted_choice = choice(gold)
        if wanted_choice is not None:
            return choice(extracted, spelt_out=True) == wanted_choice, "choice"
        (digits, base), (wanted_digits, wanted_base) = numeral(extracted), numeral(gold)
        if base or wanted_base:  # the question may name the base, so one side may leave it out
            return digits == wanted_digits and (base or wanted_base) == (wanted_base or base), "number"
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
        """Return only the verdict; the shape that checks ask for."""
        return self.grade(text, gold).correct

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


class _Process:
    """One math-verify process and its pipes; used by one thread at a time."""

    def __init__(self, time_limit_s: float) -> None:
        self.time_limit_s = time_limit_s
        self._process: subprocess.Popen[str] | None = None

    def ask(self, answer: str, gold: str) -> bool | None:
        """Return the verdict, or ``None`` where the process died or did not answer in time."""
        if (self._process is None or self._process.poll() is not None) and not self.start():
            return None
        assert self._process and self._process.stdin
        try:
            self._process.stdin.write(json.dumps([answer, gold]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.stop()
            return None
        line = self._line(self.time_limit_s)
        return None if line is None else bool(json.loads(line))

    def start(self) -> bool:
        """Start a process and wait for its imports, which no item's time limit has to pay for; return whether it is ready."""
        self.stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drp.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._line(STARTING_S) is not None

    def _line(self, limit: float) -> str | None:
        """Return the next line of the process, or kill it."""
        assert self._process and self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], limit)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            return None
        return line

    def stop(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
