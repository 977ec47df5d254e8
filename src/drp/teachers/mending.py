"""Slips that a trace corrects itself: the slip and its correction become one statement, or neither is touched."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from drp.teachers.slicing import Fact, Line
from drp.text.equations import Equation

# The trace takes something back: "that doesn't match", "Oh, I made a mistake there.", "Let me redo it".
_TAKES_BACK = re.compile(
    r"\b(?:wait|no|not|mistake|wrong|incorrect|oops|doesn't|redo|recalculate|again|actually|sorry|correct(?:ion|ing))\b",
    re.IGNORECASE,
)
# "it says fewer, not more": what it should be, and what it was taken for.
_INSTEAD = re.compile(r"\b(?:says?|is|should be|means?|wants?)\s+(\w+),? not (\w+)", re.IGNORECASE)
FAR = 200
"""A correction further behind its slip than this many units is that of another pass."""
NEAR = 6
"""A correction this many units behind its slip belongs to the same moment and is merged with it."""


@dataclass
class Mended:
    """New texts by unit, and merges by their first unit."""

    texts: dict[int, str] = field(default_factory=dict[int, str])
    merges: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def swallowed(self) -> frozenset[int]:
        """Units whose content now stands in the first unit of a merge."""
        return frozenset(i for first, last in self.merges.items() for i in range(first + 1, last + 1))


def mend(lines: Sequence[Line], given: frozenset[Fact]) -> Mended:
    """Return the statements that take the place of slips and their corrections.

    A slip is an equation that does not hold, whose left side later stands with the right result where the trace takes
    something back. It is mended only if nothing in between was computed with the wrong result.
    """
    found = Mended()
    later = _true_equations(lines)
    free = 0  # units before this one belong to a merge
    for line in lines:
        if line.index < free or line.index in found.texts:
            continue
        if line.index + 2 < len(lines) and (
            text := _reread(line, lines[line.index + 1], lines[line.index + 2])
        ):
            found.texts[line.index], found.merges[line.index] = text, line.index + 2
            free = line.index + 3
            continue
        wrong = next((e for e in line.equations if not e.holds), None)
        right = _correction(lines, line, wrong, later) if wrong else None
        if wrong and right and _put_right(lines, line, wrong, right, given, found):
            free = found.merges.get(line.index, line.index) + 1
    return found


def _true_equations(lines: Sequence[Line]) -> dict[str, list[tuple[int, Equation]]]:
    """Return the equations that hold, by their left side, in order."""
    found: dict[str, list[tuple[int, Equation]]] = {}
    for line in lines:
        for equation in line.equations:
            if equation.holds:
                found.setdefault(equation.left, []).append((line.index, equation))
    return found


def _correction(
    lines: Sequence[Line], line: Line, wrong: Equation, later: dict[str, list[tuple[int, Equation]]]
) -> tuple[int, Equation] | None:
    """Return the first true equation of the same left side after a slip, if something is taken back around it."""
    candidates = later.get(wrong.left, [])
    place = bisect_right(candidates, line.index, key=itemgetter(0))
    if place == len(candidates) or candidates[place][0] - line.index > FAR:
        return None
    index, right = candidates[place]
    around = lines[max(line.index + 1, index - 3) : index + 3]
    return (index, right) if any(_TAKES_BACK.search(x.text) for x in around) else None


def _put_right(
    lines: Sequence[Line],
    line: Line,
    wrong: Equation,
    right: tuple[int, Equation],
    given: frozenset[Fact],
    found: Mended,
) -> bool:
    """Write the right result into a slip; return whether that could be done without touching any computation."""
    index, equation = right
    value = wrong.value
    text = f"{line.text[: wrong.start]}{_with_result(line.text[wrong.start : wrong.end], equation.right)}{line.text[wrong.end :]}"
    if index - line.index <= NEAR:
        found.texts[line.index], found.merges[line.index] = text.strip(), index
        return True
    if value is None or value in given:
        return False
    echoes: dict[int, str] = {}
    for between in lines[line.index + 1 : index]:
        if value in between.numbers:
            if len(between.numbers) > 1 or between.relations:
                return False  # computed with
            echoes[between.index] = _replaced(between.text, wrong.right, equation.right)
    found.texts[line.index] = text.strip()
    found.texts |= echoes
    return True


def _with_result(equation: str, result: str) -> str:
    left, sign, _ = equation.rpartition("=")
    return f"{left}{sign} {result}"


def _replaced(text: str, old: str, new: str) -> str:
    return re.sub(rf"(?<![\d.]){re.escape(old)}(?![\d]|\.\d)", new, text).strip()


def _reread(line: Line, says: Line, redo: Line) -> str | None:
    """Return the mended text of "3 more …, so a + 3 = b. Wait, no, it says fewer, not more. So a - 3 = c."."""
    match = _INSTEAD.search(says.text)
    if match is None or not (line.equations and redo.equations):
        return None
    good, bad = match.groups()
    spoken = re.compile(rf"\b{re.escape(bad)}\b")
    wrong, right = line.equations[-1], redo.equations[0]
    if not right.holds or not spoken.search(line.text):
        return None
    head = spoken.sub(good, line.text[: wrong.start])
    return (head + redo.text[right.start : right.end] + line.text[wrong.end :]).strip()
