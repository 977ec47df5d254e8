"""Where a trace first soundly concludes, and with which words it may close."""

import re
from collections.abc import Sequence, Set
from fractions import Fraction

from drp.pruning.skills import CONFIRMATION, DOUBT, RESTATEMENT, is_filler
from drp.teachers.passages import OPENS_BRANCH, turns_back
from drp.teachers.slicing import Fact, Line, content_words
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
    r"|that can't|simplified further|be simplified|be reduced|messed up|wait,? no|hold on,? no|that's not)\b",
    re.IGNORECASE,
)
# The trace looks back at what it has: "let me double-check", "is that right?", "Alternatively, …", "**Final Answer**".
_LOOKS_BACK = re.compile(
    r"\b(?:check|verif\w*|make sure|makes? sense|(?:right|correct)\?|alternatively|another (?:way|approach|method)|answer|confident|recap"
    r"|go (?:over|through)|mistakes?|straightforward|just to|correct(?:ly)?|again|solid)\b",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(
    r"^\W*(?:(?:so|but|wait|now|and|hmm)\b,?\s*)*(?:if the|suppose|assuming|or if)\b", re.IGNORECASE
)
# Words of a question that do not tell what is asked for.
_GENERIC = frozenset(
    ["what", "when", "which", "many", "much", "find", "value", "compute", "determine", "express", "answer", "form",
     "number", "total", "give", "did", "does", "can", "your"]
)  # fmt: skip
_ASKS = re.compile(
    r"(?:^|(?<=[.!?]))[^.!?]*+\?|(?:^|(?<=[.!?,]\s))(?:find|compute|determine|calculate|evaluate|what|how|express|simplify)\b[^.!?]*",
    re.IGNORECASE,
)
DISTINCT = 30
"""A whole number up to this size comes up by chance; the answer among them must be said of what is asked for."""
# What is only asked, supposed or guessed is not concluded: "If x = 26, then …", "maybe it's 26?", "let me check 26".
_OPEN = re.compile(
    r"\?\W*$|:\s*$|\b(?:maybe|perhaps|might|could be|guess|suppose|assum\w+|possibly|wondering|let me|let's|need to|not)\b"
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
_RETURNS = (
    r"both|same|again|still|confirm\w*|indeed|consistent|as well|methods?|approach\w*|check\w*|verif\w*|earlier|previous\w*"
    r"|regardless|anyway|after all|matches|makes sense|initial\w*|mistake|wrong"
)
_REFERS = re.compile(
    rf"\b(?:{_RETURNS}|all|way|either|also|steps?|these|those|this|that(?!'s)|sure|not)\b"
    r"|^\W*(?:but|wait|yes|yep|yeah|hmm|since|because|if|however)\b|\?",
    re.IGNORECASE,
)
_BOXED_REFERS = re.compile(rf"\b(?:{_RETURNS})\b", re.IGNORECASE)
_HEADING = re.compile(r"^\W*(?:final answer|answer|conclusion)\W*$", re.IGNORECASE)
_SIGNED = re.compile(r"(?:(?<![\w)\]}.])-\s?)?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+)?(?![\d/])")
# The number is an operand, no result: `9` in "1 × 2 × … × 9" and in "9!".
_OPERAND = re.compile(
    r"(?:[*+/^×-]|\b(?:times|plus|minus|over|divided by|multiplied by|out of|sqrt|base|mod|modulo|step|case|option|than|at least|at most)|[<>≤≥≡])\s*[($]*\s*-?$"
)
_WORKED_ON = re.compile(
    r"\s*[!^*/+]|[A-Za-z(]|\s*-\s*[\dA-Za-z(]|\s*(?:times|plus|minus|divided by|multiplied by)\b"
)
# A rounded form behind the answer: "5/18 ≈ 0.2778", "5/54 is approximately 0.0926".
_ABOUT = re.compile(
    r"(?:≈|\\?approx|,? (?:which )?(?:is )?(?:about|approximately|roughly))\s*\$?\d+(?:\.\d*)?(?:\.{3})?%?.*$",
    re.DOTALL,
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SAID_OF = re.compile(r"\b(?:over|for|in|per|after|with|on|by|during|within|at)\b")
_AFTER_NAME = re.compile(r"\banswer\b.{0,200}?\b(?:is|be)\b|\banswer\W*:|\\boxed", re.IGNORECASE)
FEW = 6
"""How many lines back a paragraph's opening still colours what a line says."""
LONGEST_CLOSING = 45
"""A closing sentence of more words than this explains something."""


class Answer:
    """The final answer of a trace, to be found in its sentences.

    Args:
        final: The answer as the answer part states it.
        given: What the question gives; an answer among it must be concluded, not only mentioned.
    """

    def __init__(self, final: str, given: Set[Fact] = frozenset()) -> None:
        self.flat = _squeeze(flatten(final))
        value = parse_number(normalise(final))
        self.value: Fraction | None = parse_number(self.flat) if value is None else value
        self.distinct = self.value is None or self.value.denominator > 1 or abs(self.value) > DISTINCT
        """Whether it is no small whole number, which comes up by chance."""
        self.given = self.value is not None and abs(self.value) in given
        self._known = given
        self._spelled = re.compile(rf"(?<![\w.]){re.escape(self.flat)}(?![\w]|\.\d)") if self.flat else None

    def arrived_at(self, text: str) -> bool:
        """Return whether a sentence ends up at the answer: it is the last value stated, or what is called the answer."""
        named = _AFTER_NAME.search(text)
        flat = _ABOUT.sub("", flatten(text[named.end() :] if named else text))
        return (
            self._ends_with_value(flat, bool(named))
            if self.value is not None
            else self._ends_with_spelling(flat)
        )

    def _ends_with_value(self, flat: str, named: bool) -> bool:
        found = list(_SIGNED.finditer(flat))
        if not found:
            return False
        last = found[0] if named else found[-1]
        if not named and len(found) > 1 and self._is_said_of_it(flat, found[-2], last):
            last = found[-2]
        alone = not (_OPERAND.search(flat[: last.start()]) or _WORKED_ON.match(flat[last.end() :]))
        return alone and self._is(last)

    def _is_said_of_it(self, flat: str, answer: re.Match[str], last: re.Match[str]) -> bool:
        """Return whether the last number is one of the question's that is said of the answer: "$120 over 30 days"."""
        between = flat[answer.end() : last.start()]
        value = _number(last)
        return (
            self._is(answer)
            and value != self.value
            and value is not None
            and abs(value) in self._known
            and bool(_SAID_OF.search(between))
            and not re.search(r"[=,;:(]", between)
        )

    def _is(self, numeral: re.Match[str]) -> bool:
        """Return whether a numeral is the answer; of an equal fraction that is not reduced yet, the last step is missing."""
        spelled = _squeeze(numeral.group())
        return parse_number(spelled) == self.value and ("/" not in spelled or spelled == self.flat)

    def _ends_with_spelling(self, flat: str) -> bool:
        if self._spelled is None:
            return False
        squeezed = _squeeze(flat)
        places = list(self._spelled.finditer(squeezed))
        if not places or re.search(r"[=<>]", squeezed[places[-1].end() :]):
            return False
        before, behind = squeezed[: places[-1].start()], squeezed[places[-1].end() :]
        return not (re.search(r"[-+/^(]$", before) or re.match(r"[-+/^)!]", behind))


def _number(match: re.Match[str]) -> Fraction | None:
    return parse_number(_squeeze(match.group()))


def _squeeze(flat: str) -> str:
    """Return a flat text without white space beside signs, so that "3 / 4" and "3/4" compare equal."""
    return re.sub(r"\s*([^\w\s])\s*", r"\1", flat.strip()).replace("*", "")


def concluded(lines: Sequence[Line], answer: Answer, question: str) -> int | None:
    """Return the index of the line with which the trace first soundly concludes, or ``None``.

    Sound is a line that names the answer as such, or draws the conclusion and is followed by nothing but
    agreement, doubt, verification or the end: were there more to derive, the trace would go on. A number that merely
    equals the answer is not enough.
    """
    asked, names = _asked(question)
    fallback: int | None = None
    for line in lines:
        if not answer.arrived_at(line.text) or _OPEN.search(line.text):
            continue
        if NAMES_ANSWER.search(line.text):
            if _nothing_at_odds(lines, line.index):
                return _settled(lines, line.index, answer)
        elif (
            line.sound
            and _says_it(line, asked, answer)
            and not _in_branch(lines, line.index)
            and _nothing_more(lines, line.index, answer)
        ):
            if not names or names & _names(lines, line.index):
                return _settled(lines, line.index, answer)
            fallback = line.index if fallback is None else fallback
    return None if fallback is None else _settled(lines, fallback, answer)


def _asked(question: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the beginnings of the words that tell what is asked for, and of whom, where the question names others too.

    An intermediate value may equal the answer, but then it belongs to something or somebody else.
    """
    sentences = [match.group() for match in _ASKS.finditer(question)] or [question]
    everybody = {name for name in re.findall(r"\b[A-Z][a-z]+\b", question) if content_words(name) - _GENERIC}
    names = everybody & set(re.findall(r"(?<=\s)[A-Z][a-z]+\b", sentences[-1].strip()))
    return _stems(sentences[-1]), frozenset(names if everybody - names else ())


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of the words of a text that tell what it is about."""
    return frozenset(
        word[:5]
        for word in content_words(_COMMAND.sub(" ", text)) - _GENERIC
        if len(word) > 2 and word.isalpha()
    )


def _names(lines: Sequence[Line], index: int) -> frozenset[str]:
    around = lines[index].text + (lines[index - 1].text if index else "")
    return frozenset(re.findall(r"\b[A-Z][a-z]+\b", around))


def _says_it(line: Line, asked: frozenset[str], answer: Answer) -> bool:
    """Return whether a line says the answer of what is asked for, or concludes with a value that is no chance match."""
    if RESTATEMENT.search(line.text) or (answer.given and not _CONCLUDES.search(line.text)):
        return False
    if _stems(line.text) & asked and (_CONCLUDES.search(line.text) or _ASSERTS.search(line.text)):
        return True
    return answer.distinct and bool(_CONCLUDES.search(line.text))


def _in_branch(lines: Sequence[Line], index: int) -> bool:
    """Return whether a line stands in a paragraph that tries something out: "Alternatively, simple interest would be …"."""
    for line in reversed(lines[max(0, index - FEW) : index + 1]):
        if line.index < index and line.last_in_paragraph:
            return False
        if OPENS_BRANCH.search(line.text) or _SUPPOSES.search(line.text):
            return True
    return False


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
    """Return whether what follows a line agrees with it until the trace ends or turns back to it.

    "Wait, but they sold 64 bars. So …" is no turn back: an answer that may have come up by chance must be checked, or
    sought in another way.
    """
    for line in lines[index + 1 : index + 8]:
        if turns_back(line.text):
            checked = answer.distinct or any(
                _LOOKS_BACK.search(x.text) for x in lines[line.index : line.index + 2]
            )
            return checked and _nothing_at_odds(lines, index, line.index + 1)
        if _GOES_ON.search(line.text) or not agrees(line, answer):
            return False
    return index + 8 >= len(lines)


def _settled(lines: Sequence[Line], index: int, answer: Answer) -> int:
    """Return the last line of the conclusion: what says the same before the trace turns back belongs to it."""
    last = index
    for line in lines[index + 1 : index + 8]:
        if turns_back(line.text) or _HEADING.match(line.text) or not agrees(line, answer):
            break
        if answer.arrived_at(line.text):
            last = line.index
    return last


def closing(lines: Sequence[Line], start: int, answer: Answer, known: frozenset[Fact]) -> range:
    """Return the lines after ``start`` that may close the trace: one sentence that names the answer, with its heading.

    It stands on its own: it speaks of no other method and needs no value besides what is known. Where the conclusion
    names the answer already, only a box is worth having again.
    """
    named = start > 0 and bool(NAMES_ANSWER.search(lines[start - 1].text))
    for line in reversed(lines[start:]):
        text = line.text
        boxed = "\\boxed" in text
        if (
            not (NAMES_ANSWER.search(text) and answer.arrived_at(text))
            or _OPEN.search(text)
            or (named and not boxed)
        ):
            continue
        refers = (_BOXED_REFERS if boxed else _REFERS).search(text)
        if refers or len(text.split()) > LONGEST_CLOSING or line.needs - known:
            continue
        headed = line.index > start and _HEADING.match(lines[line.index - 1].text)
        return range(line.index - 1 if headed else line.index, line.index + 1)
    return range(start, start)
