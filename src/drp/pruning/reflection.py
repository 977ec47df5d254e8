"""Verification and alternative steps of a trace, known by what they do and not by how many words of doubt they hold."""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from drp.pruning.skills import ALTERNATIVE, CONCLUSION, CONFIRMATION, VERIFICATION, has_substance
from drp.text.numbers import numbers_in

Kind = Literal["verification", "alternative", "rereading"]
HABIT = 2
"""Steps of checking from which a trace has a habit of it that is to be kept."""
LONGEST = 8
"""Units after which a step of checking is taken to be over, whatever they say."""

# "Plugging x = 3 back in", "substitute into the original equation", "working backwards", "which matches": a result is put to the test.
_PLUGS_BACK = re.compile(
    r"\b(?:(?:plug(?:ging)?|substitut(?:e|ing)|put(?:ting)?)\b.{0,60}\b(?:back|original)\b|work\w* backwards?|in reverse"
    r"|(?:which|that|this|it|everything|both|they)(?: all| also| indeed)? (?:match(?:es)?|checks? out|adds? up(?! to\b)|agrees?)\b"
    r"|(?:same|consistent) (?:answer|result|with)|✓|✔)",
    re.IGNORECASE,
)
# "After verifying it in two ways, …", "both methods lead to the same": tells of a check and is none.
_REPORTS = re.compile(
    r"\b(?:(?:after|having) (?:\w+ ){0,2}(?:verif|(?:double-?|re-?)?check|confirm)\w+|(?:verif|check)\w*ing\b[^.,;]{0,60}\bconfirms|both (?:approaches|methods|ways))\b",
    re.IGNORECASE,
)
# "Wait, is it per week or per session?": the reading of the question is put to the test.
_REREADS = re.compile(
    r"\b(?:let me (?:re-?read|read|look|go back)|re-?reading|(?:the )?(?:problem|question) (?:says|states|mentions|doesn't)|it says)\b.{0,200}",
    re.IGNORECASE | re.DOTALL,
)
_ASKS_AGAIN = re.compile(
    r"^\W*(?:(?:hmm+|but|so|and|okay)\b,?\s*)*(?:wait|hold on|but|is it|is that|did i|could it|does)\b[^?]*\?",
    re.I,
)
_NEW_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*$")


@dataclass(frozen=True)
class Step:
    """A run of units ``first..last`` that puts something to the test."""

    first: int
    last: int
    kind: Kind


def reflective_steps(question: str, units: Sequence[str]) -> list[Step]:
    """Return the steps that verify, try another way or read the question again, and that say something.

    A step opens with a cue or puts a result to the test, and ends with its verdict, its paragraph, or where the
    next opens. An orphan counts for nothing: "Maybe I misinterpreted." computes nothing, and "Let me double-check."
    before the solution itself comes to no value that was found before.
    """
    steps: list[Step] = []
    given, found = set(numbers_in(question)), set[Fraction]()
    at = 0
    while at < len(units):
        kind = _opens(units, at)
        last = at if kind is None else _end(units, at)
        if kind and _says_something(units[at : last + 1], kind, given, found):
            steps.append(Step(at, last, kind))
        else:
            last = at  # another step may open within what is none
        found |= set(numbers_in("".join(units[at : last + 1]))) - given
        at = last + 1
    return steps


def _says_something(block: Sequence[str], kind: Kind, given: Set[Fraction], found: Set[Fraction]) -> bool:
    """Return whether units have content, and a verification comes to a value found before, or to a verdict."""
    values = set(numbers_in("".join(block))) - given
    settled = any(CONFIRMATION.search(unit) for unit in block)
    tests = kind != "verification" or bool(values & found) or (settled and not values)
    return tests and has_substance("".join(block))


def _opens(units: Sequence[str], at: int) -> Kind | None:
    text = units[at]
    tests = VERIFICATION.search(text) or (_PLUGS_BACK.search(text) and has_substance(text))
    if tests and not _REPORTS.search(text):
        return "verification"
    if ALTERNATIVE.search(text):
        return "alternative"
    asks = _ASKS_AGAIN.search(text) and at + 1 < len(units)
    return "rereading" if asks and _REREADS.search(text + units[at + 1]) else None


def _end(units: Sequence[str], start: int) -> int:
    for at in range(start, min(len(units), start + LONGEST)):
        if at > start and (CONFIRMATION.search(units[at]) or CONCLUSION.search(units[at])):
            return at
        if (
            at > start
            and (VERIFICATION.search(units[at]) or ALTERNATIVE.search(units[at]))
            and has_substance("".join(units[start:at]))
        ):
            return at - 1
        if _NEW_PARAGRAPH.search(units[at]) and has_substance("".join(units[start : at + 1])):
            return at
    return min(len(units), start + LONGEST) - 1
