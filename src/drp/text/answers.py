"""Final answers: where they stand in a text, by what sign they are known, and their spelling brought to one form."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Reading = Literal["box", "####", "statement", "last_number"]
"""By what an answer is known: a box, GSM8K's mark, words such as "the answer is", or that its number comes last."""
MARKED: tuple[Reading, ...] = ("box", "####")
"""The readings that leave no doubt; nothing of them is guessed from prose."""


class StatedAnswer(NamedTuple):
    """The final answer that a text states."""

    text: str
    reading: Reading
    together: tuple[str, ...] = ()
    """All boxes of the sentence that the last box stands in."""


# A box opens, a brace opens, a brace closes. `\{`, `\}` and `\\` are taken whole, so that they count as no brace.
_BRACES = re.compile(r"(?P<box>\\(?:f?boxed|fbox)\s*\{)|\\[\\{}]|[{}]")
# Between two boxes of one statement no sentence ends, no paragraph, and nothing is taken back: "3 no, 5".
_APART = re.compile(r"[.!?。！？](?:\s|$)|\n\s*\n|\b(?:no|not|wait|instead|rather|actually)\b", re.IGNORECASE)

_HASHES = re.compile(r"####[ \t]*(?P<value>[^\n]+)")
# "The answer is 5", "**Final Answer:** 5", "**Answer**: 5". A `**` before white space closes what stands before it.
_NAMED = re.compile(r"\banswer(?:\*\*)?\s*(?:is\s*:?|:|=)(?:\*\*(?=\s))?\s*(?P<value>[^\n]+)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.\s")
# "The answer is correct", "Final answer: as follows:" name no answer.
_EMPTY = re.compile(r"(?:correct|right|reasonable|consistent|wrong|incorrect)\b.*|.*:|[\W_]*", re.IGNORECASE)
_MATHS = re.compile(r"\\[()\[\]]|\*\*")

_DIGITS = r"\d++(?:(?:,|\{,\}|,\\!)\d{3}(?!\d))*+(?:\.\d++)?+(?:/\d++)?+"
_NUMBER = re.compile(rf"(?:(?<![\w)\]}}])-)?{_DIGITS}")
"""A number: `1,000`, `-2.5`, `3/4`. In `10-2` the sign is an operator."""
# The end of a chain of equations, `12` in "2*5+2 = 10+2 = 12": what another sign follows is only on the way there.
_RESULT = re.compile(
    rf"=\s*(?:\\?\$)?\s?(-?{_DIGITS})(?!\s*(?:[-+*/×·÷^=]|\\(?:times|cdot|div|frac)(?![a-zA-Z])))"
)
_BOLD = re.compile(r"\*\*(.+?)\*\*|\\(?:mathbf|textbf)\{([^{}]*)\}")
_AMOUNT = re.compile(r"\\?\$\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_NEXT_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*])|(?<=[。！？])")
# What opens an item or a step: "2. ", "(3) ", "- ", "## ", "**Step 2:** ".
_MARKER = re.compile(
    r"(?:\s|[-*•+>#]+\s|\*{0,2}\(?(?:\d{1,3}|[a-zA-Z])[.)]\*{0,2}\s|\*{0,2}(?:step|part|case)\s\d{1,3}\W{0,3}(?=\s|$))*+",
    re.IGNORECASE,
)
# "Let me think about this in 3 steps": something is to come.
_ANNOUNCES = re.compile(
    r"\W*(?:(?:okay|ok|so|now|first|next|then|and|but|wait|hmm),?\s)*+(?:let me|let's|let us|i(?:'ll| will| need to)|we(?:'ll| will| need to))\b",
    re.IGNORECASE,
)
# What stands behind a result is said of it, "= 7 weeks at $4 each", unless it goes on: "= 3, so the sum is 5".
_GOES_ON = re.compile(r"\b(?:so|therefore|thus|hence|is|are|gives?|makes?|total)\b", re.IGNORECASE)


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def _boxes(text: str) -> list[_Box]:
    """Return every complete box in order of its start, inner ones after outer ones; one scan."""
    found: list[_Box] = []
    open_: list[re.Match[str]] = []
    for match in _BRACES.finditer(text):
        sign = match.group()
        if sign == "{" or match["box"]:
            open_.append(match)
        elif sign == "}" and open_:
            opening = open_.pop()
            if opening["box"]:
                found.append(_Box(opening.start(), match.end(), text[opening.end() : match.start()].strip()))
    return sorted(found)


def boxed(text: str) -> str | None:
    r"""Return the content of the last complete ``\boxed{…}``, nested braces included."""
    boxes = _boxes(text)
    return boxes[-1].content if boxes else None


def final_answer(text: str) -> str | None:
    """Return the final answer that a text states, as :func:`stated_answer` reads it."""
    stated = stated_answer(text)
    return stated.text if stated else None


