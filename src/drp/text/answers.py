"""Final answers: where they stand in a text, and their spelling brought to one form."""

import re

_DIRECTIVE = re.compile(
    r"(?:final\s+answer|answer)\s*(?:is\s*:?|:|=)\s*(?P<value>[^\n]+?)(?=\.?\s*(?:\n|$)|\.\s)", re.IGNORECASE
)
_HASHES = re.compile(r"####\s*(?P<value>[^\n]+)")
_BOLD = re.compile(r"\*\*(.+?)\*\*|\\(?:mathbf|textbf)\{([^{}]*)\}")
_AMOUNT = re.compile(r"\\?\$\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")

_RESULT = re.compile(rf"=\s*(?:\\?\$)?\s?({_NUMBER.pattern})")


def boxed(text: str) -> str | None:
    r"""Return the content of the last complete ``\boxed{…}``, nested braces included."""
    for match in reversed(list(re.finditer(r"\\(?:f?boxed|fbox)\s*\{", text))):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[match.end() : end].strip()
    return None


def final_answer(text: str) -> str | None:
    """Return the final answer a text states: boxed, after ``####``, named, or in its last sentence.

    Of a sentence, what is set in bold counts, else the last result computed before it if it repeats
    that, else its only amount of money, else its last number.
    """
    inside = boxed(text)
    if inside is not None:
        return inside
    for pattern in (_HASHES, _DIRECTIVE):
        matches = list(pattern.finditer(text))
        if matches:
            value = matches[-1]["value"].strip()
            said = _of_sentence(value, text[: matches[-1].start()]) if _is_sentence(value) else None
            return said or value.strip("*$ ").strip()
    lines = [match for match in re.finditer(r"[^\n]+", text) if _NUMBER.search(match.group())]
    return _of_sentence(lines[-1].group(), text[: lines[-1].start()]) if lines else None


def _is_sentence(text: str) -> bool:
    plain = re.sub(r"\\(?:text|mathrm)\s*\{[^{}]*\}", "", text)
    return len(re.findall(r"(?<![\\\w])[A-Za-z]{2,}", plain)) >= 2 and bool(_NUMBER.search(plain))


def _of_sentence(line: str, before: str) -> str | None:
    """Return the number that a sentence is about, given the text before it."""
    sentences = [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z*])", line.strip()) if _NUMBER.search(s)]
    if not sentences:
        return None
    numbers = _NUMBER.findall(sentences[-1])
    bold = [m.group() for m in _BOLD.finditer(sentences[-1]) if _NUMBER.search(m.group())]
    if bold:
        return _NUMBER.findall(bold[-1])[-1]
    results = _RESULT.findall(before)
    if results and results[-1].replace(",", "") in [n.replace(",", "") for n in numbers]:
        return results[-1]
    amounts = _AMOUNT.findall(sentences[-1])
    if len(amounts) == 1:
        return _NUMBER.findall(amounts[0])[-1]
    return numbers[-1]


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
