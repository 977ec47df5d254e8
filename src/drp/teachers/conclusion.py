"""Where a trace first soundly concludes, and with which words it may close."""

import re
from collections.abc import Sequence
from fractions import Fraction

from drp.pruning.skills import CONFIRMATION, DOUBT, is_filler
from drp.teachers.passages import turns_back
from drp.teachers.slicing import Line, content_words
from drp.text.answers import normalise
from drp.text.formulas import flatten
from drp.text.numbers import parse_number

# The answer is named as such: "So the answer is 26", "**Final Answer**", a box.
NAMES_ANSWER = re.compile(
    r"\\boxed|\banswer(?:\s+(?:\w+\s+){0,6}?(?:is|be|to be)\b|\s*:|\*\*)", re.IGNORECASE
)
# A sentence that draws a conclusion: "So x = 5", "That means 12", "…, which gives 12", "…, so 90".
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|that means|that gives|this gives|which (?:means|gives|is)|in total|altogether|that's|that is)\b",
    re.IGNORECASE,
)
# A sentence that says what something is: "Total fruits = 168", "Tom has 72 shells".
_ASSERTS = re.compile(
    r"=|\b(?:total|equals?|gives?|leaves?|is|are|makes?|has|have|spends?|earns?|needs?|costs?|ordered|lost|paid)\b",
    re.IGNORECASE,
)
# The answer came out, but the trace is at odds with itself: "Wait, so which is it?", "Why did I get 28 before?".
_AT_ODDS = re.compile(
    r"\b(?:which (?:is it|one)|confus\w+|conflict\w*|contradict\w*|why did|earlier|before i|previously|not the same|different from"
    r"|that can't|simplified further|be simplified|be reduced|messed up)\b",
    re.IGNORECASE,
)
# Words of a question that do not tell what is asked for.
_GENERIC = frozenset(
    ["what", "when", "which", "many", "much", "find", "value", "compute", "determine", "express", "answer", "form",
     "number", "total", "give", "did", "does", "can", "your"]
)  # fmt: skip
_ASKS = re.compile(
    r"[^.!?]*\?|(?:^|(?<=[.!?,]\s))(?:find|compute|determine|calculate|evaluate|what|how|express|simplify)\b[^.!?]*",
    re.IGNORECASE,
)
DISTINCT = 30
"""A whole number up to this size comes up by chance; the answer among them must be said of what is asked for."""
# What is only asked, supposed or guessed is not concluded: "If x = 26, then …", "maybe it's 26?", "let me check 26".
_OPEN = re.compile(
    r"\?\W*$|:\s*$|\b(?:maybe|perhaps|might|could be|guess|suppose|assum\w+|possib\w+|wondering|let me|let's|need to|not)\b"
    r"|^\W*(?:(?:so|and|but|now|wait|then)\b,?\s*)*(?:if|say|wait|alternatively|but|given|since|because|for)\b",
    re.IGNORECASE,
)
# The trace goes on with its own derivation: what stood before was a step.
_GOES_ON = re.compile(
    r"^\W*(?:(?:so|okay|ok|alright|and|well)\b,?\s*)*"
    r"(?:now|next|then|after (?:that|this)|finally|first|second|third|lastly|step|part|case|for the|on the other|similarly)\b",
    re.IGNORECASE,
)
# A closing sentence must make sense without what was deleted: "Both methods give 26", "still 26", "So that confirms it" do not.
_REFERS = re.compile(
    r"\b(?:all|both|same|again|still|confirm\w*|indeed|consistent|as well|methods?|approach\w*|way|either|also|check\w*"
    r"|verif\w*|earlier|previous\w*|regardless|anyway|after all|either way|steps?|these|those|this|that(?!'s)|matches|makes sense"
    r"|initial\w*|original (?:calc|answer)\w*|mistake|wrong|sure|not)\b|^\W*(?:but|wait|yes|yep|yeah|hmm|since|because|if|however)\b|\?",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^\W*(?:final answer|answer|conclusion)\W*$", re.IGNORECASE)
_SIGNED = re.compile(r"(?:(?<![\w)\]}.])-\s?)?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+)?(?![\d/])")
# The number is an operand, no result: `9` in "1 × 2 × … × 9" and in "9!".
_OPERAND = re.compile(
    r"(?:[*+/^×-]|\b(?:times|plus|minus|over|divided by|multiplied by|out of|sqrt))\s*[($]*\s*-?$"
)
_WORKED_ON = re.compile(
    r"\s*[!^*/+]|[A-Za-z(]|\s*-\s*[\dA-Za-z(]|\s*(?:times|plus|minus|divided by|multiplied by)\b"
)
_AFTER_NAME = re.compile(r"\banswer\b.*?\b(?:is|be)\b|\banswer\W*:|\\boxed", re.IGNORECASE)
LONGEST_CLOSING = 45
"""A closing sentence of more words than this explains something."""


class Answer:
    """The final answer of a trace, to be found in its sentences."""

    def __init__(self, final: str) -> None:
        self.flat = _squeeze(flatten(final))
        self.value: Fraction | None = parse_number(normalise(final))
        self._spelled = re.compile(rf"(?<![\w.]){re.escape(self.flat)}(?![\w]|\.\d)") if self.flat else None

    def arrived_at(self, text: str) -> bool:
        """Return whether a sentence ends up at the answer: it is the last value stated, or what is called the answer."""
        named = _AFTER_NAME.search(text)
        flat = flatten(text[named.end() :] if named else text)
        if self.value is not None:
            found = list(_SIGNED.finditer(flat))
            if not found:
                return False
            last = found[0] if named else found[-1]
            alone = not (_OPERAND.search(flat[: last.start()]) or _WORKED_ON.match(flat[last.end() :]))
            return alone and parse_number(_squeeze(last.group())) == self.value
        if self._spelled is None:
            return False
        squeezed = _squeeze(flat)
        places = list(self._spelled.finditer(squeezed))
        return bool(places) and not re.search(r"[=<>]", squeezed[places[-1].end() :])


def _squeeze(flat: str) -> str:
    """Return a flat text without white space beside signs, so that "3 / 4" and "3/4" compare equal."""
    return re.sub(r"\s*([^\w\s])\s*", r"\1", flat.strip()).replace("*", "")


def concluded(lines: Sequence[Line], answer: Answer, question: str) -> int | None:
    """Return the index of the line with which the trace first soundly concludes, or ``None``.

    Sound is a line that names the answer as such, or draws the conclusion and is followed by nothing but
    agreement, doubt, verification or the end: were there more to derive, the trace would go on. A number that merely
    equals the answer is not enough.
    """
    asked = _asked(question)
    names = frozenset(word for word in asked if word[0].isupper())
    hits: list[int] = []
    for line in lines:
        if not answer.arrived_at(line.text) or _OPEN.search(line.text):
            continue
        if NAMES_ANSWER.search(line.text):
            if _nothing_at_odds(lines, line.index):
                hits.append(line.index)
                break
        elif line.sound and _says_it(line, asked, answer) and _nothing_more(lines, line.index, answer):
            hits.append(line.index)
            if not names or names & _names(lines, line.index):
                break
    if not hits:
        return None
    return _settled(lines, hits[-1], answer)


def _asked(question: str) -> frozenset[str]:
    """Return the beginnings of the words that tell what is asked for, and the names in that sentence."""
    sentences = [match.group() for match in _ASKS.finditer(question)] or [question]
    names = re.findall(r"(?<=\s)[A-Z][a-z]+\b", sentences[-1].strip())
    return _stems(sentences[-1]) | frozenset(names)


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of the words of a text that tell what it is about."""
    return frozenset(word[:5] for word in content_words(text) - _GENERIC if len(word) > 2 and word.isalpha())


def _names(lines: Sequence[Line], index: int) -> frozenset[str]:
    around = lines[index].text + (lines[index - 1].text if index else "")
    return frozenset(re.findall(r"\b[A-Z][a-z]+\b", around))


def _says_it(line: Line, asked: frozenset[str], answer: Answer) -> bool:
    """Return whether a line says the answer of what is asked for, or concludes with a value that is no chance match."""
    if _stems(line.text) & asked and (_CONCLUDES.search(line.text) or _ASSERTS.search(line.text)):
        return True
    chance = answer.value is not None and answer.value.denominator == 1 and abs(answer.value) <= DISTINCT
    return not chance and bool(_CONCLUDES.search(line.text))


def _nothing_at_odds(lines: Sequence[Line], index: int, until: int = 0) -> bool:
    """Return whether no line after ``index``, up to two or up to ``until``, says that the answer disagrees with something."""
    return not any(_AT_ODDS.search(line.text) for line in lines[index + 1 : max(index + 3, until + 1)])


def agrees(line: Line, answer: Answer) -> bool:
    """Return whether a line only says the answer once more, or agrees: "So Tom has 26.", "That makes sense."."""
    text = line.text
    if CONFIRMATION.search(text) or _HEADING.match(text) or (is_filler(text) and not DOUBT.search(text)):
        return True
    return answer.arrived_at(text) and not _OPEN.search(text) and line.sound


def _nothing_more(lines: Sequence[Line], index: int, answer: Answer) -> bool:
    """Return whether what follows a line agrees with it until the trace ends or turns back."""
    for line in lines[index + 1 : index + 8]:
        if turns_back(line.text):
            return _nothing_at_odds(lines, index, line.index + 1)
        if _GOES_ON.search(line.text) or not agrees(line, answer):
            return False
    return index + 8 >= len(lines)


def _settled(lines: Sequence[Line], index: int, answer: Answer) -> int:
    """Return the last line of the conclusion: further lines of its paragraph that say the same belong to it."""
    last = index
    for line in lines[index + 1 : index + 4]:
        if lines[last].last_in_paragraph or turns_back(line.text) or not answer.arrived_at(line.text):
            break
        if _OPEN.search(line.text) or _REFERS.search(line.text):
            break
        last = line.index
    return last


def closing(lines: Sequence[Line], start: int, answer: Answer, known: frozenset[Fraction | str]) -> range:
    """Return the lines after ``start`` that may close the trace: one sentence that names the answer, with its heading.

    It stands on its own: it speaks of no other method and needs no value besides what is known.
    """
    for line in reversed(lines[start:]):
        text = line.text
        if not (NAMES_ANSWER.search(text) and answer.arrived_at(text)) or _OPEN.search(text):
            continue
        if _REFERS.search(text) or len(text.split()) > LONGEST_CLOSING or line.needs - known:
            continue
        headed = line.index > start and _HEADING.match(lines[line.index - 1].text)
        return range(line.index - 1 if headed else line.index, line.index + 1)
    return range(start, start)
