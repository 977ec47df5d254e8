"""Arithmetic equations in text: ``a op b [op c …] = d`` over plain numbers, and whether they hold."""

import re
from dataclasses import dataclass
from fractions import Fraction

from drp.text.numbers import parse_number

_NUM = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,15}(?:\.\d{1,12})?"
_OPERAND = rf"(?:\\?\$)?(?:{_NUM})%?"
_OPERATOR = r"\s*(?:\\times|\\cdot|\\div|[-+*/×·÷−]|(?<=\s)x(?=\s))\s*"
_EQUATION = re.compile(
    rf"(?P<left>{_OPERAND}(?:{_OPERATOR}{_OPERAND}){{1,11}})\s*(?P<sign>=|≈)\s*(?P<right>-?\s?{_OPERAND})"
)
_BEFORE = re.compile(r"[\w.^_({\[)}\]%]$|[-+*/×·÷−=^](?:\s|\\,)*$|\\(?:times|cdot|div|frac)\s*$")
_AFTER = re.compile(r"^(?:[.,]?\d|[A-Za-z_^%\\]|[\s\\,]*(?:[-+*/×·÷−^]|\\times|\\cdot|\\div)|\s*\()")


@dataclass(frozen=True)
class Equation:
    """One arithmetic equation found in a text."""

    start: int
    end: int
    left: str
    """The left side, white space and separators removed."""
    right: str
    holds: bool
    """Whether both sides agree, to the digits the right side shows."""

    @property
    def key(self) -> str:
        """The equation without spacing, for comparison with others."""
        return f"{self.left}={self.right}"

    @property
    def value(self) -> Fraction | None:
        """The stated result."""
        return parse_number(self.right)


def _plain(text: str) -> str:
    text = text.replace("\\times", "*").replace("\\cdot", "*").replace("\\div", "/")
    text = re.sub(r"(?<=[\s\d])x(?=\s)", "*", text)
    text = text.translate(str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "$": "", "\\": ""}))
    return re.sub(r"\s|,(?=\d{3})", "", text)


def evaluate(expression: str) -> Fraction | None:
    """Return the exact value of ``a op b …`` with the usual precedence; ``None`` where undefined."""
    parts = re.split(r"([-+*/])", expression)
    values: list[Fraction] = []
    for operand in parts[::2]:
        percent = operand.endswith("%")
        value = parse_number(operand.rstrip("%"))
        if value is None:
            return None
        values.append(value / 100 if percent else value)
    terms, signs = [values[0]], [1]
    for operator, value in zip(parts[1::2], values[1:], strict=True):
        if operator == "*":
            terms[-1] *= value
        elif operator == "/":
            if value == 0:
                return None
            terms[-1] /= value
        else:
            terms.append(value)
            signs.append(1 if operator == "+" else -1)
    return sum((sign * term for sign, term in zip(signs, terms, strict=True)), Fraction(0))


def find_equations(text: str) -> list[Equation]:
    """Return the arithmetic equations of ``text`` whose both sides are complete, in order."""
    found: list[Equation] = []
    for match in _EQUATION.finditer(text):
        if _BEFORE.search(text[max(0, match.start() - 8) : match.start()]):
            continue
        if _AFTER.match(text[match.end() : match.end() + 12]):
            continue
        left, right = _plain(match["left"]), _plain(match["right"])
        exact = evaluate(left)
        percent = right.endswith("%")
        stated = parse_number(right.rstrip("%"))
        if exact is None or stated is None:
            continue
        if percent:
            exact *= 100
        decimals = len(right.rstrip("%").partition(".")[2])
        rounding = Fraction(1, 2 * 10**decimals) if decimals or match["sign"] == "≈" else Fraction(0)
        holds = abs(exact - stated) <= rounding
        found.append(Equation(match.start(), match.end(), left, right.rstrip("%"), holds))
    return found
