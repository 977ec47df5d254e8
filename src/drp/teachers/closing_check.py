"""The check that a student makes of its conclusion: found whole, so that one can stay as its habit of checking."""

import re
from collections.abc import Sequence, Set

from drp.pruning.skills import ALTERNATIVE, CONFIRMATION, DOUBT, VERIFICATION, has_substance, is_filler
from drp.teachers.conclusion import Answer
from drp.teachers.passages import OPENS_CHECK, VERDICT, carried_on, finds_fault, turns_back
from drp.teachers.slicing import Fact, Line

LONGEST = 24
"""A check of more units than this is not searched for its end."""
# "That seems straightforward." agrees, though it is no verdict on a passage in the middle of a derivation.
_AGREES = re.compile(
    r"\b(?:seems|looks|is|'s)(?: \w+)? (?:straightforward|solid|clear|reasonable|the same)\b", re.IGNORECASE
)
# "But maybe there's another way to think about it."
_ANOTHER_WAY = re.compile(r"\b(?:another|different) (?:way|approach|method|angle)\b", re.IGNORECASE)
# "But what if the weekend …": the next doubt, though it does not turn back to the solution.
_NEXT_DOUBT = re.compile(r"^\W*(?:but|maybe|however|alternatively|or|wait|hold on|hmm)\b", re.IGNORECASE)
# "Hmm, that seems right." agrees all the same.
_HESITATION = re.compile(r"^\W*hmm+\W*", re.IGNORECASE)


def closing_check(
    lines: Sequence[Line], start: int, answer: Answer, known: Set[Fact], most_words: int
) -> range:
    """Return the units of the check that opens at ``start``, right behind the conclusion; empty where none is whole.

    Whole is a check that comes back to the answer, without finding fault, and ends on its verdict:

        So 15 + 42 = 57.                    <- the conclusion
        Wait, let me double-check that.     <- from here
        57 - 15 = 42, and 42 / 2 = 21.
        Yes, that matches.                  <- to here
        But maybe they want the difference? <- the next doubt is not asked for

    It stands right behind what it checks, so that "that" and "again" have lost nothing.

    Args:
        lines: The units of the trace.
        start: The unit behind the conclusion.
        answer: What the check must come back to.
        known: What stands before it.
        most_words: A longer one is not kept.
    """
    none = range(start, start)
    opening = _opening(lines, start)
    if opening is None:
        return none
    words, said, came_back = 0, False, False
    for line in lines[start : start + LONGEST]:
        text = _HESITATION.sub("", line.text)
        words += len(text.split())
        opens = not said and not has_substance(text)  # "Maybe I made an error there." only says why it checks
        if words > most_words or not line.sound or (finds_fault(text) and not opens):
            return none
        asks = text.rstrip().endswith("?")
        settles = not asks and (_agrees(text) or answer.arrived_at(text))
        if said and not settles and (DOUBT.search(text) or ALTERNATIVE.search(text)):
            return none
        said = said or (line.index >= opening and has_substance(text))
        came_back = came_back or (not asks and _holds(line, answer))
        if said and came_back and settles and _ends(lines, start, line, known):
            return range(start, line.index + 1)
    return none


def _opening(lines: Sequence[Line], start: int) -> int | None:
    """Return the unit that says that a check follows: the first, or behind a few words like "Hold on, is the answer 144?"."""
    for line in lines[start : start + 3]:
        if any(cue.search(line.text) for cue in (OPENS_CHECK, VERIFICATION, ALTERNATIVE, _ANOTHER_WAY)):
            return line.index
        if not (is_filler(line.text) or line.text.rstrip().endswith("?")):
            return None
    return None


def _agrees(text: str) -> bool:
    return bool(VERDICT.search(text) or CONFIRMATION.search(text) or _AGREES.search(text))


def _holds(line: Line, answer: Answer) -> bool:
    return answer.arrived_at(line.text) or (answer.value is not None and abs(answer.value) in line.gives)


def _ends(lines: Sequence[Line], start: int, line: Line, known: Set[Fact]) -> bool:
    """Return whether the check is over with a line: with its paragraph, or before the next doubt, and not carried on."""
    following = line.index + 1
    if following == len(lines):
        return True
    text = lines[following].text
    if turns_back(text) or _NEXT_DOUBT.search(text):
        return line.last_in_paragraph or (_agrees(line.text) and not _agrees(_HESITATION.sub("", text)))
    return line.last_in_paragraph and not carried_on(lines, start, following, len(lines), known)
