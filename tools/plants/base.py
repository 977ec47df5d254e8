"""A real trace, a pruning of it, and what the plants share: where things stand in a trace, and sound prunings."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drp.pruning.skills import is_filler
from drp.records import Edit, EditScript
from drp.text.answers import normalise
from drp.text.numbers import numbers_in, parse_number

SAYS_ANSWER = re.compile(r"\b(?:the|final|my) answer (?:is|should be|must be)\b|\\boxed", re.I)
CHECKS = re.compile(
    r"\b(?:check|verify|confirm|make sure|alternatively|another way|different (?:way|approach|method)|double)\b|^\W*wait\b|^\W*hmm",
    re.I,
)
TAKES_BACK = re.compile(
    r"^\W*(?:wait,? no\b|no,? wait|no, that'?s (?:not|wrong)|wait,? that(?:'s| is) (?:not|wrong)|oops)", re.I
)
PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*$")


@dataclass(frozen=True)
class Source:
    """A real trace, and a human's solution of its question, empty where there is none."""

    id: str
    question: str
    gold: str
    units: tuple[str, ...]
    answer: str
    solution: str


@dataclass(frozen=True)
class Pruning:
    """One way to prune a trace."""

    kind: str
    sound: bool
    script: EditScript
    units: tuple[str, ...] | None = None
    """The units it is for, where the fault needed a change of the trace itself."""
    answer: str | None = None


Plant = Callable[[Source, random.Random], Pruning | None]


def edited(units: Sequence[str], gone: set[int], texts: dict[int, str] | None = None) -> EditScript:
    """Return a script of one edit a unit: deleted, written anew, or kept."""
    texts = texts or {}

    def edit(i: int) -> Edit:
        if i in texts:
            return Edit(first=i, last=i, action="rewrite", skills=("other",), text=texts[i])
        if i in gone:
            return Edit(first=i, last=i, action="delete", skills=("other",), reason="planted")
        return Edit(first=i, last=i, action="keep", skills=("other",))

    return EditScript(units=len(units), edits=tuple(edit(i) for i in range(len(units))))


def rewritten(units: Sequence[str], text: str) -> EditScript:
    """Return a script that writes the whole trace anew."""
    whole = Edit(first=0, last=len(units) - 1, action="rewrite", skills=("whole",), text=text)
    return EditScript(units=len(units), edits=(whole,))


# --- what is where in a trace


def says_gold(s: Source, unit: str) -> bool:
    """Return whether a unit holds the gold answer, by value or spelling."""
    value = parse_number(normalise(s.gold))
    if value is not None:
        return abs(value) in numbers_in(unit)
    gold, text = normalise(s.gold), normalise(unit)
    fraction = re.fullmatch(r"\\frac\{(\w+)\}\{(\w+)\}", gold)
    spoken = rf"{fraction[1]}(?:/|over|dividedby|outof){fraction[2]}" if fraction else re.escape(gold)
    return gold in text or re.search(rf"(?<![0-9]){spoken}(?![0-9])", text) is not None


def concludes(s: Source) -> int | None:
    """Return the first unit that says in words that the gold answer is the answer."""
    return next((i for i, u in enumerate(s.units) if SAYS_ANSWER.search(u) and says_gold(s, u)), None)


def paragraph_end(units: Sequence[str], at: int) -> int:
    """Return the last unit of the paragraph of unit ``at``."""
    return next((i for i in range(at, len(units)) if PARAGRAPH.search(units[i])), len(units) - 1)


def until(last: int, units: Sequence[str]) -> set[int]:
    """Return the units behind ``last``."""
    return set(range(last + 1, len(units)))


# --- sound prunings, for several checks


def cut_after_conclusion(s: Source, _: random.Random) -> Pruning | None:
    """Keep all up to the first sentence that says the answer."""
    at = concludes(s)
    return (
        None if at is None else Pruning("cut after the conclusion", True, edited(s.units, until(at, s.units)))
    )


def talk_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete talk that states nothing."""
    if concludes(s) is None:
        return None
    asked = {0, *(i + 1 for i, u in enumerate(s.units) if u.rstrip().endswith((":", "?")))}
    gone = {
        i
        for i, u in enumerate(s.units)
        if is_filler(u) and not u.rstrip().endswith((":", "?")) and not TAKES_BACK.search(u)
    } - asked
    return Pruning("talk deleted", True, edited(s.units, gone)) if gone else None


def second_pass_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete whole paragraphs between the first conclusion and the last paragraph."""
    at = concludes(s)
    if at is None or not says_gold(s, s.units[-1]):
        return None
    end = paragraph_end(s.units, at)
    if s.units[end].rstrip().endswith((":", "?")):
        return None
    last = max((i + 1 for i in range(len(s.units) - 1) if PARAGRAPH.search(s.units[i])), default=0)
    gone = set(range(end + 1, last))
    return Pruning("second pass deleted", True, edited(s.units, gone)) if len(gone) > 3 else None


def whole(s: Source, _: random.Random) -> Pruning | None:
    """Keep all; of traces that conclude in words."""
    return None if concludes(s) is None else Pruning("all kept", True, edited(s.units, set()))


SOUND: tuple[Plant, ...] = (cut_after_conclusion, talk_deleted, second_pass_deleted)
