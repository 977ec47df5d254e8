from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drp.pruning.arithmetic import evaluate, results


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"30 \times \frac{1}{4} = 7.5", "7.5"),
        (r"\[ \frac{30}{4} = 7.5 \]", "7.5"),
        (r"\left(4 + 5\right)/12 = \dfrac{9}{12}", "9 12"),
        ("6 boxes × 7 = 42 cookies", "42"),
        ("$50 - $33 = $17.", "17"),
        ("2,000 * 3 = 6,000", "6000"),
        ("5 * 15 + 5 = 75 + 5 = 80", "75 80"),
        ("2(3) + 1 = 7", "7"),
        ("10 / 3 ≈ 3.33", "3.33"),
        ("20% * 50 = 10", "10"),
    ],
)
def test_a_text_arrives_at_its_own_results(text: str, found: str) -> None:
    """``30 \\times \\frac{1}{4} = 7.5`` was refused as a number from nowhere: only plain signs were read."""
    assert {Fraction(number) for number in found.split()} <= results(text)


@pytest.mark.parametrize(
    "text", ["3 * 24 = 71", "x = 5", "there are 99", "= 5", "(((1 = 1", "5 = 5", "1/0 = 3"]
)
def test_what_is_false_or_not_computed_is_no_result(text: str) -> None:
    assert not results(text)


@given(st.text(alphabet="0123456789+-*/^%(). ", max_size=40))
def test_any_expression_has_a_value_or_none(text: str) -> None:
    """No input raises, and none takes long: powers and depth are bounded."""
    assert evaluate(text) is None or isinstance(evaluate(text), Fraction)
