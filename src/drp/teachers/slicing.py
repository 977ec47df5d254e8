"""What the rules teacher knows about a trace: where it is solved, what feeds the answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from drp.pruning.checks import states
from drp.pruning.skills import (
    ALTERNATIVE,
    CONCLUSION,
    DOUBT,
    RESTATEMENT,
    VERIFICATION,
    has_substance,
)
from drp.text.answers import normalise
from drp.text.equations import Equation, find_equations
from drp.text.numbers import numbers_in, parse_number

_WORD = re.compile(r"[a-z']+|\d+(?:\.\d+)?")
_STATES = re.compile(r"=|\b(?:so|total|gives?|equals?|makes|left|leaves|is|are|has|have)\b", re.IGNORECASE)
_MOVES_ON = re.compile(
    r"^\W*(?:(?:so|okay|alright|and)\b,? )?(?:now|next|then|therefore|thus|hence|similarly|moving on|finally|step \d)\b",
    re.IGNORECASE,
)
MAX_CHECK = 8
"""A verification is taken to be over after this many lines, whatever they say."""
_STOPWORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "let",
        "me",
        "my",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "they",
        "this",
        "to",
        "up",
        "was",
        "we",
        "what",
        "will",
        "with",
        "you",
    ]
)


@dataclass(frozen=True)
class Line:
    """One unit with what can be read off it."""

    index: int
    text: str
    numbers: frozenset[Fraction]
    equations: tuple[Equation, ...]
    words: frozenset[str] = field(repr=False)

    @property
    def results(self) -> frozenset[Fraction]:
        """Values its equations arrive at."""
        return frozenset(e.value for e in self.equations if e.value is not None)

    @property
    def is_assertion(self) -> bool:
        """Whether it is a plain sentence around one number, such as "So Tom has 72 shells."."""
        return len(self.numbers) == 1 and not re.search(r"[=\\^$]", self.text)

    @property
    def ends_paragraph(self) -> bool:
        """Whether an empty line follows."""
        return self.text[len(self.text.rstrip()) :].count("\n") > 1


def content_words(text: str) -> frozenset[str]:
    """Return the lower-case words and numbers of ``text`` that carry meaning."""
    return frozenset(_WORD.findall(text.lower())) - _STOPWORDS


def read_lines(units: Sequence[str]) -> list[Line]:
    """Return one :class:`Line` per unit."""
    return [
        Line(i, unit, frozenset(numbers_in(unit)), tuple(find_equations(unit)), content_words(unit))
        for i, unit in enumerate(units)
    ]


def _reaches(lines: Sequence[Line], index: int, final: str, value: Fraction | None) -> bool:
    """Return whether a line arrives at the final answer rather than merely mentioning its digits."""
    line = lines[index]
    if value is None:
        return states(line.text, final) and bool(_STATES.search(line.text))
    last = numbers_in(line.text)[-1:]
    if last != [abs(value)]:
        return False
    if CONCLUSION.search(line.text):
        return True
    if value not in line.results and not _STATES.search(line.text):
        return False
    if RESTATEMENT.search(line.text):
        return False
    # A result is the final one where the trace then concludes, doubts, checks or ends.
    following = lines[index + 1 : index + 3]
    return not following or any(
        CONCLUSION.search(f.text)
        or DOUBT.search(f.text)
        or VERIFICATION.search(f.text)
        or ALTERNATIVE.search(f.text)
        or (f.is_assertion and abs(value) in f.numbers)
        for f in following
    )


def solution_index(lines: Sequence[Line], question: str, final: str) -> int | None:
    """Return the index of the first line that completes a solution, or ``None``.

    Among the lines that arrive at the final answer, one that names whom the question asks about
    wins over an earlier one that does not: an intermediate value may equal the answer by chance.
    """
    value = parse_number(normalise(final))
    known = set(numbers_in(question))
    hits = [line for line in lines if _reaches(lines, line.index, final, value)]
    if value is not None and abs(value) in known:
        # The answer also stands in the question: only a computed or concluded one counts.
        hits = [h for h in hits if value in h.results or CONCLUSION.search(h.text)]
    if not hits:
        return None
    sentence = re.split(r"(?<=[.!])\s+", question.strip())[-1]
    asked = set(re.findall(r"(?<!^)\b[A-Z][a-z]+\b", sentence))
    if asked:
        for hit in hits:
            around = hit.text + (lines[hit.index - 1].text if hit.index else "")
            if asked & set(re.findall(r"\b[A-Z][a-z]+\b", around)):
                return hit.index
    return hits[0].index


def needed_numbers(lines: Sequence[Line], keep: Sequence[bool], upto: int, question: str) -> list[bool]:
    """Slice backwards from line ``upto``: return for each line whether its results are used.

    Lines that compute nothing are always True. A line that only computes or asserts values which
    no later kept line uses is False.
    """
    given = set(numbers_in(question))
    used = [True] * len(lines)
    needed = set(lines[upto].numbers)
    for line in reversed(lines[:upto]):
        if not keep[line.index]:
            continue
        fresh = (line.results if line.equations else line.numbers) - given
        computes = bool(line.equations) or line.is_assertion
        if computes and fresh and not fresh & needed:
            used[line.index] = False
        else:
            needed |= line.numbers
    return used


def missing_sources(lines: Sequence[Line], keep: Sequence[bool], upto: int, question: str) -> set[int]:
    """Return deleted lines that must come back because a kept line uses what only they introduce."""
    known = set(numbers_in(question))
    back: set[int] = set()
    for line in lines[: upto + 1]:
        if not keep[line.index]:
            continue
        uses = line.numbers - line.results if line.equations else frozenset[Fraction]()
        for number in uses - known:
            sources = [
                other
                for other in lines[: line.index]
                if number in other.results and all(e.holds for e in other.equations)
            ]
            if sources and not any(keep[s.index] or s.index in back for s in sources):
                back.add(sources[0].index)
        known |= line.numbers
    return back


def check_block(lines: Sequence[Line], start: int, upto: int, confirms: Sequence[bool]) -> int:
    """Return the last index of the verification that starts at ``start``.

    It ends with a confirmation ("Yes, that's right."), with its paragraph, where the trace moves on
    ("Now …", "Therefore …"), or after ``MAX_CHECK`` lines.
    """
    end = start
    for index in range(start, min(upto, start + MAX_CHECK - 1) + 1):
        text = lines[index].text
        if index > start and _MOVES_ON.search(text) and not VERIFICATION.search(text):
            break
        end = index
        if index > start and confirms[index]:
            break
        stated = index > start or has_substance(text) or not VERIFICATION.search(text)
        if lines[index].ends_paragraph and stated:
            break
    return end
