from functools import cache

import numpy as np
import pytest
from scipy import stats

from drp.errors import DataError
from drp.evaluation.comparison import compare
from drp.evaluation.metrics import by_problem, measure
from drp.evaluation.statistics import (
    difference_interval,
    majority_right,
    mcnemar_p,
    mean_interval,
    non_inferiority,
    pass_at_k,
    problems_needed,
    smallest_difference,
    told_from_none,
)
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


@pytest.mark.parametrize(
    ("problems", "runs", "spread"), [(60, 1, 0.0), (80, 1, 0.0), (40, 5, 0.3), (300, 3, 0.2)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(problems: int, runs: int, spread: float) -> None:
    """Problems differ in difficulty by ``spread``; runs of one problem share it.

    With single runs the mean moves in steps of 1/n, and coverage with it: at n = 40 it is 97.1 %.
    """
    rng = np.random.default_rng(5)
    trials, covered = 1000, 0
    for trial in range(trials):
        difficulty = np.clip(rng.normal(0.7, spread, problems), 0, 1) if spread else np.full(problems, 0.7)
        values = rng.binomial(runs, difficulty) / runs
        interval = mean_interval(values, seed=trial)
        truth = 0.7 if not spread else _clipped_mean(spread)
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / trials <= 0.97


@pytest.mark.parametrize("problems", [10, 30, 40, 100, 500])
def test_a_paired_interval_covers_the_truth_where_pairs_rarely_differ(problems: int) -> None:
    """Resampling knew nothing of losses it had not seen: at 1 % of 40 pairs it covered the truth in a third of cases.

    Coverage is summed over all outcomes, not simulated; it moves by half a point with their steps.
    """

    @cache
    def interval(wins: int, losses: int) -> tuple[float, float]:
        found = difference_interval(np.repeat([1.0, -1.0, 0.0], [wins, losses, problems - wins - losses]))
        return found.low, found.high

    for rate in (0.0, 0.01, 0.05, 0.3):
        differing = stats.binom.pmf(np.arange(problems + 1), problems, rate)
        for share_won in (0.0, 0.25, 0.5):
            truth, covered = rate * (2 * share_won - 1), 0.0
            for pairs in np.flatnonzero(differing > 1e-5):
                won = stats.binom.pmf(np.arange(pairs + 1), pairs, share_won) * differing[pairs]
                for wins in np.flatnonzero(won > 1e-6):
                    low, high = interval(int(wins), int(pairs - wins))
                    covered += won[wins] * (low <= truth <= high)
            assert covered > 0.944, (rate, share_won)


@pytest.mark.parametrize(("problems", "runs"), [(30, 4), (100, 4), (100, 16)])
def test_a_paired_interval_of_many_runs_is_no_wider_than_it_must_be(problems: int, runs: int) -> None:
    """Means of several runs differ by little; wins and losses of size 1 among them would double the interval."""
    rng = np.random.default_rng(6)
    trials, covered, widths, resampled = 400, 0, 0.0, 0.0
    for _ in range(trials):
        difficulty = rng.beta(2, 2, problems)
        gain = rng.binomial(runs, difficulty) / runs - rng.binomial(runs, difficulty) / runs
        found, usual = difference_interval(gain), mean_interval(gain)
        covered += found.low <= 0 <= found.high
        widths, resampled = widths + found.high - found.low, resampled + usual.high - usual.low
    assert covered / trials >= 0.93 and widths < 1.15 * resampled


def test_no_difference_seen_is_not_none_and_swapped_models_mirror() -> None:
    """40 equal pairs gave [0, 7.5], 40 losses [-1, -1], and "n can tell 0.0"."""
    same = [trace(str(i), 0, True, 100) for i in range(40)]
    lost = [t.model_copy(update={"correct": False}) for t in same]
    equal = compare("x", same, same)
    assert equal.accuracy_difference_interval.low == -equal.accuracy_difference_interval.high < -0.075
    assert 0.1 < equal.smallest_difference < 0.2 and told_from_none(np.zeros(1)) == 1
    worse = compare("x", same, lost).accuracy_difference_interval
    assert worse.low == -1 and -0.9 < worse.high < -0.75
    rng = np.random.default_rng(7)
    one, two = (
        [
            trace(str(i), r, bool(rng.random() < p), int(rng.integers(50, 900)))
            for i in range(25)
            for r in range(2)
        ]
        for p in (0.5, 0.7)
    )
    there, back = compare("x", one, two), compare("x", two, one)
    assert there.accuracy_difference_interval.low == -back.accuracy_difference_interval.high
    assert there.accuracy_difference_interval.high == -back.accuracy_difference_interval.low
    assert there.smallest_difference == back.smallest_difference and there.accuracy_p == back.accuracy_p
    assert there.tokens_ratio_interval and back.tokens_ratio_interval
    assert there.tokens_ratio_interval.low == pytest.approx(1 / back.tokens_ratio_interval.high, rel=1e-12)


@cache
def _clipped_mean(spread: float) -> float:
    return float(np.clip(np.random.default_rng(0).normal(0.7, spread, 2_000_000), 0, 1).mean())


@pytest.mark.parametrize(("problems", "loss"), [(200, 0.05), (500, 0.02), (60, 0.1)])
def test_a_real_loss_is_called_harmless_at_most_once_in_twenty(problems: int, loss: float) -> None:
    """The truth lies on the margin: the second model is worse by exactly the margin."""
    rng = np.random.default_rng(9)
    trials = 4000
    first = rng.random((trials, problems)) < 0.8
    noise = rng.random((trials, problems))
    # Of the problems the first got right the second loses some, and wins some of the others.
    second = np.where(first, noise > 0.1 + loss / 0.8, noise < 0.4)
    assert second.mean() - first.mean() == pytest.approx(-loss, abs=0.003)
    accepted = sum(
        non_inferiority(second[t].astype(float) - first[t].astype(float), loss).shown for t in range(trials)
    )
    assert accepted / trials <= 0.05 + 0.007  # two standard errors of the simulation


@pytest.mark.parametrize(
    ("problems", "loss"),
    [(50, 0.02), (100, 0.01), (300, 0.01), (30, 0.05), (170, 0.01), (100, 0.018), (40, 0.042)],
)
def test_rare_losses_are_not_overlooked(problems: int, loss: float) -> None:
    """The two models agree but for a few problems, all of them lost: most small samples show none."""
    rng = np.random.default_rng(10)
    trials = 4000
    accepted = sum(
        non_inferiority(-(rng.random(problems) < loss).astype(float), loss).shown for _ in range(trials)
    )
    assert accepted / trials <= 0.05 + 0.007


def test_no_loss_is_shown_to_be_none_with_enough_problems() -> None:
    rng = np.random.default_rng(3)
    gain = rng.choice([-1.0, 0.0, 1.0], p=[0.03, 0.93, 0.04], size=3000)
    result = non_inferiority(gain, 0.01)
    assert result.shown and result.p < 0.05 and result.lower_bound > -0.01
    assert not non_inferiority(gain[:30], 0.01).shown
    assert not non_inferiority(np.zeros(30), 0.01).shown  # thirty equal results show little
    assert non_inferiority(np.zeros(400), 0.01).shown


def test_pass_at_k_is_unbiased() -> None:
    rng = np.random.default_rng(2)
    for k in (1, 2, 4):
        found = [pass_at_k(int(rng.binomial(8, 0.3)), 8, k) for _ in range(20_000)]
        assert np.mean(found) == pytest.approx(1 - 0.7**k, abs=0.01)
    assert pass_at_k(0, 5, 5) == 0 and pass_at_k(1, 5, 5) == 1
    with pytest.raises(ValueError, match="at least 6 runs"):
        pass_at_k(1, 5, 6)


def test_majorities_vote_and_ties_share() -> None:
    assert majority_right(["3", "3", "4"], [True, True, False]) == 1
    assert majority_right(["4", "4", "3"], [False, False, True]) == 0
    assert majority_right(["3", "4"], [True, False]) == 0.5
    assert majority_right([None, None, "3"], [False, False, True]) == 1
    assert majority_right([None], [False]) == 0


def test_mcnemar_agrees_with_the_binomial() -> None:
    assert mcnemar_p(0, 0) == 1 and mcnemar_p(5, 5) == 1
    assert mcnemar_p(0, 6) == pytest.approx(2 * 0.5**6)


def test_thirty_problems_tell_little() -> None:
    sd = 0.5  # of per-problem differences, as single runs of AIME have it
    least = smallest_difference(sd, 30)
    assert 0.24 < least < 0.27
    assert problems_needed(sd, least) in (30, 31)
    rng = np.random.default_rng(4)
    needed = problems_needed(sd, 0.1)
    found = 0
    for _ in range(600):
        gain = rng.choice([-1.0, 0.0, 1.0], p=[0.08, 0.74, 0.18], size=needed)
        found += abs(gain.mean()) / (gain.std(ddof=1) / np.sqrt(needed)) > 1.96
    assert 0.75 < found / 600 < 0.87


def test_means_of_runs_and_of_problems_agree() -> None:
    rng = np.random.default_rng(8)
    traces = [
        trace(f"p{i}", run, bool(rng.random() < 0.6), 100, answer=f"{run % 2}")
        for i in range(50)
        for run in range(4)
    ]
    figures = measure("x", traces)
    per_run = [np.mean([t.correct for t in traces if t.sample == run]) for run in range(4)]
    assert figures.accuracy == pytest.approx(np.mean(per_run))
    assert figures.pass_at_runs is not None and figures.pass_at_runs > figures.accuracy
    assert figures.tokens_per_correct == pytest.approx(200 * 100 / sum(bool(t.correct) for t in traces))
    assert measure("x", traces[:1]).pass_at_runs is None


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
