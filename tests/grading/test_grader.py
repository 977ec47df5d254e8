import threading
import time

import pytest

from drp.grading.grader import Grader


@pytest.fixture(scope="module")
def grader() -> "Grader":  # type: ignore[misc]
    with Grader(time_limit_s=3) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "gold", "correct", "how"),
    [
        ("so \\boxed{57}", "57", True, "spelling"),
        ("so \\boxed{57.0}", "57", True, "number"),
        ("\\boxed{1,000}", "1000", True, "spelling"),
        ("\\boxed{58}", "57", False, "number"),
        ("\\boxed{0.5}", "\\frac{1}{2}", True, "number"),
        ("\\boxed{\\dfrac12}", "\\frac{1}{2}", True, "spelling"),
        ("\\boxed{x^2+2x+1}", "(x+1)^2", True, "math_verify"),
        ("\\boxed{x+1}", "x+2", False, "math_verify"),
        ("no number", "3", False, "missing"),
    ],
)
def test_verdicts(grader: Grader, text: str, gold: str, correct: bool, how: str) -> None:
    grade = grader.grade(text, gold)
    assert (grade.correct, grade.how) == (correct, how)


def test_hostile_input_costs_its_time_limit_and_no_more(grader: Grader) -> None:
    assert grader.is_correct("\\boxed{\\frac{3}{2}}", "1.5")  # the process is warm
    started = time.monotonic()
    grade = grader.compare("9^{9^{9^9}}", "x^{9^{9^9}}+1")
    assert not grade.correct
    assert time.monotonic() - started < 20
    assert grader.is_correct("\\boxed{\\frac{3}{2}}", "1.5")  # and works again


def test_many_threads_share_one_grader(grader: Grader) -> None:
    verdicts: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: verdicts.append(grader.is_correct("\\boxed{\\frac{6}{4}}", "\\frac{3}{2}"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 8
