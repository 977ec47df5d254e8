"""Statistics over problems: intervals, non-inferiority, pass@k, maj@k, and how many problems a claim needs.

Problems are the unit: runs of one problem are not independent, so they are averaged first.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from drp.records import Record

RESAMPLES = 4000
TWO_SIDED, ONE_SIDED = float(stats.norm.ppf(0.975)), float(stats.norm.ppf(0.95))
"""Quantiles of the normal distribution: 1.96 and 1.645."""
Values = npt.NDArray[np.float64]
"""One number a problem."""


class Interval(Record):
    """A confidence interval, of 95 % unless said otherwise."""

    low: float
    high: float


def mean_interval(values: Values, seed: int = 0) -> Interval:
    """Return the 95 % bootstrap interval of the mean over problems.

    Percentiles are widened so that small samples cover as often as they say (the expanded percentile
    interval of Hesterberg 2015): resampling alone is too narrow by about sqrt(1 - 1/n) and knows no t.
    """
    count = len(values)
    if count < 2 or np.ptp(values) == 0:
        # Nothing varies, so resampling would claim certainty. The rule of three (Hanley and Lippman-Hand 1983): what did
        # not happen in n problems happens in at most 3/n of them, at 95 %, since (1 - 3/n)^n is about e^-3 = 0.05.
        value, slack = float(np.mean(values)), 3 / max(1, count)
        if set(np.unique(values)) <= {0.0, 1.0}:
            return Interval(low=max(0.0, value - slack), high=min(1.0, value + slack))
        return Interval(low=value, high=value)
    means = _resampled_means(values, seed)
    # Hesterberg's tail: for n = 20 the percentiles are those at 1.6 and 98.4 % instead of 2.5 and 97.5.
    tail = float(stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def _resampled_means(values: Values, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    step = max(1, 4_000_000 // len(values))  # in parts, so that 10,000 problems fit in memory
    parts = [
        values[rng.integers(0, len(values), (min(step, RESAMPLES - done), len(values)))].mean(axis=1)
        for done in range(0, RESAMPLES, step)
    ]
    return np.concatenate(parts)


class NonInferiority(Record):
    """Whether the second model is not worse than the first by a margin or more."""

    margin: float
    """In points of accuracy, such as 0.01."""
    lower_bound: float
    """One-sided 95 % bound of second minus first."""
    p: float
    """Of the hypothesis that it is worse by the margin or more."""
    shown: bool
    """Whether that hypothesis is rejected at 5 %."""


@dataclass(frozen=True)
class _Spread:
    """Mean and spread of per-problem differences, and of how many problems, pseudo-problems included."""

    mean: float
    sd: float
    problems: float

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.sd / math.sqrt(self.problems)


def _spread(gain: Values, z: float) -> _Spread:
    """Return mean and spread of differences in [-1, 1] after z²/2 wins and z²/2 losses were added to them.

    Where two models rarely differ, few problems show no difference, and their spread of 0 would claim certainty.
    With the added problems, n equal pairs bound the difference by z²/(n + z²), as Tango's score interval (1998) does:
    40 of them by 8.8 points at z = 1.96. It is to paired differences what Agresti and Coull's "add two successes and
    two failures" is to a share. What is added is as large as the differences are that were seen, and one of size 1:
    always 1 where each problem is run once, less where the means of many runs differ by a little.
    """
    # The added problems leave the sum as it is, half of them for each side, and add z² times the square of their size to
    # the squares. That square is the mean over the differences seen and one of size 1.
    squares = float(np.sum(gain**2))
    added = (squares + 1) / (np.count_nonzero(gain) + 1)
    problems = len(gain) + z * z
    mean = float(np.sum(gain)) / problems
    return _Spread(mean, math.sqrt((squares + z * z * added) / problems - mean**2), problems)


def difference_interval(gain: Values) -> Interval:
    """Return the 95 % interval of the mean of per-problem differences in accuracy, each in [-1, 1].

    Swapped models give exactly the mirrored interval.
    """
    spread = _spread(gain, TWO_SIDED)
    slack = float(stats.t.ppf(0.975, max(1, len(gain) - 1))) * spread.error
    return Interval(low=max(-1.0, spread.mean - slack), high=min(1.0, spread.mean + slack))


def told_from_none(gain: Values) -> float:
    """Return the smallest true difference that these problems tell from none (power 80 %, two-sided at 5 %)."""
    spread = _spread(gain, TWO_SIDED)
    return min(1.0, smallest_difference(spread.sd, spread.problems))


def non_inferiority(gain: Values, margin: float) -> NonInferiority:
    """Test per-problem differences (second minus first) by a paired one-sided t-test, with added wins and losses."""
    # H0: the true mean is -margin or less. t = (mean + margin) / error, large where the mean lies well above -margin.
    spread = _spread(gain, ONE_SIDED)
    freedom = max(1, len(gain) - 1)
    p = float(stats.t.sf((spread.mean + margin) / spread.error, freedom))
    bound = max(-1.0, spread.mean - float(stats.t.ppf(0.95, freedom)) * spread.error)
    return NonInferiority(margin=margin, lower_bound=bound, p=p, shown=p <= 0.05)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p of McNemar's test: problems only one of two models got right.

    For single runs; with several runs a problem, the permutation test over problems takes its place.
    """
    if only_first + only_second == 0:
        return 1.0
    # Were the models alike, each problem that only one got right would be either's with even odds.
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def pass_at_k(right: int, runs: int, k: int) -> float:
    """Return the unbiased chance that one of ``k`` runs is right (Chen et al. 2021).

    Raises:
        ValueError: There are fewer than ``k`` runs.
    """
    if not 1 <= k <= runs:
        raise ValueError(f"pass@{k} needs at least {k} runs, and there are {runs}")
    # 1 less the share of samples of k runs without a right one; 1 - (1 - right/runs)^k is biased: it draws runs twice.
    return 1.0 - math.comb(runs - right, k) / math.comb(runs, k)


def majority_right(answers: Sequence[str | None], right: Sequence[bool]) -> float:
    """Return whether the most frequent answer is right: maj@n; a tie counts by share.

    Args:
        answers: The normalised answer of each run; ``None`` where there is none, which has no vote.
        right: Whether each run is right.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    leaders = [answer for answer, count in votes.items() if count == most]
    verdict = {answer: ok for answer, ok in zip(answers, right, strict=True) if answer is not None}
    return sum(verdict[answer] for answer in leaders) / len(leaders)


def smallest_difference(sd: float, problems: float, power: float = 0.8) -> float:
    """Return the smallest true difference that ``problems`` tell from none, two-sided at 5 %.

    Args:
        sd: Standard deviation over problems of the per-problem difference.
        problems: How many problems.
        power: The chance of finding it.
    """
    # The difference whose estimate lies beyond 1.96 standard errors with chance `power`: (1.96 + 0.84)·sd/√n at 80 %.
    return float(stats.norm.ppf(0.975) + stats.norm.ppf(power)) * sd / math.sqrt(max(1, problems))


def problems_needed(sd: float, difference: float, power: float = 0.8) -> int:
    """Return how many problems tell a true ``difference`` from none, two-sided at 5 %."""
    if difference <= 0:
        raise ValueError("the difference to tell must be positive")
    # `smallest_difference` solved for n.
    return max(2, math.ceil(((stats.norm.ppf(0.975) + stats.norm.ppf(power)) * sd / difference) ** 2))
