"""Prunings whose kept text rests on what was deleted."""

import random
import re
from fractions import Fraction

from drp.text.equations import find_equations
from drp.text.numbers import numbers_in
from plants.base import PARAGRAPH, TAKES_BACK, Pruning, Source, concludes, edited, paragraph_end, until


def _known(question: str) -> set[Fraction]:
    return set(numbers_in(question)) | {
        Fraction(v) for v in (0, 1, 2, 3, 4, 5, 7, 10, 12, 24, 60, 100, 365, 1000)
    }


def value_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete all sentences that say a value before the first that computes with it."""
    known = _known(s.question)
    end = concludes(s) or len(s.units) - 1
    for at in range(2, end):
        for equation in find_equations(s.units[at]):
            operands = set(numbers_in(equation.left)) - known - {e.value for e in find_equations(s.units[at])}
            spelled = re.search(r"\b(?:hundred|thousand|half|twice|dozen)\b", s.question)
            for value in operands:
                says = {i for i in range(at) if value in numbers_in(s.units[i])}
                if says and not spelled and len(says) < at / 2:
                    return Pruning("a value lost", False, edited(s.units, says | until(end, s.units)))
    return None


def name_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentence that says what a letter stands for, and all with that letter up to one that computes with it."""
    for at, unit in enumerate(s.units):
        match = re.search(
            r"\b[Ll]et(?:'s| me| us)? (?:denote |call |say )?[^.]{0,60}?(?:\\\(|\$)?\b([b-zB-HJ-Z])\b(?:\\\)|\$)? (?:be|=|represent|denote|as)",
            unit,
        )
        if not match or re.search(rf"(?<![a-zA-Z]){match[1]}(?![a-zA-Z])", s.question):
            continue
        if any(re.search(rf"(?<![a-zA-Z\\]){match[1]}(?![a-zA-Z'’])", u) for u in s.units[:at]):
            continue  # it is known before
        uses = re.compile(
            rf"(?<![a-zA-Z\\]){match[1]}\s*[-+*/]\s*\w|(?<![a-zA-Z])\d{match[1]}(?![a-zA-Z])|[-+*/] {match[1]}(?![a-zA-Z])"
        )
        user = next((i for i in range(at + 1, len(s.units)) if uses.search(s.units[i])), None)
        if user is None or user - at > 12 or re.search(rf"{match[1]}\s*=", s.units[user]):
            continue
        return Pruning("a name lost", False, edited(s.units, set(range(at, user))))
    return None


_THIS = re.compile(
    r"^\W*(?:(?:so|and)\b,? )?(?:this|that|these|which) (?:means|gives|equals|leaves|simplifies)\b|^\W*(?:similarly|likewise)\b",
    re.I,
)


def reference_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentences of a paragraph before one that opens with "This means" or "Similarly"."""
    for at in range(3, len(s.units)):
        before = s.units[at - 1]
        if _THIS.search(s.units[at]) and len(before.split()) >= 6 and not before.rstrip().endswith("?"):
            start = at - 1
            while start > 1 and not PARAGRAPH.search(s.units[start - 1]) and at - start < 4:
                start -= 1
            return Pruning("a reference lost", False, edited(s.units, set(range(start, at))))
    return None


_YES = re.compile(r"^\W*(?:yes|no|well|nope|yeah)\b", re.I)


def answer_to_question_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep a question and delete its answer, up to the next paragraph."""
    for at in range(2, len(s.units) - 2):
        unit, answer = s.units[at].rstrip(), s.units[at + 1]
        tag = re.search(r"\b(?:right|correct|okay|sense)\?$", unit)
        if (
            unit.endswith("?")
            and len(unit.split()) > 3
            and not tag
            and (_YES.search(answer) or find_equations(answer))
        ):
            end = paragraph_end(s.units, at + 1)
            if end + 1 < len(s.units) and re.match(
                r"\W*(?:now|next|then|so|therefore|wait|alternatively|finally)\b", s.units[end + 1], re.I
            ):
                return Pruning("an answer lost", False, edited(s.units, set(range(at + 1, end + 1))))
    return None


def object_of_doubt_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep "No, that's not right" and delete what it is about."""
    for at in range(3, len(s.units)):
        if TAKES_BACK.search(s.units[at]) and len(s.units[at - 1].split()) >= 5:
            return Pruning(
                "the object of a doubt lost", False, edited(s.units, set(range(max(1, at - 3), at)))
            )
    return None


_MAYBE = re.compile(
    r"\b(?:maybe|perhaps) i (?:mis\w+|made)|\bi (?:might|may) have (?:mis\w+|made)|\bwhat if\b", re.I
)


def doubt_left_open(s: Source, _: random.Random) -> Pruning | None:
    """Keep "Maybe I misread" and delete how it is settled, up to the conclusion."""
    for at in range(2, len(s.units) - 2):
        if _MAYBE.search(s.units[at]):
            end = paragraph_end(s.units, at + 1)
            if end + 1 < len(s.units) and re.match(
                r"\W*(?:so|therefore|thus|alternatively|\*\*final)\b", s.units[end + 1], re.I
            ):
                return Pruning("a doubt left open", False, edited(s.units, set(range(at + 1, end + 1))))
    return None


def list_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep "Let me list them:" and delete the list, up to a sentence that goes on."""
    for at in range(1, len(s.units) - 2):
        if s.units[at].rstrip().endswith(":") and find_equations(s.units[at + 1]) and "**" not in s.units[at]:
            going_on = next(
                (
                    i
                    for i in range(at + 2, len(s.units))
                    if re.match(r"\W*(?:so|therefore|now|next|then|thus)\b", s.units[i], re.I)
                ),
                None,
            )
            if going_on is not None and going_on - at < 15:
                return Pruning("a list lost", False, edited(s.units, set(range(at + 1, going_on))))
    return None


def quotation_opened(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentence in which a quotation ends, and keep the one in which it opens."""
    for at in range(len(s.units) - 1):
        if s.units[at].count('"') % 2 and s.units[at + 1].count('"') % 2:
            return Pruning("a quotation left open", False, edited(s.units, {at + 1, *until(at + 8, s.units)}))
    return None
