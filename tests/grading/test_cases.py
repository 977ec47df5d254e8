"""Hand-checked verdicts, by kind of answer, with the decision where one had to be made."""

from collections.abc import Iterator

import pytest

from drp.grading.grader import Grader
from drp.text.answers import final_answer

RIGHT: dict[str, list[tuple[str, str]]] = {
    "plain numbers": [
        ("72", "72"), ("72.0", "72"), ("72.00", "72"), ("+72", "72"), ("-5", "-5"), ("−5", "-5"), ("0.50", "0.5"),
        (".5", "0.5"), ("007", "7"), ("3.", "3"), ("$72$", "72"), ("\\(72\\)", "72"), ("**72**", "72"),
        ("1e", "1e"), ("0", "0"), ("-0", "0"), ("100", "100.0"),
    ],
    # A separator is never part of a value, whatever sign is used for it.
    "separators": [
        ("1,000", "1000"), ("1 000 000", "1000000"), ("1{,}000", "1000"), ("1\\,000", "1000"), ("1,\\!000", "1000"),
        ("12,345.67", "12345.67"), ("1\u202f000", "1000"), ("$1,250", "1250"), ("\\$99,\\!076.92", "99076.92"),
    ],
    # Gold answers leave units away; so an answer with a unit is its number.
    "units": [
        ("72 clips", "72"), ("72\\text{ clips}", "72"), ("72 \\text{ cm}", "72"), ("72\\ \\text{cm}^2", "72"),
        ("5 km/h", "5"), ("5 miles per hour", "5"), ("5\\,\\text{m/s}", "5"), ("8 pieces", "8"), ("16 years old", "16"),
        ("45^\\circ", "45"), ("45°", "45"), ("45^{\\circ}", "45"), ("45 degrees", "45"), ("3.5 hours", "3.5"),
        ("\\frac{1}{2} \\text{ cup}", "\\frac{1}{2}"), ("20 kg", "20"), ("12 square units", "12"),
        ("36\\text{ square meters}", "36"), ("7 \\mathrm{~days}", "7"), ("10 apples.", "10"),
        ("72clips", "72"), ("5km", "5"), ("12-inch", "12"), ("9.8\\text{ m/s}^2", "9.8"), ("3 m", "3"), ("7 \\text{ g}", "7"), ("6 feet per second", "6"),
    ],
    "money": [
        ("$18", "18"), ("\\$18", "18"), ("$18.00", "18"), ("18 dollars", "18"), ("18 dollar", "18"), ("\\$18 dollars", "18"),
        ("18 cents", "18"), ("€18", "18"), ("£18", "18"), ("18 USD", "18"), ("\\$3,000", "3000"), ("-\\$5", "-5"),
    ],
    # A percentage is the number before the sign: that is how gold answers are written.
    "percent": [
        ("50%", "50"), ("50\\%", "50"), ("50 percent", "50"), ("50\\%", "50%"), ("12.5%", "12.5"), ("50", "50\\%"),
    ],
    "fractions": [
        ("\\frac{1}{2}", "\\dfrac{1}{2}"), ("\\tfrac{1}{2}", "\\frac{1}{2}"), ("1/2", "\\frac{1}{2}"), ("0.5", "\\frac{1}{2}"),
        ("\\frac12", "\\frac{1}{2}"), ("\\frac{2}{4}", "\\frac{1}{2}"), ("-\\frac{3}{4}", "-0.75"), ("\\frac{-3}{4}", "-\\frac{3}{4}"),
        ("3/4", "0.75"), ("2\\frac{1}{2}", "2.5"), ("1\\frac{3}{4}", "\\frac{7}{4}"), ("\\frac{10}{5}", "2"), ("6/3", "2"),
        ("\\frac{1}{3}", "1/3"), ("0.\\overline{6}", "\\frac23"), ("-1.1\\overline{6}", "-\\frac{7}{6}"), (".\\overline{142857}", "1/7"),
    ],
    "powers of ten": [
        ("1.5 \\times 10^3", "1500"), ("2\\cdot10^{6}", "2000000"), ("3 \\times 10^{-2}", "0.03"), ("1.5\\times10^3", "1,500"),
    ],
    "assigned to a variable": [
        ("x = 5", "5"), ("x=5", "5"), ("n = 1,000", "1000"), ("\\theta = 45^\\circ", "45"), ("y=\\frac{1}{2}", "0.5"),
        ("x_1 = 3", "3"),
    ],
    "choices": [
        ("B", "B"), ("(B)", "B"), ("\\text{B}", "B"), ("\\text{(B)}", "B"), ("b", "B"), ("B.", "B"), ("**B**", "B"),
        ("C", "\\text{(C)}"),
    ],
    "words": [
        ("Sunday", "\\text{Sunday}"), ("sunday", "Sunday"), ("\\text{east}", "east"), ("\\textbf{Yes}", "yes"),
        ("\\text{ odd }", "odd"), ("Evelyn", "\\text{Evelyn}"),
    ],
    "tuples and intervals": [
        ("(1,2)", "(1, 2)"), ("\\left(1,2\\right)", "(1,2)"), ("(3, \\frac{\\pi}{2})", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("(0.5, 2)", "(\\frac{1}{2},2)"), ("[0,1)", "[0, 1)"), ("(-\\infty, 3]", "(-\\infty,3]"), ("(2,-1,0)", "(2, -1, 0)"),
        ("(1,000, 2)", "(1000,2)"),
    ],
    # An inequality is the interval it stands for; only where both are inequalities does the variable count.
    "inequalities": [
        ("x \\le 3", "(-\\infty,3]"), ("x≤3", "(-\\infty, 3]"), ("3 \\ge x", "(-\\infty,3]"), ("x < 5", "(-\\infty,5)"),
        ("-2\\le x<7", "[-2,7)"), ("7 > x \\geq -2", "[-2,7)"), ("[-2,7)", "-2 \\leq x < 7"), ("x\\in[-2,7)", "[-2,7)"),
        ("0 \\leqslant x \\leq \\frac{1}{2}", "[0,0.5]"), ("x > \\sqrt{8}", "(2\\sqrt{2},\\infty)"), ("t >= 0", "[0,\\infty)"),
        ("x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"), ("x<5", "5>x"), ("\\theta \\le \\pi", "(-\\infty,\\pi]"),
    ],
    # The order of a set does not count, nor do its braces.
    "sets": [
        ("1, 2", "2,1"), ("\\{1,2\\}", "\\{2,1\\}"), ("1, 2, 3", "3,2,1"), ("1 and 2", "1 and 2"), ("-1, 1", "1,-1"),
        ("1,-2", "-2, 1"), ("2, and 3", "3, 2"), ("\\frac{1}{2}, 3", "3, 0.5"),
    ],
    "algebra": [
        ("x^2+2x+1", "(x+1)^2"), ("2x+3", "3+2x"), ("\\sqrt{12}", "2\\sqrt{3}"), ("\\sqrt{2}/2", "\\frac{\\sqrt{2}}{2}"),
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"), ("2\\pi", "2 \\pi"), ("\\frac{\\pi}{2}", "\\pi/2"),
        ("3\\sqrt{5}", "3 \\sqrt 5"), ("x(x+1)", "x^2+x"), ("2^{10}", "1024"), ("5!", "120"),
        ("\\binom{5}{2}", "10"), ("\\sqrt{16}", "4"), ("\\frac{a+b}{2}", "\\frac{b+a}{2}"), ("1+2i", "2i+1"),
        ("\\log_2 8", "3"), ("10\\sqrt{2}", "\\sqrt{200}"), ("\\cos 0", "1"),
    ],
    # The question names the base, so an answer may leave it out; another base is another answer.
    "bases": [
        ("2516_8", "2516_{8}"), ("2516_{8}", "2516_8"), ("1010_2", "1010_2"), ("2516", "2516_8"), ("2516_8", "2516"), ("-221_3", "-221_{3}"),
        ("A5_{11}", "\\text{A5}_{11}"), ("43_5", "43_5."),
    ],
    "matrices": [
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
        ("\\begin{pmatrix}0.5\\\\2\\end{pmatrix}", "\\begin{pmatrix} \\frac{1}{2} \\\\ 2 \\end{pmatrix}"),
        ("\\begin{bmatrix}1&0\\\\0&1\\end{bmatrix}", "\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}"),
    ],
    # A ratio is the fraction it stands for; a clock time is only itself.
    "ratios and times": [("1:2", "1:2"), ("1:2", "\\frac{1}{2}"), ("3 : 4", "3:4"), ("5:30", "5:30")],
    # A letter with what stands behind it is still the letter.
    "choices spelt out": [("(C) 12", "C"), ("\\textbf{(C)}", "C"), ("\\text{(B) }\\frac{1}{2}", "B"), ("\\mathrm{E}", "E")],
    "numbers in other clothes": [
        ("1{,}000{,}000", "10^6"), ("3.0\\times10^8", "300000000"), ("4.5e3", "4500"), ("1e-3", "0.001"), ("1/3", "0.\\overline{3}"),
        ("33\\frac{1}{3}\\%", "\\frac{100}{3}"), ("\\$1{,}234.50", "1234.5"), ("11\\frac{1}{2}", "\\frac{23}{2}"), ("42.", "42"),
        ("\\mathbf{42}", "42"), ("\\text{42}", "42"), ("\\boxed{42}", "42"), ("\\frac{\\ 3}{4}", "\\frac{3}{4}"), ("five", "five"),
        ("2^{-3}", "0.125"), ("7!", "5040"), ("n=5", "5"), ("k = -3", "-3"),
    ],
    "more units": [
        ("\\text{5 apples}", "5"), ("42\\,\\text{cm}^3", "42"), ("17 minutes", "17"), ("$7 per hour", "7"), ("15\\text{ mph}", "15"),
        ("12 sq. units", "12"), ("6 \\text{ ft}^2", "6"), ("25\\text{ cents}", "25"), ("10 \\text{ cm}", "10\\text{ cm}"),
        ("6\\sqrt{2}\\text{ cm}", "6\\sqrt{2}"), ("30 degrees", "30^\\circ"), ("120^\\circ", "120"),
    ],
    "units on both sides": [
        ("10 \\text{ centimeters}", "10\\text{ cm}"), ("5 square units", "5"), ("5 \\text{ sq. cm}", "5\\text{ cm}^2"), ("6 feet per second", "6 \\text{ ft/s}"),
        ("60 mph", "60 miles per hour"), ("5\\text{ m s}^{-1}", "5 m/s"), ("5 red apples", "5 apples"), ("$5", "5 dollars"), ("50\\%", "50 percent"),
        ("45^\\circ", "45 degrees"), ("77\\,\\text{euros}", "77"), ("77\\,\\text{euros}", "€77"), ("5", "5 m"), ("5 m", "5"),
        ("6\\sqrt{2}\\text{ cm}", "\\sqrt{72}\\text{ cm}"), ("16 years old", "16 years"), ("$7 per hour", "7 dollars per hour"),
    ],
    "variables on both sides": [("x = 5", "x = 5.0"), ("x_{1} = 3", "x_1 = 3"), ("5", "y = 5"), ("\\theta = 45^\\circ", "\\theta = 45")],
    "unions and lists": [
        ("[1, 2) \\cup (3, 4]", "[1,2)\\cup(3,4]"), ("(3,4]\\cup[1,2)", "[1,2)\\cup(3,4]"), ("-\\infty<x<3", "(-\\infty,3)"),
        ("(-\\infty, 0)\\cup(0,\\infty)", "(-\\infty,0) \\cup (0,\\infty)"), ("\\{-1,0,1\\}", "\\{0,1,-1\\}"),
        ("\\left\\{1,2\\right\\}", "\\{1, 2\\}"), ("\\emptyset", "\\emptyset"), ("\\pm 2", "-2,2"), ("x=1, x=2", "1,2"),
        ("x=1 \\text{ or } x=2", "1,2"), ("x = 2, y = 3", "(2,3)"), ("(2, 3), (4, 5)", "(4,5), (2,3)"),
        ("\\left(\\frac{1}{2}, -3\\right)", "(0.5,-3)"),
    ],
    "more algebra": [
        ("2x+3", "y=2x+3"), ("y=2x+3", "2x+3"), ("3-4i", "-4i+3"), ("\\sqrt[3]{8}", "2"), ("e^{2}", "e^2"), ("\\ln e", "1"),
        ("\\sqrt{\\frac{2}{3}}", "\\frac{\\sqrt{6}}{3}"), ("\\frac{5\\pi}{3}", "\\frac{5}{3}\\pi"), ("(x-2)(x+3)", "(x+3)(x-2)"),
        ("x^3+x^2", "x^2(x+1)"), ("\\frac{x+1}{2}", "\\frac{1}{2}x+\\frac{1}{2}"), ("a^2-b^2", "(a-b)(a+b)"),
        ("16 + 8\\sqrt{3}", "8(2+\\sqrt{3})"), ("\\frac{1+\\sqrt{5}}{2}", "\\frac{\\sqrt{5}+1}{2}"), ("-x^2+4", "4-x^2"),
        ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
    ],
}  # fmt: skip

WRONG: dict[str, list[tuple[str, str]]] = {
    "numbers": [
        ("73", "72"), ("-72", "72"), ("7.2", "72"), ("72.01", "72"), ("720", "72"), ("27", "72"), ("0", "72"), ("1", "-1"),
        # Rounding is not the answer unless the question asks for it, and then gold is rounded too.
        ("33.33", "\\frac{100}{3}"), ("0.333", "\\frac{1}{3}"), ("3.14", "\\pi"), ("106.12", "106"), ("99076.92", "95200"),
    ],
    "separators": [("1,000", "1"), ("1.000", "1000"), ("10,00", "1000"), ("1 000", "1")],
    # A percentage is not the fraction it stands for: gold 0.5 to "what percent" is another answer than 50.
    "percent": [("50%", "0.5"), ("0.5", "50%"), ("5%", "50"), ("0.5%", "50")],
    "units and money": [("72 clips", "73"), ("\\$18", "19"), ("18.50", "18"), ("45^\\circ", "44"), ("3 hours", "180"),
        # A letter beside a number is a factor unless it is a unit's.
        ("2x", "2"), ("y = 2x", "2"), ("2", "2x"), ("1-x", "1"), ("1", "1-x"), ("4 x", "4"), ("5n", "5"),
    ],
    # What both sides name must agree; no unit is turned into another.
    "units on both sides": [
        ("5 m", "5 cm"), ("5\\text{ m}", "5\\text{ cm}"), ("5 cm", "5 \\text{ cm}^2"), ("5 apples", "5 oranges"), ("5 euros", "5 dollars"), ("\\$5", "5 cents"),
        ("50\\%", "50 m"), ("5 m/s", "5 m"), ("45^\\circ", "45 m"), ("6\\sqrt{2}\\text{ cm}", "6\\sqrt{2}\\text{ m}"), ("5 m", "500 cm"), ("5 hours", "5 minutes"),
    ],
    "variables on both sides": [("x = 5", "y = 5"), ("x_1 = 3", "x_2 = 3"), ("\\alpha = 5", "\\beta = 5"), ("x = 2, y = 3", "x = 3, y = 2")],
    # A clock time is no number.
    "times": [("2:00", "2"), ("2:30", "230")],
    "fractions": [("\\frac{1}{2}", "2"), ("\\frac{1}{2}", "\\frac{2}{1}"), ("1/2", "12"), ("2\\frac{1}{2}", "1"), ("\\frac{1}{0}", "0")],
    "choices": [("A", "B"), ("(A)", "B"), ("AB", "B"), ("2", "B"), ("the second", "B")],
    "words": [("Monday", "Sunday"), ("no", "yes"), ("5", "five"), ("odd", "even")],
    # A tuple is ordered, an interval has ends, and several values are not one of them.
    "tuples, intervals and sets": [
        ("(2,1)", "(1,2)"), ("(1,2)", "(1,2,3)"), ("(1,2)", "[1,2]"), ("[0,1)", "(0,1]"), ("1", "1,2"), ("1,2", "1"),
        ("1,2,3", "1,2"), ("\\{1,2\\}", "\\{1,3\\}"), ("1,1", "1,2"), ("(1,2)", "3"), ("3", "(1,2)"), ("12", "1,2"),
    ],
    "inequalities": [
        ("x < 3", "(-\\infty,3]"), ("x \\ge 3", "(-\\infty,3]"), ("x \\le 3", "3"), ("3", "x \\le 3"), ("y<5", "x<5"), ("x<=5", "x<5"),
        ("1<x<2", "[1,2]"), ("1<x>2", "(1,2)"), ("x<1 \\text{ or } x>4", "(-\\infty,1)\\cup(3,\\infty)"), ("1<2", "(1,2)"),
    ],
    "recurring": [("0.\\overline{6}", "0.666"), ("0.\\overline{6}", "0.6"), ("0.6", "0.\\overline{6}")],
    "algebra": [
        ("x+1", "x+2"), ("x^2", "2x"), ("\\sqrt{2}", "2"), ("2\\pi", "\\pi"), ("(x+1)^2", "x^2+1"), ("x", "y"), ("i", "-1"),
        ("\\sqrt{3}", "1.732"), ("5!", "5"), ("2^{10}", "20"), ("\\frac{a}{b}", "\\frac{b}{a}"), ("x=5", "y+5"),
    ],
    "bases": [("1010_2", "1010_3"), ("2516_8", "2517"), ("10_2", "2_{10}"), ("2516_8", "2516_{9}")],
    "matrices": [("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}2\\\\1\\end{pmatrix}")],
    "ratios and clock times": [("1:2", "2:1"), ("5:30", "5:31")],
    "choices spelt out": [("(B) 12", "C"), ("12", "C"), ("C) 12", "D")],
    "near misses": [
        ("75\\%", "\\frac{3}{4}"), ("3-4i", "3+4i"), ("\\pm 2", "2"), ("2", "\\pm 2"), ("\\sqrt[3]{8}", "\\sqrt{8}"),
        ("(x-2)(x+3)", "(x-2)(x-3)"), ("y=2x+3", "y=2x-3"), ("[1,2)\\cup(3,4]", "[1,2]\\cup(3,4]"), ("\\emptyset", "0"),
        ("1e3", "1"), ("e", "3"), ("\\frac{22}{7}", "\\pi"), ("2^{10}", "1023"), ("(2,3),(4,5)", "(2,3)"), ("\\$0.50", "50"),
        ("x^2-1", "(x-1)^2"), ("\\sin x", "\\cos x"), ("4\\pi", "4"), ("10^6", "10^5"), ("six", "7"), ("45^\\circ", "\\frac{\\pi}{3}"),
    ],
    "nothing": [("", "5"), ("?", "5"), ("\\text{none}", "5"), ("undefined", "0"), ("\\infty", "0"), ("N/A", "1")],
}  # fmt: skip

EXTRACTED: list[tuple[str, str | None]] = [
    ("so \\boxed{5}", "5"), ("\\boxed{4} no, \\boxed{5}", "5"), ("\\boxed{\\frac{1}{2}} as said.", "\\frac{1}{2}"),
    ("\\boxed{\\text{(B)} 5}", "\\text{(B)} 5"), ("\\fbox{3} and \\boxed{5", "3"), ("\\boxed{{5}}", "{5}"), ("\\boxed {5}", "5"),
    ("9 * 5 = 45\n#### 45", "45"), ("#### 1,000", "1,000"), ("The answer is 72.", "72"), ("**Answer:** 72", "72"),
    ("Final answer: $\\frac{1}{2}$", "\\frac{1}{2}"), ("The answer is 3.5.", "3.5"), ("The final answer is: **12**", "12"),
    ("**Answer:** Anne is 8 years old.", "8"), ("**Answer:** Jordan would earn \\$140 in one week.", "140"),
    ("Terry spends **\\$75.00** on yogurt over 30 days.", "75.00"), ("Terry spends $75.00 on yogurt over 30 days.", "75.00"),
    ("48 / 6 = 8\n\nTracy obtained 8 pieces of wire, each 6 inches long.", "8"),
    ("So 24 / 4 = 6.\n\nSolo needs 6 pages per day for the next 4 days.", "6"),
    ("So 10 - 6 = 4.\n\nManny can miss up to 4 classes before the cost per class exceeds $10.", "4"),
    ("It takes 7 hours.", "7"), ("They have 3 and 4.", "4"), ("no number here", None), ("", None),
    # What is computed in the sentence, to the end of its chain, not a result of before that stands on the way.
    ("So 4 / 2 = 2.\n\nThe total is = 10+2 = 12", "12"), ("m = 4 / 4 = 1, n = 6.\nThus m+n = 1+6 = 7", "7"),
    ("He saves $4 each week, so it takes him 28/4 = 7", "7"), ("So he needs 28/4 = 7 weeks at $4 each.", "7"),
    ("As x = 3, the sum 2x - 1 is 5.", "5"), ("The range is 5-7", "7"), ("y = 10 + 2 = 12, so he has 12 of the 30 stamps.", "12"),
    ("**Final Answer:** 10 times", "10 times"), ("**Final Answer:** **10** times", "10 times"), ("**Final Answer:**\n10 times", "10 times"),
    ("**Final Answer**: 10 times", "10 times"), ("**Final Answer:** $10$ times", "10 times"), ("The answer is \\(10\\).", "10"),
    ("The answer is 72. I checked it, so the answer is correct.", "72"), ("He has 5.\nThe answer is as follows:", "5"),
    # The number of an item, a step or a heading is no answer, nor is what announces or asks.
    ("1. He owes 5.\n2. So he pays in full.", "5"), ("He owes 5.\n\n**Step 3:** He pays.", "5"), ("He owes 5.\n(2) He pays.", "5"),
    ("#### Step 2: Add\nSo he has 9.", "9"), ("#### 1. Add\nSo he has 9.", "9"), ("#### 9 apples\nDone.", "9 apples"),
    ("Let me think about this in 3 steps:", None), ("Let me think about this in 3 steps", None), ("It has 3 cases:\n", None), ("Is it 3?", None),
    ("He pays 7. Now let's check this in 2 ways:", "7"), ("Let's see: 3 + 4 = 7.", "7"), ("\\boxed{\\left\\{ 1, 2 \\right.}", "\\left\\{ 1, 2 \\right."),
    ("First 5.\nThen 6.\n\nDone.", "6"), ("The value is -3", "-3"), ("We get 1,234 in all.", "1,234"),
]  # fmt: skip


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(time_limit_s=5) as made:
        yield made


def flat(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(kind, answer, gold) for kind, rows in table.items() for answer, gold in rows]


@pytest.mark.parametrize(("kind", "answer", "gold"), flat(RIGHT))
def test_right(grader: Grader, kind: str, answer: str, gold: str) -> None:
    assert grader.compare(answer, gold).correct, (kind, grader.compare(answer, gold))


@pytest.mark.parametrize(("kind", "answer", "gold"), flat(WRONG))
def test_wrong(grader: Grader, kind: str, answer: str, gold: str) -> None:
    assert not grader.compare(answer, gold).correct, (kind, grader.compare(answer, gold))


@pytest.mark.parametrize(("text", "answer"), EXTRACTED)
def test_extraction(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer
