r"""Task ``multiple_choice``: the answer is one of the options that the question lists, by its letter or in its words.

Options are lines that begin with a letter: ``A) 12``, ``(B) 13``, ``C. 14``, ``D: none of these``. The gold answer is a
letter or an option's text; so is what a student may state: ``\boxed{B}``, "The answer is (B)", "B) 13", or "13".
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from drp.tasks import base
from drp.text.answers import StatedAnswer, normalise, stated_answer

_OPTION = re.compile(r"^[ \t]*\(?([A-J])[).:][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
"""A line of the question with an option; takes ``(B) 13`` and ``B. 13``, leaves ``A car drives`` and ``(a) Show that``."""
_NAMED = re.compile(
    r"\b(?i:answer|option|choice)\b[:* \t]{0,6}(?:is|would be|should be|must be)?[:* \t]{0,6}(?:option|choice)?[* \t]{0,4}\(?([A-J])\b\)?"
    r"(?![ \t]+(?:is|was)\b)"
)
"""Where prose names a letter; takes "the answer is (B)" and "Answer: **C**", leaves "option A is wrong"."""
_ALONE = re.compile(r"^\W{0,6}(?:\\text(?:bf)?\{)?\W{0,3}([A-J])(?:[).:}\]]|\W*$)", re.DOTALL)
r"""A letter on its own or before its option's text: takes ``B``, ``(B)``, ``\text{B}``, ``B) 13``; leaves ``A car``."""
_LONGEST = 20_000
"""Characters of a text's end that are searched for a named letter: an answer stands at the end."""


class MultipleChoice(base.Task):
    """One of several options, as in GPQA and other science benchmarks."""

    kind: Literal["multiple_choice"] = "multiple_choice"

    directive: ClassVar[str] = (
        "Please reason step by step, and put the letter of the right option, and nothing else, within \\boxed{}."
    )
    unchecked: ClassVar[frozenset[str]] = frozenset({"concluded"})

    def posed(self, question: str, gold: str, options: Sequence[str]) -> tuple[str, str]:
        """Show options below the question; a gold answer that is the index of one, from 0, becomes its letter."""
        if not options:
            return question, gold
        letters = [chr(ord("A") + place) for place in range(len(options))]
        asked = "\n".join(
            [question, *(f"{letter}) {text}" for letter, text in zip(letters, options, strict=True))]
        )
        if gold.isdecimal() and gold not in options and int(gold) < len(options):
            gold = letters[int(gold)]
        return asked, gold

    def grade(self, text: str, gold: str, question: str, maths: base.MathsGrader) -> base.Verdict:
        """Compare letters; an option's words count as its letter."""
        found = options(question)
        stated = _stated(text, found)
        wanted = letter_of(gold, found)
        if stated is None:
            return base.Verdict(correct=False)
        letter = letter_of(stated.text, found)
        if (
            wanted is None
        ):  # the question lists no options, or gold is none of them: its words have to be stated
            return base.Verdict(correct=normalise(stated.text) == normalise(gold), reading=stated.reading)
        if letter is None and wanted in found:  # a number or formula spelt in another way than its option
            letter = wanted if maths(f"\\boxed{{{stated.text}}}", found[wanted]).correct else None
        return base.Verdict(correct=letter == wanted, reading=stated.reading)

    def final_answer(self, text: str, question: str) -> str | None:
        """Return the letter that a text states, or its words where no option says so."""
        found = options(question)
        stated = _stated(text, found)
        return None if stated is None else letter_of(stated.text, found) or stated.text


def options(question: str) -> dict[str, str]:
    """Return the options that a question lists, by letter; of two lists the last, empty where there is none."""
    found: dict[str, str] = {}
    for match in _OPTION.finditer(question):
        letter, text = match.groups()
        if letter == "A":
            found = {}
        if ord(letter) == ord("A") + len(found):
            found[letter] = text
    return found if len(found) > 1 else {}


def letter_of(answer: str, found: dict[str, str]) -> str | None:
    """Return the letter that an answer is, begins with, or spells out in an option's words."""
    said = normalise(answer)
    for letter, text in found.items():
        if said and said == normalise(text):
            return letter
    match = _ALONE.match(answer.strip())
    return match[1] if match and (not found or match[1] in found) else None


def _stated(text: str, found: dict[str, str]) -> StatedAnswer | None:
    """Return the answer that a text states: boxed, or a letter that prose names, or an option as its last line."""
    stated = stated_answer(text)
    if stated is not None and stated.reading == "box":
        return stated
    named = [m for m in _NAMED.finditer(text[-_LONGEST:]) if not found or m[1] in found]
    if named:
        return StatedAnswer(named[-1][1], "statement")
    last = text.strip().rpartition("\n")[2].strip(" .*")
    return StatedAnswer(last, "statement") if last and letter_of(last, found) else None
