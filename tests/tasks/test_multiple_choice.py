"""Multiple choice: what counts as an answer is a letter or an option's words, never a stray capital."""

import json
from pathlib import Path

import pytest

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.grading.grader import Grader
from drp.records import Problem
from drp.tasks.multiple_choice import options

QUESTION = "Which planet is largest?\nA) Mars\nB) Jupiter\n(C) Earth\nD. 4.5 \\times 10^3 km"
PROBLEM = Problem(question=QUESTION, gold="B", task="multiple_choice")
RIGHT = [
    "So it is Jupiter.\n\n\\boxed{B}",
    "\\boxed{\\text{B}}",
    "\\boxed{(B)}",
    "\\boxed{B) Jupiter}",
    "\\boxed{Jupiter}",
    "The answer is (B).",
    "**Answer:** B",
    "The correct option is B, since A is far too small.",
    "Mars is small.\n\nB) Jupiter",
    "The right answer is A? No: option A is wrong, the answer is B",
]
WRONG = [
    "\\boxed{A}",
    "The answer is (C).",
    "A planet is a body. Both Mars and Jupiter are planets.",
    "Jupiter is a planet, and B is a letter.",
    "I think that option B is wrong.",
    "\\boxed{}",
    "",
    "\\boxed{E}",
    "The answer is B, no, the answer is A",
]


@pytest.fixture(scope="module")
def grader() -> Grader:
    return Grader()


@pytest.mark.parametrize("text", RIGHT)
def test_a_letter_or_its_options_words_are_right(text: str, grader: Grader) -> None:
    assert grader.solves(text, PROBLEM)


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_wrong(text: str, grader: Grader) -> None:
    assert not grader.solves(text, PROBLEM)


def test_gold_may_be_the_options_words_and_a_formula_another_spelling_of_one(grader: Grader) -> None:
    assert grader.solves("\\boxed{B}", PROBLEM.model_copy(update={"gold": "Jupiter"}))
    assert grader.solves("\\boxed{4500 \\text{ km}}", PROBLEM.model_copy(update={"gold": "D"}))
    assert not grader.solves("\\boxed{450 km}", PROBLEM.model_copy(update={"gold": "D"}))


def test_strict_takes_boxes_only() -> None:
    with Grader(strict=True) as strict:
        assert strict.solves("\\boxed{B}", PROBLEM) and not strict.solves("The answer is (B).", PROBLEM)


def test_options_are_lines_from_a_on() -> None:
    assert options(QUESTION) == {"A": "Mars", "B": "Jupiter", "C": "Earth", "D": "4.5 \\times 10^3 km"}
    assert options("A car drives.\nB. It stops.") == {} == options("(a) Show that x = 1.\n(b) Hence solve.")


@pytest.mark.parametrize(
    ("row", "gold"),
    [
        ({"question": "Largest?", "choices": ["Mars", "Jupiter"], "answer": 1}, "B"),
        ({"question": "Largest?", "options": ["Mars", "Jupiter"], "answer": "B"}, "B"),
        (
            {
                "question": "Largest?",
                "choices": {"label": ["A", "B"], "text": ["Mars", "Jupiter"]},
                "answer": "A",
            },
            "A",
        ),
        ({"question": "How many?", "choices": ["2", "1"], "answer": "1"}, "1"),
    ],
)
def test_options_beside_a_question_are_shown_below_it(
    row: dict[str, object], gold: str, tmp_path: Path
) -> None:
    """An index names an option from 0, unless it is itself one of the options."""
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    (problem,) = load_problems(ProblemSet(benchmark="mine", path=file, task="multiple_choice"))
    assert len(options(problem.question)) == 2 and problem.gold == gold and problem.task == "multiple_choice"
    (other,) = load_problems(ProblemSet(benchmark="mine", path=file))
    assert other.question == row["question"] and other.id != problem.id
