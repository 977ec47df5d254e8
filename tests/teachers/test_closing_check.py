"""A trace that checks itself again and again keeps one check of its conclusion, whole."""

import pytest

from drp.pruning.reflection import reflective_steps
from drp.text.units import split_units
from tests.teachers.test_rules import QUESTION, prune

SOLVED = "Okay, let me see.\n\nTom has 3 * 24 = 72 shells. Ana has 72 - 15 = 57. So Ana has 57 shells.\n\n"
CHECK = "Wait, let me make sure I didn't skip anything. 57 + 15 = 72, and 72 / 3 = 24. So Ana's 57 is fine. Yes, that matches."
MORE = (
    "\n\nBut maybe they want the sum? It says how many Ana has, so 57.\n\nAlternatively, 24 + 24 + 24 = 72, and 72 - 15 = 57."
    "\n\nLet me verify once more. 72 - 15 = 57. Yes.\n\n**Final Answer**\nAna has \\boxed{57} shells."
)


def test_one_check_of_the_conclusion_stays_whole() -> None:
    """One trace in seven lost every check it made and was refused: what followed the conclusion went as a whole."""
    text, _ = prune(SOLVED + CHECK + MORE)
    assert text == SOLVED + CHECK + "\n\n**Final Answer**\nAna has \\boxed{57} shells."
    assert len(reflective_steps(QUESTION, split_units(text))) == 1


@pytest.mark.parametrize(
    "check",
    [
        "Wait, let me double-check that. 57 + 15 = 72, and 72 / 3 = 24. Hmm, that doesn't match the 57.",
        "Wait, let me double-check that. 57 + 15 = 73, so 57 it is. Yes, that matches.",
        "Wait, let me double-check that. 3 * 24 = 72. Yes, that matches.",
        "Wait, let me double-check that. 3 * 24 = 72. But what if it is per day? Then 57 is wrong.",
        "Wait, let me double-check that. " + "And 72 - 15 = 57, I think. " * 30 + "Yes, that matches.",
    ],
    ids=["finds fault", "is false", "stops half way", "turns to another doubt", "is long"],
)
def test_a_check_that_is_not_sound_and_whole_does_not_stay(check: str) -> None:
    """Half a check, or one that leaves a doubt, would be taught; better none."""
    text, _ = prune(SOLVED + check + MORE)
    assert "double-check" not in text and text.startswith(SOLVED.strip())


def test_what_the_check_rests_on_comes_back() -> None:
    """The check computes with a value of a branch that was given up: both stay."""
    branch = "Maybe I can use crates. Then Tom has 144 / 2 = 72. That seems too complicated.\n\n"
    opening, solved = SOLVED.split("\n\n", 1)
    check = "Wait, let me check again. 144 / 2 - 15 = 57. Yes, that matches."
    text, _ = prune(f"{opening}\n\n{branch}{solved}{check}{MORE}")
    assert "144 / 2 - 15" in text and "144 / 2 = 72" in text


def test_where_the_trace_has_no_habit_of_checking_the_tail_goes() -> None:
    text, _ = prune(SOLVED + CHECK)
    assert text == SOLVED.strip()


def test_a_check_from_the_middle_comes_back_where_none_follows() -> None:
    """None was to be kept; but a student that checks so often would lose the habit, and the trace be refused."""
    text, _ = prune(
        "Okay, so I need to find it.\n\nTom has 2 * 24 = 48 and 24 more. Let me check: 48 / 2 = 24. Okay, that matches.\n\n"
        "So Tom has 48 + 24 = 72. Let me check: 72 - 24 = 48. Good.\n\nHalf of his are 72 / 2 = 36. Let me check: 36 * 2 = 72. Good.\n\n"
        "So Ana has 36 + 36 - 15 = 57. The answer is 57.",
        keep_checks=0,
    )
    assert text.count("Let me check") == 1
