"""Which stretches of a trace may go together: paragraphs, checks with their verdicts, slips with what corrects them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from drp.pruning.skills import ALTERNATIVE, DOUBT, RESTATEMENT, VERIFICATION
from drp.text.equations import find_equations

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
    return Spans(len(units), tuple(paragraph), tuple(openings), tuple(_slips(units)), tuple(retractions))


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
