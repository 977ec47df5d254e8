"""Numbers as they stand in text, compared by value."""

import re
from fractions import Fraction

_NUMBER = re.compile(r"(?<![\d.])\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+")


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of a plain number (``1,000``, ``-2.5``, ``3/4``), else ``None``."""
    cleaned = re.sub(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))", "", text.strip())
    match = re.fullmatch(r"([+-]?)(\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:/(\d{1,60}))?", cleaned)
    if match is None:
        return None
    sign, whole, below = match.groups()
    value = Fraction(whole if whole[-1] != "." else whole[:-1])
    if below is not None:
        if int(below) == 0:
            return None
        value /= int(below)
    return -value if sign == "-" else value


def numbers_in(text: str) -> list[Fraction]:
    """Return the unsigned values of all numerals in ``text``, in order of appearance."""
    found: list[Fraction] = []
    for match in _NUMBER.finditer(text):
        if len(match.group()) > 60:  # a runaway loop of digits is not a number anyone means
            continue
        value = parse_number(match.group())
        if value is not None:
            found.append(value)
    return found
