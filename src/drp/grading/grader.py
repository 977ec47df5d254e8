"""Grading: is the answer the gold answer? Spelling and number first, then math-verify with a limit."""

import contextlib
import json
import select
import subprocess
import sys
import threading
from typing import Literal, Self

from drp.grading.forms import bare, choice, number, parts, same_spelling
from drp.records import Record
from drp.text.answers import final_answer

How = Literal["missing", "spelling", "choice", "number", "parts", "math_verify", "time_limit"]


class Grade(Record):
    """The verdict on one answer, and how it came about."""

    correct: bool
    extracted: str | None
    how: How


class Grader:
    """Grades answers; keeps one math-verify process, killed and replaced when it takes too long."""

    def __init__(self, time_limit_s: float = 5.0) -> None:
        self.time_limit_s = time_limit_s
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def grade(self, text: str, gold: str) -> Grade:
        """Grade the final answer that ``text`` states against ``gold``."""
        extracted = final_answer(text)
        if extracted is None:
            return Grade(correct=False, extracted=None, how="missing")
        return self.compare(extracted, gold)

    def compare(self, extracted: str, gold: str) -> Grade:
        """Compare two final answers."""
        quick = self._quick(extracted, gold)
        if quick is not None:
            correct, how = quick
            return Grade(correct=correct, extracted=extracted, how=how)
        verdict = self._math_verify(bare(extracted), bare(gold))
        how: How = "time_limit" if verdict is None else "math_verify"
        return Grade(correct=bool(verdict), extracted=extracted, how=how)

    def _quick(self, extracted: str, gold: str) -> tuple[bool, How] | None:
        """Decide without computer algebra where that is safe; ``None`` leaves it to math-verify."""
        if same_spelling(extracted, gold):
            return True, "spelling"
        wanted_choice = choice(gold)
        if wanted_choice is not None:
            return choice(extracted) == wanted_choice, "choice"
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

    def _math_verify(self, answer: str, gold: str) -> bool | None:
        """Return math-verify's verdict, or ``None`` where it did not come in time."""
        with self._lock:
            fresh = self._process is None or self._process.poll() is not None
            if fresh:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "drp.grading.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            process = self._process
            assert process and process.stdin and process.stdout
            try:
                process.stdin.write(json.dumps([answer, gold]) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                self._stop()
                return None
            # The first question also waits for the import.
            limit = self.time_limit_s + (30 if fresh else 0)
            ready, _, _ = select.select([process.stdout], [], [], limit)
            line = process.stdout.readline() if ready else ""
            if not line:
                self._stop()
                return None
            return bool(json.loads(line))

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self._process = None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
