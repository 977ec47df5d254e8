"""Figures with intervals over problems, which are the unit: completions of one problem are not independent."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from drp.evaluation.statistics import RESAMPLES, Interval, difference_interval, mean_interval
from drp.records import Record


class Figure(Record):
    """A number with its 95 % interval, and of how many completions it is."""

    value: float
    interval: Interval
    n: int


def mean_of(problems: Sequence[str], values: Sequence[float]) -> Figure | None:
    """Return the mean over problems of the mean of each, or ``None`` of nothing.

    Args:
        problems: The problem of each completion.
        values: Its value.
    """
    if not values:
        return None
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for problem, value in zip(problems, values, strict=True):
        groups[problem].append(value)
    means = np.array([float(np.mean(group)) for group in groups.values()])
    return Figure(value=float(means.mean()), interval=mean_interval(means), n=len(values))


def change_of(problems: Sequence[str], changes: Sequence[float], *, certain: bool = False) -> Figure | None:
    """Return the mean over problems of paired changes in [-1, 1], or ``None`` of nothing.

    Args:
        problems: The problem of each completion.
        changes: What changes of each.
        certain: Whether they are so by construction, so that nothing is estimated.
    """
    figure = mean_of(problems, changes)
    if figure is None or certain:
        value = 0.0 if figure is None else figure.value
        return figure and figure.model_copy(update={"interval": Interval(low=value, high=value)})
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for problem, change in zip(problems, changes, strict=True):
        groups[problem].append(change)
    means = np.array([float(np.mean(group)) for group in groups.values()])
    return figure.model_copy(update={"interval": difference_interval(means)})


def share_of(problems: Sequence[str], parts: Sequence[float], wholes: Sequence[float]) -> Figure | None:
    """Return what share the parts together have of the wholes, or ``None`` where there is no whole.

    Long completions count for more, as they do on a bill. The interval is of a bootstrap over problems.
    """
    groups: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for problem, part, whole in zip(problems, parts, wholes, strict=True):
        groups[problem][0] += part
        groups[problem][1] += whole
    sums = np.array(list(groups.values()))
    if not len(sums) or not sums[:, 1].sum():
        return None
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    return Figure(value=value, interval=_resampled(sums, value), n=len(parts))


def _resampled(sums: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", value: float) -> Interval:
    """Return the percentile interval of a ratio of sums; of one problem, nothing is known of its spread."""
    count = len(sums)
    if count < 2:
        return Interval(low=min(0.0, value), high=max(1.0, value))
    rng = np.random.default_rng(0)
    found: list[float] = []
    step = max(1, 2_000_000 // count)
    for done in range(0, RESAMPLES, step):
        drawn = sums[rng.integers(0, count, (min(step, RESAMPLES - done), count))].sum(axis=1)
        found += (drawn[:, 0] / np.maximum(drawn[:, 1], 1e-9)).tolist()
    # Widened as `mean_interval` widens, by sqrt(n / (n - 1)) about the value: resampling alone is too narrow.
    wider = math.sqrt(count / (count - 1))
    low, high = np.quantile(found, [0.025, 0.975])
    low, high = value - wider * (value - float(low)), value + wider * (float(high) - value)
    return Interval(low=max(min(0.0, value), low), high=min(max(1.0, value), high))
