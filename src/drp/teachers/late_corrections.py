"""Slips that the student corrects further on: the right result in the slip's place, and the correction gone.

    First, Tara finds 56 more, so 57 + 56 = 103.         First, Tara finds 56 more, so 57 + 56 = 113.
    Now, Noah has 6 times as many, so 6 * 103 = 618.     Now, Noah has 6 times as many, so 6 * 113 = 678.
    So Noah has 618 cookies.                        →    So Noah has 678 cookies.
    Let me double-check. 57 + 56 = 113. Oh, I made a
    mistake there. 6 * 113 = 678. So it is 678, not 618.
    Therefore, the answer is 678.                        Therefore, the answer is 678.

Nothing is computed here: every result comes from a true equation of the correction. What has no counterpart there goes, and
where that does not add up, nothing is changed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drp.teachers.spans import Spans, read_spans
from drp.text.equations import Equation, find_equations

MOST = 4
"""Slips of one trace that are mended."""
# "103" and "1,030.5", but neither the 10 of "103" nor the 5 of "10.5".
_NUMBER = re.compile(r"(?<![\d.,])\d+(?:,\d{3})*(?:\.\d+)?(?![\d])")
_OPERAND = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Mended:
    """A trace without slips that were corrected."""

    units: tuple[str, ...]
    keep: tuple[bool, ...]


def mend(units: Sequence[str]) -> Mended | None:
    """Return the trace with its slips mended, or ``None`` where there are none that can be."""
    found: Mended | None = None
    for _ in range(MOST):
        now = found or Mended(tuple(units), (True,) * len(units))
        better = _mend_first(now, read_spans(now.units).among(now.keep))
        if better is None:
            break
        found = better
    return found


def _mend_first(now: Mended, spans: Spans) -> Mended | None:
    if not spans.slips:
        return None
    slip = min(spans.slips, key=lambda s: (s.wrong, s.right))
    if spans.paragraph[slip.wrong] == spans.paragraph[slip.right]:
        begin, end = slip.wrong + 1, slip.right
    else:
        begin = spans.paragraph[slip.right]
        end = max(i for i, start in enumerate(spans.paragraph) if start == begin)
    truth: dict[str, str] = {}
    for unit in now.units[slip.right : end + 1]:
        truth.update({e.left: e.right for e in find_equations(unit) if e.holds})
    return _replayed(now, slip.wrong, (begin, end), truth, spans.paragraph)


def _replayed(
    now: Mended, first: int, correction: tuple[int, int], truth: dict[str, str], paragraph: Sequence[int]
) -> Mended | None:
    """Say what stands before the correction again, with the results of ``truth``; drop the correction."""
    begin, end = correction
    units, keep = list(now.units), list(now.keep)
    instead: dict[str, str] = {}
    for index in range(first, begin):
        if keep[index]:
            said = _said_again(units[index], truth, instead)
            if said is None:  # a check of the slip, say: what it opens and closes with goes too
                for near in _with_talk(units, index, paragraph):
                    keep[near] = False
            else:
                units[index] = said
    keep[begin : end + 1] = [False] * (end + 1 - begin)
    right = any(keep) and units[first] != now.units[first] and keep[first]
    said = [
        e for u, k in zip(units[first:begin], keep[first:begin], strict=True) if k for e in find_equations(u)
    ]
    return Mended(tuple(units), tuple(keep)) if right and all(e.holds for e in said) else None


def _with_talk(units: Sequence[str], index: int, paragraph: Sequence[int]) -> list[int]:
    """Return a unit with those around it, in its paragraph, that hold no number: "Is that right? 20 + 20 = 40. Good."."""
    found = [index]
    for step in (-1, 1):
        near = index + step
        while (
            0 <= near < len(units)
            and paragraph[near] == paragraph[index]
            and not re.search(r"\d", units[near])
        ):
            found.append(near)
            near += step
    return found


def _said_again(unit: str, truth: dict[str, str], instead: dict[str, str]) -> str | None:
    """Return a unit with right results, noting what now stands instead of what; ``None`` if it has no counterpart."""
    equations = find_equations(unit)
    if not equations:
        return _NUMBER.sub(lambda m: instead.get(m[0], m[0]), unit)
    written, at = "", 0
    for equation in equations:
        left = _counterpart(equation, truth, instead)
        if left is None:
            return None
        result = truth.get(left, equation.right)
        if result != equation.right:
            if instead.get(equation.right, result) != result:
                return None
            instead[equation.right] = result
        text = unit[equation.start : equation.end]
        if left != equation.left:
            new = iter(_OPERAND.findall(left))
            text = _NUMBER.sub(lambda m, new=new: next(new, m[0]), text)
        head, sign, tail = text.rpartition("=") if "=" in text else text.rpartition("≈")
        text = head + sign + _NUMBER.sub(result, tail, count=1)
        written, at = written + unit[at : equation.start] + text, equation.end
    return written + unit[at:]


def _counterpart(equation: Equation, truth: dict[str, str], instead: dict[str, str]) -> str | None:
    """Return the left side that stands for this one in the correction: itself, or with results that were replaced."""
    if equation.left in truth:
        return equation.left
    operands = _OPERAND.findall(equation.left)
    places = [n for n, operand in enumerate(operands) if operand in instead]
    for chosen in [places, *([place] for place in places)] if places else []:
        count = iter(range(len(operands)))
        left = _OPERAND.sub(lambda m: instead[m[0]] if next(count) in chosen else m[0], equation.left)  # noqa: B023
        if left in truth:
            return left
    return None if places or not equation.holds else equation.left
