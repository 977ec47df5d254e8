r"""What a text computes by itself: ``30 \times \frac{1}{4} = 7.5``, ``(4 + 5)/12 = 9/12``, ``6 boxes × 7 = 42``.

Wider than :mod:`drp.text.equations`, which judges whether equations of plain numbers hold: here a side may hold
brackets, fractions and units, and what cannot be read is passed over.
"""

import re
from fractions import Fraction

from drp.text.numbers import numbers_in, parse_number

MOST = 300
"""Characters beyond which a chain of equations is not read, and so brackets are not followed."""
_DEEPEST, _LARGEST_POWER = 12, 12

# `\frac{30}{4}`, and below it the short form `\frac12`.
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,60})\}\{([^{}]{1,60})\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac(\d)(\d)(?!\d)")
_SIGNS = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\approx": "=", r"\left": "", r"\right": "", r"\%": "%",
          r"\$": "", r"\,": "", r"\!": "", r"\;": "", r"\ ": " ", r"\[": " ; ", r"\]": " ; ", r"\(": " ", r"\)": " "}  # fmt: skip
_SIGN = re.compile("|".join(re.escape(sign) for sign in _SIGNS))
_PLAIN = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "≈": "=", "$": " ", "[": "(", "]": ")"}
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]{0,60}\}")
_POWER = re.compile(r"\^\{(\d{1,3})\}")
# "6 boxes * 7", "45 minutes/painting = 12": the unit between a number and the sign that follows it.
_UNIT = re.compile(r"(?<=\d) ?[a-z]{2,20}(?:(?: |/)[a-z]{2,20})?\.? ?(?=[-+*/=]\s?[\d(])", re.IGNORECASE)
# The comma of `6,000` and of `6{,}000`, but not of `1, 2`.
_SEPARATOR = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
# The `x` of "3 x 4".
_LETTER_TIMES = re.compile(r"(?<=[\d)] )x(?= [\d(])")
# A chain: signs of arithmetic in a run with at least one "=" in it.
_CHAIN = re.compile(r"[-+*/()=^%.\d ]+")
_OPERATOR = re.compile(r"[\d)%]\s*[-+*/^(]")
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|[-+*/()^%])")


def plain(text: str) -> str:
    r"""Return a text with its LaTeX arithmetic in plain signs: ``\frac{1}{4}`` as ``((1)/(4))``, ``\times`` as ``*``."""
    text = _SEPARATOR.sub("", _TEXT.sub(" ", text).replace("\\!", ""))
    text = _SHORT_FRACTION.sub(r"((\1)/(\2))", text)
    for _ in range(3):  # fractions in fractions
        text, found = _FRACTION.subn(r"((\1)/(\2))", text)
        if not found:
            break
    text = _SIGN.sub(lambda match: _SIGNS[match.group()], text)
    text = _POWER.sub(r"^\1", text.translate(_PLAIN))
    return _UNIT.sub(" ", _LETTER_TIMES.sub("*", text))


def results(text: str) -> frozenset[Fraction]:
    """Return the values, and their numerals, that the text arrives at by arithmetic of its own that holds."""
    found: set[Fraction] = set()
    for chain in _CHAIN.findall(plain(text)):
        if "=" not in chain or len(chain) > MOST:
            continue
        computed: list[Fraction] = []
        for side in chain.strip(" .").split("="):
            value = evaluate(side)
            if value is None:
                computed.clear()  # what is not read proves nothing
                continue
            if any(_agree(side, value, earlier) for earlier in computed):
                found |= {
                    value,
                    *numbers_in(side),
                }  # "75 + 5" behind "5 * 15 + 5": another way to say the same
            if computed or _OPERATOR.search(side):
                computed.append(value)
    return frozenset(found)


def _agree(side: str, value: Fraction, other: Fraction) -> bool:
    decimals = len(side.strip(" %)").partition(".")[2])
    return abs(value - other) <= (Fraction(1, 2 * 10**decimals) if decimals else 0)


def evaluate(expression: str) -> Fraction | None:
    """Return the value of an expression of numbers, ``+ - * / ^ %`` and brackets; ``None`` where it is none."""
    tokens: list[str] = []
    at = 0
    expression = expression.strip()
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            return None
        tokens.append(match[1])
        at = match.end()
    try:
        return _Reader(tokens).whole()
    except (ValueError, ZeroDivisionError):
        return None


class _Reader:
    """Reads tokens by precedence: sums of products of powers."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0

    def whole(self) -> Fraction:
        value = self._sum()
        if self.at < len(self.tokens):
            raise ValueError("more behind it")
        return value

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, signs: str) -> str:
        """Return the next token and pass it, if it is one of the signs."""
        token = self._next()
        if not token or token not in signs:
            return ""
        self.at += 1
        return token

    def _sum(self) -> Fraction:
        value = self._product()
        while sign := self._take("+-"):
            value += self._product() if sign == "+" else -self._product()
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            if sign := self._take("*/"):
                value = value * self._signed() if sign == "*" else value / self._signed()
            elif self._next() == "(":  # 4(2 + 3)
                value *= self._power()
            else:
                return value

    def _signed(self) -> Fraction:
        return -self._signed() if self._take("-") else self._power()

    def _power(self) -> Fraction:
        value = self._operand()
        while self._take("%"):
            value /= 100
        if self._take("^"):
            power = self._operand()
            if power.denominator > 1 or not 0 <= power <= _LARGEST_POWER:
                raise ValueError("a power that is not read")
            value **= int(power)
        return value

    def _operand(self) -> Fraction:
        if self._take("("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise ValueError("too deep")
            value = self._sum()
            if not self._take(")"):
                raise ValueError("not closed")
            self.depth -= 1
            return value
        value = parse_number(self._next())
        if value is None:
            raise ValueError("no number")
        self.at += 1
        return value
