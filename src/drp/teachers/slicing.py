"""What a unit of a trace says and what it rests on, and which kept units rest on deleted ones."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files

from drp.text.equations import Equation, find_equations
from drp.text.formulas import find_formulas, flatten, is_relation, letters, sides
from drp.text.numbers import numbers_in, parse_number

Fact = Fraction | str
"""A number by its value; a variable, a point or an expression by its spelling without white space."""

_WORD = re.compile(r"[a-z']+|\d+(?:\.\d+)?")
# A number that its own unit works out: `72` in "3 * 24 = 72" and in "3 times 24 is 72", not `57` in "x = 57 - y".
_RESULT = re.compile(
    r"(?:[=≈]|\b(?:is|equals|makes|gives|to get|gets?)\b)\s*-?(\d+(?:\.\d+)?|\.\d+)(?!\s*[-+*/^]|[\d.]\d|\s*\()"
)
# "Let x be …", "denote it by n": the unit itself says what the letter stands for.
_INTRODUCES = re.compile(
    r"\b(?:let(?:'s)?|denote|call|suppose|say|where|represent\w*|define|assume|with|set)\b", re.IGNORECASE
)
_LIST_MARK = re.compile(r"^\s*(?:\(?\d{1,2}[.):]\s|step \d+\b:?)", re.IGNORECASE)
_LONG_EXPRESSION = 4
"""Shorter expressions ("x+1") come up by themselves in different lines of thought."""


@dataclass(frozen=True)
class Line:
    """One unit with what can be read off it."""

    index: int
    text: str
    paragraph: int
    """Which paragraph it stands in, counted from 0."""
    last_in_paragraph: bool
    is_step: bool
    """Whether it is a line of a text without paragraphs, where each line is a step."""
    equations: tuple[Equation, ...]
    """Arithmetic over plain numbers, which can be checked."""
    relations: frozenset[str]
    """What it states in formulas, without white space: ``x=2``."""
    gives: frozenset[Fact]
    """All numbers, letters and longer expressions in it."""
    needs: frozenset[Fact]
    """Those of ``gives`` that it neither works out nor introduces itself."""

    @property
    def numbers(self) -> frozenset[Fraction]:
        """The numbers in it, unsigned."""
        return frozenset(fact for fact in self.gives if isinstance(fact, Fraction))

    @property
    def words(self) -> frozenset[str]:
        """Its words that carry meaning."""
        return content_words(self.text)

    @property
    def sound(self) -> bool:
        """Whether all its arithmetic holds."""
        return all(equation.holds for equation in self.equations)


@cache
def _stopwords() -> frozenset[str]:
    return frozenset((files("drp.teachers") / "stopwords.txt").read_text(encoding="utf-8").split())


def content_words(text: str) -> frozenset[str]:
    """Return the lower-case words and numbers of ``text`` that carry meaning."""
    return frozenset(_WORD.findall(text.lower())) - _stopwords()


def read_lines(units: Sequence[str]) -> list[Line]:
    """Return one :class:`Line` per unit.

    Paragraphs end at empty lines; in a text that has none, each line is one.
    """
    breaks = [unit[len(unit.rstrip()) :].count("\n") for unit in units]
    least = 2 if any(count > 1 for count in breaks) else 1
    lines: list[Line] = []
    paragraph = 0
    for index, unit in enumerate(units):
        ends = breaks[index] >= least or index == len(units) - 1
        lines.append(_read(index, unit, paragraph, ends, is_step=least == 1 and ends))
        paragraph += ends
    return lines


def _read(index: int, unit: str, paragraph: int, ends: bool, is_step: bool) -> Line:
    text = _LIST_MARK.sub("", unit)
    formulas = find_formulas(text)
    equations = tuple(find_equations(unit))
    gives = facts(text, formulas)
    flat = flatten(text)
    own: set[Fact] = {
        value for numeral in _RESULT.findall(flat) if (value := parse_number(numeral)) is not None
    }
    own |= {abs(e.value) for e in equations if e.value is not None}
    if _INTRODUCES.search(text):
        own |= {fact for fact in gives if isinstance(fact, str) and len(fact) <= 3}
    return Line(
        index=index, text=unit, paragraph=paragraph, last_in_paragraph=ends, is_step=is_step, equations=equations,
        relations=frozenset(f for f in formulas if is_relation(f)), gives=gives, needs=gives - own,
    )  # fmt: skip


def facts(text: str, formulas: Iterable[str] | None = None) -> frozenset[Fact]:
    """Return the numbers of ``text``, and the letters and longer expressions of its formulas."""
    found: set[Fact] = set(numbers_in(flatten(text)))
    for formula in find_formulas(text) if formulas is None else formulas:
        found |= letters(formula)
        found |= {side for side in sides(formula) if len(side) >= _LONG_EXPRESSION and letters(side)}
    return frozenset(found)


def unsupported(lines: Sequence[Line], keep: Sequence[bool], known: frozenset[Fact]) -> set[int]:
    """Return the deleted lines that kept lines rest on: they gave a fact first, and a kept line needs it.

    Args:
        lines: The units of a trace.
        keep: Which of them stay.
        known: What the question gives.
    """
    stated = set(known)
    lost: dict[Fact, int] = {}  # a fact that so far only deleted lines gave -> the first of them
    missing: set[int] = set()
    for line in lines:
        if keep[line.index]:
            missing |= {lost[fact] for fact in line.needs if fact in lost}
            stated |= line.gives
            for fact in line.gives:
                lost.pop(fact, None)
        else:
            for fact in line.gives - stated:
                lost.setdefault(fact, line.index)
    return missing
