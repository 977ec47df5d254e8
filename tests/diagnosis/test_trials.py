"""The remedies that need the model, on the embedded student."""

from pathlib import Path

import pytest

import drp
from drp.diagnosis.completion import Taken, by_characters, take_apart
from drp.diagnosis.trials import Student, places
from drp.engines.settings import PromptSettings, StudentSettings
from drp.grading.grader import Grader
from drp.records import Trace

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def student() -> Student:
    return Student(StudentSettings(device="cpu"), PromptSettings())


def taken() -> Taken:
    question = (
        "Tom has 4 boxes with 12 marbles each. He gives away 8 marbles. How many marbles does he have now?"
    )
    thinking = "Tom has 4 boxes with 12 marbles each.\n\n4 * 12 = 48.\n\n48 - 8 = 40.\n\nLet me check. 40 + 8 = 48. Yes.\n\nSo the answer is 40."
    trace = Trace(id="t", problem_id="p", question=question, gold="40", thinking=thinking, answer="The answer is \\boxed{40}.",
                  closed=True, correct=True)  # fmt: skip
    return take_apart(trace, by_characters)


def test_answers_are_surer_once_they_are_reached(student: Student) -> None:
    one = taken()
    whole = one.trace.thinking
    with Grader() as grader:
        early, late = student.answers([(one, whole.partition("48")[0]), (one, whole)], grader)
        (unfinished,) = student.answers([(one, whole)], grader, most=2)
    assert late.right and late.confidence > 0.9 and late.confidence > early.confidence
    assert early.thinking < late.thinking and unfinished.confidence == 0


def test_answers_are_tried_where_paragraphs_end() -> None:
    one = taken()
    tried_at = [one.parts[i].text.strip() for i in places(one)]
    assert tried_at[1:3] == ["4 * 12 = 48.", "48 - 8 = 40."] and len(tried_at) == 4


def test_a_model_answers_some_problems_and_every_remedy_is_run_on_them(tmp_path: Path) -> None:
    short = ["generate.sampling.max_new_tokens=250", "student.device=cpu"]
    found = drp.diagnose("mini", limit=2, overrides=short, out=tmp_path / "out", pruned=1)
    assert found.completions == 2 and found.cut is not None and "own counts" in found.counted
    run = {r.name: r for r in found.remedies if r.kind == "run"}
    assert {"no thinking", "answer once it is reached", "early exit once 0.95 sure"} <= set(run)
    assert all(r.saved and r.accuracy and r.change for r in run.values())
    assert (
        "trials" in run["early exit once 0.95 sure"].note
        and found.next_command == "drp run recipes/mini.yaml"
    )
    again = drp.diagnose(tmp_path / "out", pruned=1)  # its completions are a run of their own
    assert again.accuracy == found.accuracy and (tmp_path / "out" / "diagnosis.html").exists()
