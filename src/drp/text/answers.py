"""Final answers: where they stand in a text, and their spelling brought to one form."""

import re

_DIRECTIVE = re.compile(
    r"(?:final\s+answer|answer)\s*(?:is|:|=)\s*(?P<value>[^\n]+?)(?=\.?\s*(?:\n|$)|\.\s)", re.IGNORECASE
)
_HASHES = re.compile(r"####\s*(?P<value>[^\n]+)")
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?")


def boxed(text: str) -> str | None:
    r"""Return the content of the last complete ``\boxed{…}``, nested braces included."""
    for match in reversed(list(re.finditer(r"\\f?boxed\s*\{", text))):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[match.end() : end].strip()
    return None


def final_answer(text: str) -> str | None:
    """Return the final answer a text states: boxed, after ``####``, named, or its last number."""
    inside = boxed(text)
    if inside is not None:
        return inside
    for pattern in (_HASHES, _DIRECTIVE):
        matches = list(pattern.finditer(text))
        if matches:
            return matches[-1]["value"].strip().strip("*$ ").strip()
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


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
