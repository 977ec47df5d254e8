"""The remedies that need the model, on the embedded student."""

import pytest

from drp.diagnosis.completion import Taken, by_characters, take_apart
from drp.diagnosis.trials import Student, places, tried
from drp.engines.settings import PromptSettings, StudentSettings
from drp.grading.grader import Grader
from drp.records import Trace

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(StudentSettings(device="cpu"), PromptSettings())


def taken(student: Student) -> Taken:
    question = (
        "Tom has 4 boxes with 12 marbles each. He gives away 8 marbles. How many marbles does he have now?"
    )
    thinking = "Tom has 4 boxes with 12 marbles each.\n\n4 * 12 = 48.\n\n48 - 8 = 40.\n\nLet me check. 40 + 8 = 48. Yes.\n\nSo the answer is 40."
    trace = Trace(id="t", problem_id="p", question=question, gold="40", thinking=thinking, answer="The answer is \\boxed{40}.",
                  closed=True, correct=True)  # fmt: skip
    return take_apart(trace, by_characters)


def test_answers_are_surer_once_they_are_reached(student: Student) -> None:
    one = taken(student)
    whole = one.trace.thinking
    with Grader() as grader:
        early, late = student.answers([(one, whole.partition("48")[0]), (one, whole)], grader)
        (unfinished,) = student.answers([(one, whole)], grader, most=2)
    assert late.right and late.confidence > 0.9 and late.confidence > early.confidence
    assert early.thinking < late.thinking and unfinished.confidence == 0


def test_every_remedy_is_measured_against_the_completion_as_it_is(student: Student) -> None:
    one = taken(student)
    assert [one.parts[i].text.strip() for i in places(one)][1:3] == ["4 * 12 = 48.", "48 - 8 = 40."] or len(
        places(one)
    ) >= 3
    found = {r.name: r for r in tried([one], student)}
    assert all(r.kind == "run" and r.saved and r.accuracy and r.change for r in found.values())
    exits = found["early exit once 0.95 sure"]
    assert exits.saved is not None and exits.saved.value <= 1 and "trials" in exits.note
    assert set(found) >= {"no thinking", "answer once it is reached"}
