"""What the rules teacher must leave alone: each of these was deleted, rewritten or cut short once."""

import pytest

from tests.teachers.test_rules import prune

BARS = (
    "Lisa sold three and a half boxes of chocolate bars, and Peter sold four and a half boxes. They sold 64 chocolate "
    "bars together. How many chocolate bars are in a box?"
)


def test_a_step_that_happens_to_equal_the_answer_does_not_end_the_trace() -> None:
    """ "8 boxes of chocolate bars" is no answer to "how many bars are in a box", though 8 is: the derivation follows."""
    text, _ = prune(
        "Okay, let me see.\n\nFirst, 3.5 plus 4.5 is 8. So, together, they sold 8 boxes of chocolate bars.\n\n"
        "Wait, but they sold 64 bars in total. So, if 8 boxes hold 64 bars, 64 / 8 = 8.\n\nSo, each box has 8 bars.\n\n"
        "Wait, let me double-check that. 8 times 8 is 64, which matches the total they sold in the end.\n\n"
        "**Final Answer**\nThere are \\boxed{8} bars in a box.",
        BARS,
        "\\boxed{8}",
    )
    assert "64 / 8 = 8" in text and "each box has 8 bars" in text
    assert "double-check" not in text and text.endswith("\\boxed{8} bars in a box.")


@pytest.mark.parametrize(
    "last", ["So, 9! would be 1 × 2 × 8 × 9.", "So that would be sqrt(9 · 9).", "So, b = 3 × 9."]
)
def test_an_operand_is_no_conclusion(last: str) -> None:
    """The last number of a line need not be its result: "9! = 1 × … × 9" ended a trace whose answer is 9."""
    text, _ = prune(
        f"Okay, let me see.\n\n{last}\n\nWait, let me check that again. The quotient cancels everything else.\n\nSo the answer is 9.",
        "What is the value of 9!/8!?",
        "\\boxed{9}",
    )
    assert "The quotient cancels" in text


def test_a_fraction_still_to_be_reduced_is_no_conclusion() -> None:
    """ "So, the probability is 54/90. Hmm, …" equals 3/5, but the step to it would be lost."""
    text, _ = prune(
        "Okay, let me see.\n\nSo, the probability is 54/90.\n\nHmm, let me make sure. Divide both by 18, which gives 3/5.\n\n"
        "So, the probability is 3/5.\n\nWait, let me verify it. 54 and 90 are both multiples of 18, yes.",
        "What is the probability?",
        "\\boxed{\\frac{3}{5}}",
    )
    assert "Divide both by 18" in text and text.endswith("So, the probability is 3/5.")


def test_a_conclusion_at_odds_with_itself_is_not_sound() -> None:
    """ "So 57. Wait, so which is it?" concludes nothing: what settles it must stay."""
    text, _ = prune(
        "Okay, let me see.\n\nFirst it was 47. So Ana has 57 shells.\n\nWait, so which is it? Let me check.\n\n"
        "Tom has 3 * 24 = 72, and 72 - 15 = 57.\n\nSo the answer is 57.\n\nWait, let me verify it. 57 + 15 = 72. Yes, that matches what Tom has."
    )
    assert "3 * 24 = 72, and 72 - 15 = 57" in text and text.endswith("So the answer is 57.")


def test_another_formula_is_no_repetition() -> None:
    """The roots of z²−z+1 went as a repetition of z²+z+1: in a bag of words both are the same."""
    derivation = (
        "Okay, let me see.\n\nThe equation z^2 + z + 1 = 0 has the roots of the first kind, which lie on the circle around the origin, "
        "so that their product is 1 and their sum is what we need here.\n\n"
        "The equation z^2 - z + 1 = 0 has the roots of the first kind, which lie on the circle around the origin, "
        "so that their product is 1 and their sum is what we need here.\n\nSo the answer is 4."
    )
    assert prune(derivation, "How many roots are there?", "\\boxed{4}")[0] == derivation


def test_what_stays_is_never_reworded() -> None:
    """Dropping a "Wait," turned "x and y" into "X and y"; a kept unit is copied as it is."""
    text, script = prune(
        "Okay, let me start.\n\nLet x and y be the sides.\n\nLet me double-check that. x and y are the sides. Yes, that's right.\n\n"
        "Wait, x and y are both positive, so x * y = 57.\n\nSo the answer is 57.",
        "What is the area?",
    )
    assert "Wait, x and y are both positive" in text
    assert not [e for e in script.edits if e.action in ("rewrite", "merge")]


