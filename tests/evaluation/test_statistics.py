import numpy as np
import pytest

from drp.errors import DataError
from drp.evaluation.comparison import compare
from drp.evaluation.metrics import by_problem, mean_interval, measure
from drp.records import Trace, Usage


def trace(problem: str, sample: int, correct: bool, tokens: int, **fields: object) -> Trace:
    return Trace.model_validate(
        {"id": f"{problem}-{sample}", "problem_id": problem, "question": "q", "gold": "1", "sample": sample,
         "thinking": "t", "answer": "a", "closed": True, "finish_reason": "stop", "correct": correct,
         "usage": Usage(completion_tokens=tokens, thinking_tokens=tokens - 10)} | fields
    )  # fmt: skip


def test_measure_averages_runs_within_problems_first() -> None:
    traces = [
        trace("a", 0, True, 100),
        trace("a", 1, False, 300),
        trace("b", 0, True, 50),
        trace("b", 1, True, 150),
    ]
    traces.append(trace("c", 0, False, 1200, finish_reason="length", closed=False))
    traces.append(trace("c", 1, False, 1000, answer="So 3 + 4 = 7. Yes. " * 30))
    figures = measure("x", traces)
    assert (figures.problems, figures.runs) == (3, 2)
    assert figures.accuracy == pytest.approx((0.5 + 1 + 0) / 3)
    assert figures.tokens_mean == pytest.approx((200 + 100 + 1100) / 3)
    assert figures.truncated == pytest.approx(1 / 6) and figures.unclosed == pytest.approx(1 / 6)
    assert figures.looping == pytest.approx(1 / 6)
    assert figures.thinking_mean == pytest.approx(np.mean([90, 290, 40, 140, 1190, 990]))
    assert figures.accuracy_interval.low < figures.accuracy < figures.accuracy_interval.high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(400):
        interval = mean_interval((rng.random(80) < 0.7).astype(float), seed=trial)
        covered += interval.low <= 0.7 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_all_right_is_not_certainty() -> None:
    interval = mean_interval(np.ones(30))
    assert interval.high == 1 and interval.low == pytest.approx(0.9)


def test_pairing_finds_what_means_alone_would_not() -> None:
    rng = np.random.default_rng(1)
    base = [trace(str(i), 0, bool(rng.random() < 0.5), int(rng.integers(200, 2000))) for i in range(120)]
    shorter = [
        t.model_copy(update={"usage": Usage(completion_tokens=int(t.usage.completion_tokens * 0.9))})
        for t in base
    ]
    result = compare("x", base, shorter)
    assert result.tokens_ratio == pytest.approx(0.9, abs=0.01)
    assert result.tokens_ratio_interval.high < 0.91 and result.tokens_p < 0.001
    assert result.accuracy_difference == 0 and result.accuracy_p == 1
    worse = [t.model_copy(update={"correct": bool(t.correct) and i % 3 != 0}) for i, t in enumerate(base)]
    lost = compare("x", base, worse)
    assert lost.accuracy_difference < 0 and lost.accuracy_p < 0.001
    assert lost.only_second_right == 0 and lost.only_first_right > 10


def test_only_shared_problems_count_and_none_is_an_error() -> None:
    one = [trace("a", 0, True, 10), trace("b", 0, True, 10)]
    two = [trace("b", 0, False, 20), trace("c", 0, True, 20)]
    assert compare("x", one, two).problems == 1
    with pytest.raises(DataError, match="share no problem"):
        compare("x", one[:1], two)


def test_order_does_not_matter() -> None:
    traces = [trace(str(i), 0, i % 2 == 0, 100 + i) for i in range(9)]
    assert by_problem(traces).ids == by_problem(traces[::-1]).ids
    assert measure("x", traces) == measure("x", traces[::-1])
