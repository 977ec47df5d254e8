"""Prunings that do not conclude, or conclude otherwise, and one that keeps all."""

import random
import re

from drp.text.answers import normalise
from drp.text.numbers import parse_number
from plants.base import Pruning, Source, concludes, edited, says_gold, until


def _before_gold(s: Source) -> int | None:
    """Return how many units stand before the first that holds the gold answer, and any result where the question holds it."""
    if says_gold(s, s.question):
        if parse_number(normalise(s.gold)) is None:
            return None
        gold = re.escape(s.gold)
        found = re.compile(
            rf"(?:\b(?:is|are|be|so|get|gets|gives?|leaves|left|equals?|therefore|then|needs?|each)\b|=)[^\n]{{0,60}}(?<!\d){gold}(?!\d)",
            re.I,
        )
        at = next((i for i, u in enumerate(s.units) if found.search(u)), None)
    else:
        at = next((i for i, u in enumerate(s.units) if says_gold(s, u)), None)
    return at if at is not None and at >= 3 else None


def ends_early(s: Source, _: random.Random) -> Pruning | None:
    """Cut before the gold answer is first said; where it stands in the question, before it is said to be the answer."""
    at = _before_gold(s)
    if at is None:
        return None
    kind = "gold only among the givens" if says_gold(s, s.question) else "cut before the answer"
    return Pruning(kind, False, edited(s.units, until(at - 1, s.units)))


def announces_only(s: Source, rng: random.Random) -> Pruning | None:
    """End on what is still to be done."""
    at = _before_gold(s)
    if at is None or says_gold(s, s.question):
        return None
    text = rng.choice(
        [
            "Finally, I'll add both of them to find the total.",
            "Next, I need to subtract this from the total.",
            "Now let me compute the result.",
        ]
    )
    return Pruning("ends on an announcement", False, edited(s.units, until(at, s.units), {at: text}))


def other_answer(s: Source, _: random.Random) -> Pruning | None:
    """Conclude on another value."""
    at, value = concludes(s), parse_number(normalise(s.gold))
    if at is None or value is None or value.denominator > 1:
        return None
    wrong = f"So the answer is {value + 3}."
    return Pruning("concludes otherwise", False, edited(s.units, until(at, s.units), {at: wrong}))


def sign_lost(s: Source, _: random.Random) -> Pruning | None:
    """Turn the sign of the answer wherever it is said, by writing those sentences anew."""
    at, value = concludes(s), parse_number(normalise(s.gold))
    if at is None or value is None or value.denominator > 1 or says_gold(s, s.question):
        return None
    turned = str(-value)
    texts = {
        i: f"So the answer is {turned}." if i == at else f"So x = {turned}."
        for i in range(at + 1)
        if says_gold(s, s.units[i])
    }
    return Pruning("sign turned", False, edited(s.units, until(at, s.units), texts))


def conclusion_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete every unit that holds the gold answer."""
    if says_gold(s, s.question):
        return None
    gone = {i for i, u in enumerate(s.units) if says_gold(s, u)}
    return (
        Pruning("conclusion deleted", False, edited(s.units, gone))
        if gone and len(gone) < len(s.units) / 2
        else None
    )
