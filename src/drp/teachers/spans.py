"""Which stretches of a trace may go together: paragraphs, checks with their verdicts, slips with what corrects them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from drp.pruning.skills import ALTERNATIVE, CONCLUSION, DOUBT, RESTATEMENT, VERIFICATION
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in, parse_number

BLOCK = 12
"""A check that opens a paragraph is taken to go on through so many units, whatever they say."""
REACH = 60
"""A check or a slip that began more units ago is not looked for."""
# "Wait, no, that's 12." and "Oh, I made a mistake there." take back what stands before them; "Wait, is it 12?" does not.
_TAKES_BACK = re.compile(
    r"\b(?:no|not|wrong|mistaken?|incorrect|error|misread|should be|instead)\b", re.IGNORECASE
)
_OPENS = (VERIFICATION, ALTERNATIVE, RESTATEMENT)


@dataclass(frozen=True)
class Slip:
    """A unit that holds a false equation, and one that says what is true instead."""

    wrong: int
    right: int


@dataclass(frozen=True)
class Spans:
    """What is known about the shape of a trace of so many units."""

    units: int
    paragraph: tuple[int, ...]
    """For each unit, the first unit of its paragraph."""
    openings: tuple[int, ...]
    """Units that open a check, another approach or a restatement, ascending."""
    slips: tuple[Slip, ...]
    retractions: tuple[int, ...]
    """Units that take back what stands before them, ascending."""

    results: tuple[dict[str, str], ...]
    """For each unit that is no check: what its true equations compute, and their results."""
    numbers: tuple[frozenset[Fraction], ...]
    """For each unit, the numbers in it."""

    def among(self, keep: Sequence[bool]) -> "Spans":
        """Return the same, with the slips of which both sides stand."""
        return replace(self, slips=tuple(s for s in self.slips if keep[s.wrong] and keep[s.right]))

    def ending(self, last: int, following: int) -> list[int]:
        """Return the first units of the stretches that may go together up to ``last``, longest stretch first.

        Args:
            last: The last unit of each stretch.
            following: The unit that follows it in what is kept; what stood between is gone already.
        """
        found = {slip.wrong for slip in self.slips if slip.right in (last, last + 1)}
        for retraction in self.retractions:
            if retraction in (last, last + 1):
                found.update(range(retraction - 1, max(-1, retraction - 4), -1))
        if following >= self.units or self.paragraph[following] != self.paragraph[last]:
            start = self.paragraph[last]
            found.add(start)
            if start:
                found.add(self.paragraph[start - 1])
            found.update([o for o in self.openings if last - REACH < o < last][-2:])
        return sorted(first for first in found if 0 <= first < last)

    def by_chance(self, first: int, last: int, gone: Sequence[bool]) -> bool:
        """Return whether likelihood is blind to what ``first..last`` compute, since an earlier result is the same number.

        In "Cleo has 66 - 5 = 61. Paul has 3 * 61 = 183. Tara has 183 / 3 = 61. The answer is 61." the answer is as likely
        without Paul and Tara; but it is Tara who was asked about. A check that comes to the same number is no such chance.
        """
        before = {v: k for n in range(first) if not gone[n] for k, v in self.results[n].items()}
        later = {v for n in range(last + 1, self.units) if not gone[n] for v in self.numbers[n]}
        for unit in range(first, last + 1):
            for left, right in self.results[unit].items() if not gone[unit] else ():
                if before.get(right, left) != left and parse_number(right) in later:
                    return True
        return False

    def orphans(self, first: int, last: int, gone: Sequence[bool]) -> bool:
        """Return whether a slip would stay without anything that corrects it, were ``first..last`` deleted too."""

        def stays(unit: int) -> bool:
            return not (gone[unit] or first <= unit <= last)

        for slip in self.slips:
            if first <= slip.right <= last and stays(slip.wrong):
                others = [s.right for s in self.slips if s.wrong == slip.wrong]
                if not any(stays(other) for other in others):
                    return True
        return False


def read_spans(units: Sequence[str]) -> Spans:
    """Read the shape of a trace off its units."""
    paragraph: list[int] = []
    for index in range(len(units)):
        fresh = index == 0 or _breaks(units[index - 1], units[index])
        paragraph.append(index if fresh else paragraph[-1])
    openings = [i for i, unit in enumerate(units) if any(cue.search(unit) for cue in _OPENS)]
    retractions = [i for i, unit in enumerate(units) if DOUBT.search(unit) and _TAKES_BACK.search(unit)]
    checks = _checks(units, paragraph)
    results = [
        {} if inside else {e.left: e.right for e in find_equations(unit) if e.holds}
        for unit, inside in zip(units, checks, strict=True)
    ]
    return Spans(
        units=len(units),
        paragraph=tuple(paragraph),
        openings=tuple(openings),
        slips=tuple(_slips(units)),
        retractions=tuple(retractions),
        results=tuple(results),
        numbers=tuple(frozenset(numbers_in(unit)) for unit in units),
    )


def _checks(units: Sequence[str], paragraph: Sequence[int]) -> list[bool]:
    """Return for each unit whether it belongs to a check or another approach.

    One that opens in the middle of a paragraph ends with it; one that opens a paragraph goes on through the next few, up
    to a conclusion.
    """
    found: list[bool] = []
    until = -1
    for index, unit in enumerate(units):
        if CONCLUSION.search(unit):
            until = -1
        if VERIFICATION.search(unit) or ALTERNATIVE.search(unit):
            until = index if paragraph[index] < index else index + BLOCK
        found.append(index <= until or (index > 0 and found[-1] and paragraph[index] == paragraph[index - 1]))
    return found


def _breaks(before: str, after: str) -> bool:
    trail, lead = before[len(before.rstrip()) :], after[: len(after) - len(after.lstrip())]
    return (trail + lead).count("\n") > 1


def _slips(units: Sequence[str]) -> list[Slip]:
    """Pair false equations with later true ones of the same left side: "5 + 7 = 13. Wait, no, 5 + 7 = 12."."""
    wrong: list[tuple[int, str]] = []
    found: list[Slip] = []
    for index, unit in enumerate(units):
        for equation in find_equations(unit):
            if not equation.holds:
                wrong.append((index, equation.left))
            else:
                found += [
                    Slip(i, index) for i, left in wrong if left == equation.left and 0 < index - i <= REACH
                ]
    return found
