from fractions import Fraction

import pytest

from drp.text.equations import evaluate, find_equations
from drp.text.numbers import numbers_in, parse_number


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so 3 * 24 = 72.", [("3*24=72", True)]),
        ("3 \\times 24 = 62", [("3*24=62", False)]),
        ("$1,200 + $300 = $1,500", [("1200+300=1500", True)]),
        ("10 / 3 = 3.33", [("10/3=3.33", True)]),
        ("10 / 3 = 3.34", [("10/3=3.34", False)]),
        ("10 / 3 ≈ 3", [("10/3=3", True)]),
        ("2 + 3 * 4 = 14", [("2+3*4=14", True)]),
        ("24 + 24 + 24 = 72", [("24+24+24=72", True)]),
        ("20 − 5 = 15", [("20-5=15", True)]),
        ("4 x 5 = 20", [("4*5=20", True)]),
        ("20% * 50 = 10", [("20%*50=10", True)]),
        ("3x + 2 = 8", []),
        ("2^3 + 1 = 9", []),
        ("x + 3 + 4 = 7", []),
        ("3 + 4 = 7x", []),
        ("3 + 4 = 7 + 1", []),
        ("5 / 0 = 3", []),
        ("1 + 2 = 3 and 2 + 2 = 5", [("1+2=3", True), ("2+2=5", False)]),
    ],
)
def test_equations(text: str, found: list[tuple[str, bool]]) -> None:
    assert [(e.key, e.holds) for e in find_equations(text)] == found


def test_positions_and_value() -> None:
    text = "so 3 * 24 = 72."
    (equation,) = find_equations(text)
    assert text[equation.start : equation.end] == "3 * 24 = 72"
    assert equation.value == 72


def test_precedence_and_division() -> None:
    assert evaluate("1-2-3") == -4
    assert evaluate("8/4/2") == 1
    assert evaluate("7/2*3") == Fraction(21, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,000", 1000), ("-2.5", Fraction(-5, 2)), ("3/4", Fraction(3, 4)), (".5", Fraction(1, 2)), ("5.", 5),
     ("1/0", None), ("abc", None), ("", None), ("1,00", None), ("9" * 200, None)],
)  # fmt: skip
def test_parse_number(text: str, value: Fraction | None) -> None:
    assert parse_number(text) == value


def test_numbers_in() -> None:
    assert numbers_in("1,200 shells, 3.5 m and 7.") == [1200, Fraction(7, 2), 7]
    assert numbers_in("7" * 5000) == []