def test_half_a_check_does_not_go() -> None:
    """A verdict on the first part ("Yep, that's correct. Then …") ended the deletion in the middle of the check."""
    text, _ = prune(
        "Okay, let me start.\n\nTom has 3 * 24 = 72.\n\nAna has 72 - 15 = 57.\n\n"
        "Let me verify again. First, 3 * 24 = 72, which matches. \n\nThen 72 - 15 = 57, and half of that is 28.5.\n\n"
        "Next, I add both: 72 + 57 = 129. So the answer is 129.",
        answer="\\boxed{129}",
        keep_checks=0,
    )
    assert "Let me verify again. First, 3 * 24 = 72, which matches." in text


@pytest.mark.parametrize(
    ("check", "kept"),
    [
        ("Does 3 divide 120?\n\nLet me verify that. 3 * 40 = 120. Yes, that matches.\n\nNext, n = 11.", "3 * 40 = 120"),
        ("Tom has 72.\n\nLet me check that. 24 * 3 = 72. Yes, that's right.\n\nThis means she collects 2 times 25.", "24 * 3 = 72"),
        ("Tom has 72.\n\nLet me check that. 24 * 4 = 96. Yes, that's right.\n\nNow 96 - 39 is left.", "24 * 4 = 96"),
        ("Maybe I miscounted somewhere.\n\nLet me check that. 24 * 3 = 72. Yes, that's right.\n\nNow Ana.", "24 * 3 = 72"),
    ],
    ids=["the answer to a question", "what 'this' points at", "a number used later", "what settles a doubt"],
)  # fmt: skip
def test_a_check_that_others_hang_on_stays(check: str, kept: str) -> None:
    """A deletion must not leave a question without its answer, a "This means" without its this, a number from nowhere."""
    text, _ = prune(
        f"Okay, let me start.\n\n{check}\n\nSo the answer is 57.",
        "How many?",
        keep_checks=0,
        reflection_share=0,
    )
    assert kept in text


def test_a_case_that_is_tried_is_no_check() -> None:
    """ "Let me check if n = 11 works" is a step of the solution, however it reads."""
    case = "Let me check if n = 11 works. 11 * 5 = 55. Yes, that works."
    text, _ = prune(
        f"Okay, let me start.\n\nTry n.\n\n{case}\n\nNow the next one.\n\nSo the answer is 57.", keep_checks=0
    )
    assert case in text


def test_a_closing_sentence_stands_on_its_own() -> None:
    """ "Both methods give 57" makes no sense where one of the methods was deleted."""
    text, _ = prune(
        "Okay, let me start.\n\nTom has 3 * 24 = 72.\n\nAna has 72 - 15 = 57 shells.\n\n"
        "Wait, let me verify it in another way. 24 + 24 + 24 - 15 = 57.\n\nBoth methods give the same, so the answer is 57.",
        reflection_share=0,
    )
    assert text.endswith("Ana has 72 - 15 = 57 shells.")


def test_a_far_correction_is_written_into_the_slip_only_if_nothing_was_computed_with_it() -> None:
    """A slip was put right in place although the next line computed with the wrong value: 72, then 62 - 15."""
    start = "Okay, let me start.\n\nTom has 3 * 24 = 62.\n\nSo Tom has 62 shells.\n\n"
    filler = "".join(f"Let us note down fact {n}.\n\n" for n in "abcdef")
    end = "Let me redo it. I made a mistake there, 3 * 24 = 72.\n\nAna has 72 - 15 = 57.\n\nSo the answer is 57."
    mended, _ = prune(start + filler + end)
    assert "3 * 24 = 72.\n\nSo Tom has 72 shells." in mended and "62" not in mended
    used, _ = prune(start + "Ana has 62 - 15 = 47.\n\n" + filler + end)
    assert "3 * 24 = 62" in used and "made a mistake" in used


def test_the_rest_of_a_calculation_is_no_repetition() -> None:
    """It was worked out before, but "50 + 29 = 79. So n = 57." without the steps between computes nothing."""
    steps = "79 + 34 = 113 dogs that are in one of the three\n\n113 - 38 = 75 of them when those in two are left out\n\n75 - 18 = 57 of them at the very end of it\n\n"
    trace = f"Okay, let me see.\n\n50 + 29 = 79\n\n{steps}Hmm, let me do it once more with the table.\n\n50 + 29 = 79 at first\n\n{steps}So n = 57 dogs. The answer is 57."
    text, _ = prune(trace, "How many dogs are in the school?")
    assert text.count("113 - 38 = 75") == 2
