"""Slips that were kept while the correction they had in the original was deleted: "5+7=13. Wait, no, 5+7=12."."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from drp.pruning.conclusion import shown
from drp.pruning.support import Sentence, sentences_of, written
from drp.records import EditScript
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in

NEAR = 3
"""Units behind a statement within which a correction of it opens."""
_REACH = 6
"""Units of a correction that are searched for what it says instead."""

# "Wait, no, …", "No, that's not right", "Oops", "I made a mistake", "Let me correct that": what stood before is taken back.
CORRECTS = re.compile(
    r"^\W*(?:(?:wait|hmm+|oh|but|so|hold on|okay|ah|actually)\b[,.…]*\s*)*"
    r"(?:no\b,? (?!need|other|matter|problem|wonder|issue)|no[,.!]|not \w+[,.]|oops|scratch that|correction\b|my mistake"
    r"|(?:that|this|it)(?:'s| is| was| can't be| cannot be| doesn't| does not)?(?: \w+){0,2} (?:wrong|incorrect|not (?:right|correct|true)|impossible|mistake|(?:seem |look )?right\b(?! answer))"
    r"|(?:that|this)(?: \w+)? (?:doesn't|does not|can't|cannot|isn't|is not) (?:match|work|right|be|add up|make sense|correct)"
    r"|i (?:made|must have made|think i made|misread|miscalculated|messed up|forgot|was wrong)|let me (?:correct|fix|redo|re-?calculate|re-?do)"
    r"|(?:the )?(?:problem|question|it) says \w+,? not )",
    re.IGNORECASE,
)
# "That's right" must not be read as a correction by the pattern above; it has to deny something.
_DENIES = re.compile(r"\b(?:no|not|wrong|incorrect|impossible|mistake|oops|scratch|correct(?:ion)?|fix|redo|re-?calculate|re-?do|misread|miscalculated|messed|forgot|cannot)\b|n't\b", re.I)  # fmt: skip


def kept_slips(units: Sequence[str], script: EditScript) -> list[str]:
    """Return the slips that stand in the pruned text uncorrected, though the original corrects them."""
    gone = [False] * len(units)
    for edit in script.edits:
        if edit.action == "delete":
            gone[edit.first : edit.last + 1] = [True] * (edit.last + 1 - edit.first)
    standing = sentences_of(units, script)
    found = [*_false_equations(units, standing), *_taken_back(units, standing, gone)]
    return list(dict.fromkeys(found))


def _false_equations(units: Sequence[str], standing: Sequence[Sentence]) -> Iterator[str]:
    """Find kept false equations whose left side has another, true right side later in the original, and not in the pruned text."""
    mended = {e.left: index for index, unit in enumerate(units) for e in find_equations(unit) if e.holds}
    stays = {e.left: s.first for s in standing for e in find_equations(s.text) if e.holds}
    for sentence in standing:
        for wrong in () if sentence.new else find_equations(sentence.text):
            at = sentence.first
            if not wrong.holds and mended.get(wrong.left, -1) > at and stays.get(wrong.left, -1) < at:
                yield f"{wrong.key} in {shown(sentence.text)}"


def _taken_back(units: Sequence[str], standing: Sequence[Sentence], gone: Sequence[bool]) -> Iterator[str]:
    """Find kept statements that a deleted unit close behind takes back, with another value in their place."""
    comes_again = {value: index for index, unit in enumerate(units) for value in numbers_in(unit)}
    for sentence in standing:
        said = None if sentence.new else _result(sentence.text)
        if said is None:
            continue
        for at in range(sentence.last + 1, min(sentence.last + 1 + NEAR, len(units))):
            if not gone[at]:
                break  # what is kept may correct it
            if CORRECTS.search(units[at]) and _DENIES.search(units[at]):
                if comes_again.get(said, -1) <= at and _others(units[at : at + _REACH]) - {said}:
                    yield f"{written(said)} in {shown(sentence.text)}, which {shown(units[at])} takes back"
                break
            if _result(units[at]) not in (None, said):
                break  # the correction is of that


def _result(text: str) -> Fraction | None:
    """Return the value that a sentence comes to, ``None`` where it states none or asks."""
    equations = find_equations(text)
    if equations:
        return equations[-1].value
    values = numbers_in(text)
    return values[-1] if values and not text.rstrip().endswith("?") else None


def _others(correction: Sequence[str]) -> set[Fraction | None]:
    """Return the values that a correction puts in the place of the one it takes back."""
    return {e.value for unit in correction for e in find_equations(unit) if e.holds} | set(
        numbers_in(correction[0])
    )
