"""Grading: is the answer the gold answer? Spelling and number first, then math-verify with a limit."""

import contextlib
import json
import select
import subprocess
import sys
import threading
from typing import Literal, Self

from drp.records import Record
from drp.text.answers import final_answer, normalise
from drp.text.numbers import parse_number

How = Literal["missing", "spelling", "number", "math_verify", "time_limit"]


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
        ours, theirs = normalise(extracted), normalise(gold)
        if ours == theirs:
            return Grade(correct=True, extracted=extracted, how="spelling")
        value, wanted = parse_number(ours), parse_number(theirs)
        if value is not None and wanted is not None:
            return Grade(correct=value == wanted, extracted=extracted, how="number")
        verdict = self._math_verify(extracted, gold)
        how: How = "time_limit" if verdict is None else "math_verify"
        return Grade(correct=bool(verdict), extracted=extracted, how=how)

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
