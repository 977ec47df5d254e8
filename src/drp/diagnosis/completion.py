"""One completion taken apart: units with their skills and tokens, where it reaches its answer, how it ends."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from drp.diagnosis.arrival import Arrival, arrival
from drp.pruning.skills import classify
from drp.records import Trace
from drp.text.loops import loop_period
from drp.text.numbers import numbers_in
from drp.text.tokens import TokenCounter
from drp.text.units import split_units

CHARACTERS = 4
"""A token of English is about so many characters; only where nobody counted."""


def by_characters(text: str) -> int:
    """Estimate the tokens of a text where there is no tokenizer."""
    return -(-len(text) // CHARACTERS)


@dataclass(frozen=True)
class Part:
    """A unit of thinking: its skill, and its part of the tokens."""

    text: str
    skill: str
    tokens: float


@dataclass(frozen=True)
class Taken:
    """A completion taken apart."""

    trace: Trace
    parts: Sequence[Part]
    arrival: Arrival
    thinking: float
    """Tokens of thinking."""
    answer: float
    """Tokens of the answer part."""
    level: str = ""
    """How hard its problem is, where the file says so."""
    found_gold: bool | None = None
    """Of a wrong completion, whether its thinking reaches the right answer."""

    @property
    def problem(self) -> str:
        """The identity of its problem."""
        return self.trace.problem_id

    @property
    def tokens(self) -> float:
        """All of them."""
        return self.thinking + self.answer

    @cached_property
    def looping(self) -> bool:
        """Whether its text ends on repeating one block."""
        return loop_period(self.trace.answer or self.trace.thinking) is not None

    def until(self, unit: int | None) -> float:
        """Return the tokens of thinking up to a unit, itself included; all of them where there is none."""
        return self.thinking if unit is None else sum(part.tokens for part in self.parts[: unit + 1])


def _skill(unit: str, given: Set[Fraction]) -> str:
    """Return the skill of a unit; prose with numbers that the question does not have works something out: "6 times 7 is 42"."""
    skill = classify(unit)
    return "arithmetic" if skill == "reading given quantities" and set(numbers_in(unit)) - given else skill


def take_apart(trace: Trace, count: TokenCounter, level: str = "") -> Taken:
    """Take a graded completion apart.

    The file's own counts win: what it counted is shared out over the text as ``count`` has it.
    """
    units = split_units(trace.thinking)
    sizes = [float(count(unit)) for unit in units]
    thinking, answer = sum(sizes), float(count(trace.answer)) if trace.answer else 0.0
    usage = trace.usage
    if usage and usage.completion_tokens:
        whole = float(usage.completion_tokens)
        known = usage.thinking_tokens
        share = thinking / ((thinking + answer) or 1)
        thinking = float(known) if known is not None else whole * share
        answer = whole - thinking
    scale = thinking / (sum(sizes) or 1)
    given = set(numbers_in(trace.question))
    skills = [_skill(unit, given) for unit in units]
    parts = [Part(u, s, n * scale) for u, s, n in zip(units, skills, sizes, strict=True)]
    wrong = trace.correct is False and bool(trace.gold)
    found = arrival(trace, units, trace.gold).reached is not None if wrong and units else None
    return Taken(trace, parts, arrival(trace, units), thinking, answer, level, found)
