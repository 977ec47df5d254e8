"""Where a trace first reaches its final answer.

Two readings, because none is beyond doubt. *Settled* is what the rules teacher cuts after: a sentence that concludes, with
nothing behind it but agreement, doubt, checking or the end; it comes late rather than early. *Reached* is the first sentence
that arrives at the answer, as a reader would mark it: "252 inches is 21 feet" counts, though the trace then doubts it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drp.pruning.conclusion import Goal, arrives, flat
from drp.pruning.skills import ALTERNATIVE, DOUBT, VERIFICATION
from drp.records import Trace
from drp.teachers.conclusion import Answer, concluded
from drp.teachers.slicing import facts, read_lines
from drp.text.answers import final_answer
from drp.text.numbers import numbers_in

NEAR = 4
"""A small number comes up by chance; that it was the answer shows in so many units behind it."""
_SHORT = 3
"""Answers in words or letters shorter than this come up by chance: "A", "x"."""


@dataclass(frozen=True)
class Arrival:
    """The units at which a trace reaches its final answer; ``None`` where no unit does."""

    reached: int | None
    settled: int | None


def final_of(trace: Trace) -> str:
    """Return the answer that a trace ends on; of one that never answered, the gold one, if it is known.

    A right trace is read by its own spelling of the answer, which its thinking is more likely to share than the gold one.
    """
    own = final_answer(trace.answer) if trace.answer else None
    return own or ("" if trace.closed else trace.gold)


def arrival(trace: Trace, units: Sequence[str], final: str = "") -> Arrival:
    """Find where a trace reaches ``final``, by default its own final answer."""
    final = final or final_of(trace)
    if not final or not units:
        return Arrival(None, None)
    answer = Answer(final, facts(trace.question))
    settled = concluded(read_lines(units), answer, trace.question)
    reached = _first(trace, units, final, answer)
    if reached is None or (settled is not None and settled < reached):
        reached = settled
    return Arrival(reached, settled)


def _first(trace: Trace, units: Sequence[str], final: str, answer: Answer) -> int | None:
    goal = Goal(trace.question, final, trace.answer, lambda _text, _gold: False)
    if answer.value is None:
        plain = flat(final)
        if len(plain) < _SHORT or plain in flat(trace.question):
            return None  # a mention says nothing: only the settled reading tells
    elif answer.given:
        return None
    for index, unit in enumerate(units):
        if not (arrives(unit, goal) and answer.arrived_at(unit)):
            continue
        if answer.distinct or _looked_back_at(units, index):
            return index
    return None


def _looked_back_at(units: Sequence[str], index: int) -> bool:
    """Return whether a trace doubts, checks or ends behind a unit before it works out anything new."""
    known = set(numbers_in("".join(units[: index + 1])))
    for unit in units[index + 1 : index + 1 + NEAR]:
        if DOUBT.search(unit) or VERIFICATION.search(unit) or ALTERNATIVE.search(unit):
            return True
        if set(numbers_in(unit)) - known or re.match(r"\W*(?:now|next|then)\b", unit, re.IGNORECASE):
            return False
    return index + 1 + NEAR >= len(units)