def stated_answer(text: str) -> StatedAnswer | None:
    """Return the final answer that a text states and its reading: boxed, after ``####``, named, or its last number.

    Of a sentence, what is set in bold counts, else the result that it computes, else the last result
    computed before it if it repeats that, else its only amount of money, else its last number. A sentence
    that announces or asks, and the number of a list item, state nothing.
    """
    boxes = _boxes(text)
    if boxes:
        return StatedAnswer(boxes[-1].content, "box", _together(text, boxes))
    for match in reversed(list(_HASHES.finditer(text))):
        if not _is_heading(match, text):
            return StatedAnswer(_value(match["value"], text, match.start()), "####")
    for match in reversed(list(_NAMED.finditer(text))):
        value = match["value"].strip()
        end = _SENTENCE_END.search(value, 1)
        value = (value[: end.start()] if end else value).removesuffix(".").strip()
        if not _EMPTY.fullmatch(value):
            return StatedAnswer(_value(value, text, match.start()), "statement")
    number = next(_last_numbers(text), None)
    return StatedAnswer(number, "last_number") if number else None


def _together(text: str, boxes: list[_Box]) -> tuple[str, ...]:
    """Return the contents of the last box and of those before it in one statement, in order."""
    found = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if box.end > found[-1].start or _APART.search(text, box.end, found[-1].start):
            break
        found.append(box)
    return tuple(box.content for box in reversed(found))


def _is_heading(match: re.Match[str], text: str) -> bool:
    """Return whether a ``####`` opens a section, as Markdown has it: words or an item's number, and text below."""
    value = match["value"].strip()
    words = re.match(r"[*_]*(?:[A-Za-z]{2}|\d{1,3}[.)]\s)", value)
    return bool(words) and match.end() < len(text.rstrip())


def _value(value: str, text: str, start: int) -> str:
    """Return the answer in what follows a mark or "the answer is" at ``start``: a number of a sentence, or all of it."""
    said = _of_sentence(value, text, start) if _is_sentence(value) else None
    if said:
        return said
    plain = _MATHS.sub("", value.strip())
    if not len(re.findall(r"(?<!\\)\$", plain)) % 2:
        plain = re.sub(r"(?<!\\)\$", "", plain)
    return plain.strip("*$ ").strip()


def _is_sentence(text: str) -> bool:
    plain = re.sub(r"\\(?:text|mathrm)\s*\{[^{}]*\}", "", text)
    return len(re.findall(r"(?<![\\\w])[A-Za-z]{2,}", plain)) >= 2 and bool(_NUMBER.search(plain))


def _last_numbers(text: str) -> Iterator[str]:
    """Yield the numbers that the sentences of a text are about, from its end."""
    for line in reversed(list(re.finditer(r"[^\n]+", text))):
        body = line.group()[_MARKER.match(line.group()).end() :]  # type: ignore[union-attr]
        if _NUMBER.search(body) and (number := _of_sentence(body, text, line.start())):
            yield number


def _states(sentence: str) -> bool:
    """Return whether a sentence states a number rather than announcing or asking something."""
    if not _NUMBER.search(sentence) or sentence.rstrip("*_ \t").endswith((":", "?", "：", "？")):
        return False
    return bool(_RESULT.search(sentence)) or not _ANNOUNCES.match(sentence)


def _of_sentence(line: str, text: str, start: int) -> str | None:
    """Return the number that the last sentence of a line is about, given the text before ``start``."""
    sentences = [s for s in _NEXT_SENTENCE.split(line.strip()) if _states(s)]
    if not sentences:
        return None
    sentence = sentences[-1]
    bold = [m.group() for m in _BOLD.finditer(sentence) if _NUMBER.search(m.group())]
    if bold:
        return _NUMBER.findall(bold[-1])[-1]
    computed = list(_RESULT.finditer(sentence))
    if computed:
        behind = sentence[computed[-1].end() :]
        if not (_NUMBER.search(behind) and _GOES_ON.search(behind)):
            return computed[-1][1]
        sentence = behind
    numbers = _NUMBER.findall(sentence)
    results = computed or list(_RESULT.finditer(text, 0, start))
    if results and _digits(results[-1][1]) in map(_digits, numbers):
        return results[-1][1]
    amounts = _AMOUNT.findall(sentence)
    return _NUMBER.findall(amounts[0])[-1] if len(amounts) == 1 else numbers[-1]


def _digits(number: str) -> str:
    return re.sub(r"[,{}\\!]", "", number)


def normalise(answer: str) -> str:
    """Return one spelling for answers that differ only in LaTeX habits, spacing or units of money.

    The result is for comparison, not for display.
    """
    text = answer.strip().strip("$").strip()
    text = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", text)
    text = re.sub(r"\\frac\s*(\w)\s*(\w)(?!\w)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\(?:left|right|displaystyle|!|,|;|:|quad)", "", text)
    text = re.sub(r"\^\s*\{?\\circ\}?|\\degree|°", "", text)
    text = text.replace("\\$", "").replace("\\%", "%").replace("−", "-").replace("\\ ", " ")
    text = re.sub(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))", "", text)
    return re.sub(r"\s+", "", text).rstrip(".")
