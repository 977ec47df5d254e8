"""Two models on the same problems: paired differences with intervals and permutation tests."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from drp.errors import DataError
from drp.evaluation.metrics import by_problem
from drp.evaluation.statistics import (
    Interval,
    NonInferiority,
    difference_interval,
    mcnemar_p,
    non_inferiority,
    told_from_none,
)
from drp.records import Record, Trace

PERMUTATIONS = 9999
MARGIN = 0.01
"""One point: what "not less accurate" means unless said otherwise."""


class Comparison(Record):
    """Second model against first, on the problems both answered."""

    benchmark: str
    problems: int
    accuracy_difference: float
    """Second minus first."""
    accuracy_difference_interval: Interval
    accuracy_p: float
    """Two-sided paired permutation test over problems."""
    tokens_ratio: float | None
    """Mean tokens of the second over those of the first; ``None`` where tokens were not counted."""
    tokens_ratio_interval: Interval | None
    """``None`` also where one problem is all there is."""
    tokens_p: float | None
    only_first_right: int
    """Problems on which the first model was right more often."""
    only_second_right: int
    mcnemar_p: float | None = None
    """Exact McNemar test, for single runs."""
    non_inferiority: NonInferiority
    """Whether the second is not less accurate, by the margin."""
    smallest_difference: float
    """The smallest true difference in accuracy that so many problems tell from none, with power 80 %."""


def _p_value(difference: "np.ndarray[Any, np.dtype[np.float64]]", seed: int) -> float:
    if len(difference) < 2 or not difference.any():
        return 1.0
    result = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _ratio_interval(
    first: "np.ndarray[Any, np.dtype[np.float64]]", second: "np.ndarray[Any, np.dtype[np.float64]]"
) -> Interval | None:
    """Return the 95 % bootstrap interval of the ratio of means; one problem tells nothing of its spread."""
    if len(first) < 2:
        return None
    draws = np.random.default_rng(0).integers(0, len(first), (4000, len(first)))
    # Quantiles of logarithms, which swapped models mirror: those of ratios are interpolated on another scale.
    logs = np.log(second[draws].mean(axis=1)) - np.log(first[draws].mean(axis=1))
    low, high = np.exp(np.quantile(logs, [0.025, 0.975]))
    return Interval(low=float(low), high=float(high))


def compare(
    benchmark: str, first: Sequence[Trace], second: Sequence[Trace], margin: float = MARGIN
) -> Comparison:
    """Compare two models' graded traces of one benchmark, problem by problem.

    Args:
        benchmark: Its name.
        first: Graded traces of the first model.
        second: The same of the second.
        margin: A loss of accuracy below this is "not less accurate".

    Raises:
        DataError: They share no problem.
    """
    one, two = by_problem(first), by_problem(second)
    shared = sorted(set(one.ids) & set(two.ids))
    if not shared:
        raise DataError(f"{benchmark}: the two runs share no problem, so they cannot be compared")
    pick_one = [one.ids.index(i) for i in shared]
    pick_two = [two.ids.index(i) for i in shared]
    gain = two.correct[pick_two] - one.correct[pick_one]
    before, after = one.tokens[pick_one], two.tokens[pick_two]
    counted = bool(before.any() and after.any())
    only_first, only_second = int((gain < 0).sum()), int((gain > 0).sum())
    single = set(np.unique(gain)) <= {-1.0, 0.0, 1.0} and one.runs == two.runs == 1
    return Comparison(
        benchmark=benchmark,
        problems=len(shared),
        accuracy_difference=float(gain.mean()),
        accuracy_difference_interval=difference_interval(gain),
        accuracy_p=_p_value(gain, 1),
        tokens_ratio=float(after.mean() / before.mean()) if counted else None,
        tokens_ratio_interval=_ratio_interval(before, after) if counted else None,
        tokens_p=_p_value(after - before, 2) if counted else None,
        only_first_right=only_first,
        only_second_right=only_second,
        mcnemar_p=mcnemar_p(only_first, only_second) if single else None,
        non_inferiority=non_inferiority(gain, margin),
        smallest_difference=told_from_none(gain),
    )
