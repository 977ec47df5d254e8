"""Numbers as they stand in text, compared by value."""

import re
from fractions import Fraction
from functools import lru_cache

_SEPARATOR = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_PLAIN = re.compile(r"([+-]?)(\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:/(\d{1,60}))?")
_NUMBER = re.compile(r"(?<![\d.])\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+")


@lru_cache(maxsize=50_000)  # the same few numerals come again and again
def parse_number(text: str) -> Fraction | None:
    """Return the exact value of a plain number (``1,000``, ``-2.5``, ``3/4``), else ``None``."""
    match = _PLAIN.fullmatch(_SEPARATOR.sub("", text.strip()))
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
    return list(_numbers_in(text))


@lru_cache(maxsize=16)  # several checks read the same trace
def _numbers_in(text: str) -> tuple[Fraction, ...]:
    # A runaway loop of digits is not a number anyone means.
    found = (parse_number(numeral) for numeral in _NUMBER.findall(text) if len(numeral) <= 60)
    return tuple(value for value in found if value is not None)
