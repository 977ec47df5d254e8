"""What a teacher's protocol is expected to take for a trace: requests, tokens in, tokens out.

Ratios between a trace and its reply come from replies that strong language models wrote for thirteen real traces of 11 to
185 units (``results/protocols`` has the figures); they are estimates, and a probe replaces them by measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from drp.records import Trace
from drp.text.units import split_units

CHARS_PER_TOKEN = 3.5
"""Of English with formulas, by the tokenizers of today's large models; about ± 15 %."""
CHARS_PER_UNIT = 70
EDITS_PER_UNIT = 0.35
"""Edits a unit: 0.28 to 0.44."""
LINE_CHARS, JSON_CHARS = 16, 75
"""Characters of an edit without its text; what is deleted names no skill."""
NEW_TEXT = 0.06
"""Characters of rewrites and merges per character of the trace: 0 to 0.09."""
COPY, ACTIONS, PRUNED = 1.2, 0.08, 0.26
"""Characters per character of the trace: a labelled copy (1.18 to 1.31), decisions a step, the pruned text."""
DIRECT_TOKENS = 75
"""Length of a short solution as the prompt asks for one: 63 on average; models that explain more write up to 200."""
AROUND = 1_400
"""Characters of what stands before a part of a trace, and comes behind it, that its request shows besides."""


@dataclass(frozen=True)
class Lengths:
    """Characters of the parts of one trace, and how many units its thinking has."""

    question: int
    thinking: int
    answer: int
    units: int


def lengths_of(trace: Trace) -> Lengths:
    """Measure a trace."""
    units = len(split_units(trace.thinking))
    return Lengths(len(trace.question), len(trace.thinking), len(trace.answer), units)


def assumed_lengths(trace_tokens: int) -> Lengths:
    """Return the lengths of a trace of so many tokens of which nothing else is known."""
    characters = int(trace_tokens * CHARS_PER_TOKEN)
    thinking = int(characters * 0.8)
    return Lengths(300, thinking, characters - thinking, max(1, thinking // CHARS_PER_UNIT))


@dataclass(frozen=True)
class Call:
    """One kind of request of a protocol."""

    times: int
    """Requests of this kind a trace: one a window."""
    characters_in: float
    """Of each: the prompt and what it shows."""
    characters_out: float
    reasoning_tokens: int = 0
    """Tokens of thinking before each reply."""


@dataclass(frozen=True)
class Load:
    """Requests, and tokens in and out."""

    requests: float = 0.0
    going_in: float = 0.0
    coming_out: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        """Return the sum."""
        return Load(
            self.requests + other.requests,
            self.going_in + other.going_in,
            self.coming_out + other.coming_out,
        )

    def scaled(self, by: float) -> "Load":
        """Return so many times the load."""
        return Load(self.requests * by, self.going_in * by, self.coming_out * by)


def load_of(calls: Sequence[Call]) -> Load:
    """Return what calls take together."""
    total = Load()
    for call in calls:
        out = call.characters_out / CHARS_PER_TOKEN + call.reasoning_tokens
        total += Load(call.times, call.times * call.characters_in / CHARS_PER_TOKEN, call.times * out)
    return total
