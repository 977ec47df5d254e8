"""Verdicts on whole completions: what a cut leaves of an answer."""

import pytest

from drp.evaluation.verdicts import grade_traces, is_right
from drp.grading.grader import Grader
from drp.records import FinishReason, Trace


@pytest.mark.parametrize(
    ("answer", "finish", "right"),
    [
        ("So 506 + 10 = 51", "length", False),
        ("So 506 + 10 = 51", "stop", True),
        ("The answer is \\boxed{51}. Let me", "length", True),
        ("#### 51", "length", True),
    ],
)
def test_an_answer_that_breaks_off_counts_only_where_it_is_marked(
    answer: str, finish: FinishReason, right: bool
) -> None:
    """Cut off within "= 516", a completion was graded as one that says 51."""
    trace = Trace(
        id="t",
        problem_id="p",
        question="q",
        gold="51",
        thinking="",
        answer=answer,
        closed=True,
        finish_reason=finish,
    )
    with Grader() as grader:
        assert is_right(trace, trace.model_copy(update={"gold": "51"}), grader) is right
    assert grade_traces([trace])[0].correct is right
