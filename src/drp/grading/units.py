"""Units beside a number, brought to one form: ``cm^2``, ``square centimeters`` and ``sq. cm`` are the same."""

import re
from collections import Counter
from collections.abc import Mapping

_SPELLINGS = """
m meter metre; cm centimeter centimetre; mm millimeter millimetre; km kilometer kilometre; g gram; kg kilogram kilo;
mg milligram; l liter litre; ml milliliter millilitre; s sec second; min minute; h hr hour; day; wk week; month; yr year;
ft foot feet; in inch inche; yd yard; mi mile; lb pound £ gbp; oz ounce; gal gallon; deg degree °; rad radian; % percent;
$ dollar usd us$; € euro eur; ¥ yen; cent ¢; j joule; n newton; w watt; v volt; a ampere amp; hz hertz
"""
_NAMES = {
    spelling: group.split()[0]
    for group in _SPELLINGS.split(";")
    if group.strip()
    for spelling in group.split()
}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_SUPERSCRIPTS = str.maketrans({"²": "2", "³": "3"})
# A word or sign, and the power it is raised to: `cm^2`, `s^{-1}`, `m2`, `/`.
_TERM = re.compile(r"(?P<word>us\$|[a-zµμ]+|[°%$€£¥¢/])(?:\^?\{?(?P<power>-?[1-3])\}?)?")


def dimensions(written: str) -> Mapping[str, int] | None:
    """Return each unit of a written unit with its power, ``{"m": 1, "s": -1}`` for ``m/s``; ``None`` if none is named.

    Words that measure nothing, such as ``apples``, stand for themselves. "Units" name no unit.
    """
    text = written.lower().replace("mph", "mi/h").replace("mi/h", "mi / h").translate(_SUPERSCRIPTS)
    found: Counter[str] = Counter()
    sign, square = 1, 1
    for term in _TERM.finditer(text):
        word = term["word"]
        if word in ("per", "/"):
            sign = -1
        elif word in _POWERS:
            square = _POWERS[word]
        else:
            name = _NAMES.get(word) or _NAMES.get(word.removesuffix("s")) or word.removesuffix("s")
            found[name] += sign * square * int(term["power"] or 1)
            square = 1
    return None if not found or "unit" in found else found


def agree(one: str, two: str) -> bool:
    """Return whether two written units may be the same: measures must be, and things may be described more fully.

    ``5 m`` is not ``5 cm``, but ``5 red apples`` are ``5 apples``; what names no unit agrees with every unit.
    """
    left, right = dimensions(one), dimensions(two)
    if left is None or right is None:
        return True
    measures = [{name: n for name, n in side.items() if name in _NAMES} for side in (left, right)]
    if any(measures):
        return measures[0] == measures[1]
    return left.keys() <= right.keys() or right.keys() <= left.keys()
