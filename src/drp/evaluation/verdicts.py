"""Verdicts on traces: of completions that have none yet, and anew where another version of the grader gave them."""

from collections.abc import Iterable, Iterator, Sequence

from drp.grading.grader import Graded, Grader
from drp.records import Completion, Trace
from drp.tasks.base import task_of
from drp.text.answers import MARKED


def is_right(made: Completion | Trace, problem: Graded, grader: Grader) -> bool:
    """Return whether a student of ours answered right; without an answer, thinking that never closed is wrong."""
    return (made.closed or bool(made.answer)) and _right(made.answer, made, problem, grader)


def _right(text: str, made: Completion | Trace, problem: Graded, grader: Grader) -> bool:
    """Grade what a completion says; one that was cut off has an answer only where it is marked.

    The last number of a sentence that breaks off may be half a number, or one on the way: ``506 + 10 = 51``.
    """
    verdict = grader.verdict(text, problem)
    return verdict.correct and (made.finish_reason != "length" or verdict.reading in MARKED)


def graded_again(traces: Sequence[Trace], grader: Grader) -> list[Trace]:
    """Return traces of students of ours with this version's verdicts."""
    return [t.model_copy(update={"correct": is_right(t, t, grader)}) for t in traces]


def grade_traces(
    traces: Sequence[Trace], *, from_thinking: bool = False, strict: bool = False
) -> list[Trace]:
    """Grade what is not graded yet; from the thinking only where asked, and the answer part has no answer."""
    return list(verdicts(traces, from_thinking=from_thinking, strict=strict))


def verdicts(
    traces: Iterable[Trace], *, from_thinking: bool = False, strict: bool = False
) -> Iterator[Trace]:
    """Yield what :func:`grade_traces` returns, one in memory at a time."""
    with Grader(strict=strict) as grader:
        for trace in traces:
            if trace.correct is None:
                text = trace.answer
                if from_thinking and task_of(trace.task).final_answer(text, trace.question) is None:
                    text = trace.thinking
                trace = trace.model_copy(update={"correct": _right(text, trace, trace, grader)})
            yield trace
