import pytest

from drp.pruning.conclusion import Goal, conclude, flat
from drp.text.units import split_units

QUESTION = (
    "Vincent buys 18 cans at 3 cans a package. A package saves him 1 dollar. How many dollars does he save?"
)


def fault(
    text: str, gold: str, question: str = QUESTION, answer: str = "", right: tuple[str, ...] = ()
) -> str:
    """Return what speaks against the text as one that concludes on ``gold``."""
    goal = Goal(question, gold, answer or f"The answer is \\boxed{{{gold}}}.", lambda said, _: said in right)
    return conclude(split_units(text), goal).fault


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("He has 24 - 5 = 19. So the answer is 19.", "19"),
        ("First 3 * 4 = 12. Then $100 - 12 = $88 left.", "88"),
        ("Adding this gives a new total payment of $2,304.", "2304"),
        ("So x = -2.", "-2"),
        ("The value is negative 2.", "-2"),
        ("P(C) = 12/12 - 9/12 = 3/12 = 1/4.", "\\frac{1}{4}"),
        (
            "So it is 550 / 3600 = 11/72 ≈ 0.1528.",
            "\\frac{11}{72}",
        ),  # was taken for an operand of what follows
        ("So the answer should be 1 divided by 29,322,216.", "\\dfrac{1}{29,\\!322,\\!216}"),
        ("Therefore, the answer is 1.45 million.", "1,450,000"),
        ("So, the distance is 3*sqrt(13). Yes, that's right.", "3\\sqrt{13}"),
        ("Hence, **Evelyn** is the fastest.", "\\text{Evelyn}"),
        ("So we get \\( (3, \\frac{\\pi}{2}) \\).", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("So x = 3 or x = -3.", "-3,3"),
        ("So there are six ways in total.", "6"),
        ("So it's 57 shells. Let me check: 57 + 15 = 72. Good.", "57"),
        ("So 57 is left. I think that's solid.", "57"),
    ],
)
def test_a_text_that_computes_or_states_the_answer_concludes(text: str, gold: str) -> None:
    assert not fault(text, gold, question="How many?")


@pytest.mark.parametrize(
    ("text", "gold", "why"),
    [
        ("So x^2 = 2 - x.", "-2", "no sentence"),  # the sign was ignored
        ("So x = 2.", "-2", "no sentence"),
        ("So x = -6.", "6", "no sentence"),
        ("So 24 * 2 is what I need.", "24", "no sentence"),
        ("So x+1 = 0 has x + 12.", "x+1", ""),
        ("So it is x+12.", "x+1", "no sentence"),
        ("So he has 6. Finally, I'll add both annual salaries.", "6", "still to be done"),
        ("So 5 + 1 = 6. Each of them costs 31 dollars.", "6", "goes on"),
        ("So he has 6. So the answer is 7.", "6", "otherwise"),
        ("Is it 6? Maybe it is 6.", "6", "no sentence"),
        ("Then 504 divided by 6.", "84", "no sentence"),
    ],
)
def test_a_mention_is_no_conclusion(text: str, gold: str, why: str) -> None:
    """The gold answer's digits anywhere, as an operand, with another sign, in a question, let a trace pass."""
    found = fault(text, gold, question="How many?")
    assert why in found and bool(why) == bool(found)


def test_a_value_among_the_givens_has_to_be_computed_or_concluded() -> None:
    """A reading of the question stood for the answer where both hold the same number."""
    assert "no sentence" in fault(
        "Tom has 3 boxes. I need to find the rest.", "3", "Tom has 3 boxes of 3. How many are left?"
    )
    assert not fault("Tom has 9 - 6 = 3.", "3", "Tom has 3 boxes of 3. How many are left?")


def test_the_answer_counts_what_the_question_asks_for() -> None:
    """ "18 ÷ 3 = 6 packages" stood for 6 dollars: packages are counted in the question, and not asked for."""
    question = (
        "A shop sells 40 packages of 3 cans. Vincent buys 18 cans and saves. How many dollars does he save?"
    )
    answer = "Vincent saves \\boxed{6} dollars."
    assert fault("So 18 ÷ 3 = 6 packages.", "6", question, answer)
    assert not fault("So he saves 6 dollars.", "6", question, answer)
    assert fault("So that is 6%.", "6", question, answer)


def test_other_forms_are_left_to_the_grader() -> None:
    text = "So the line is \\( y = 2x + 3 \\)."
    assert fault(text, "2x - y + 3 = 0") and not fault(text, "2x - y + 3 = 0", right=("\\boxed{y = 2x + 3}",))


def test_flat_brings_formulas_to_one_spelling() -> None:
    assert flat("3\\sqrt{13}") == flat("3*sqrt(13)") == flat("$3√13$.")
    assert flat("\\dfrac{\\pi}{2}") == flat("π/2")
