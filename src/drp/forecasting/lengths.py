"""How long completions will be: of traces on file, or of published means, spread as such lengths are."""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist, fmean

from drp.forecasting.tables import table
from drp.records import Record

SPREAD = 0.7
"""Standard deviation of the logarithm of a length; real traces of one benchmark have 0.5 to 0.9."""
PROMPT_TOKENS = 128
DRAWN = 4_096
"""Lengths drawn at most; more of them change no forecast."""


class Expected(Record):
    """What is expected of one problem set, before and after training."""

    before: float
    """Mean tokens of the student's completions, without a limit …"""
    after: float
    right: float
    cut: int
    """… other than this one, under which the means were measured."""
    source: str
    drawn: tuple[int, ...] = ()
    """Lengths on file, which stand for those before training."""


def expected(
    student: str | None, benchmark: str, drawn: Sequence[int] = (), right: float | None = None
) -> Expected:
    """Return what is expected of a student on a benchmark.

    Args:
        student: Its name in the table of shapes, if it is there.
        benchmark: The problem set's name.
        drawn: Lengths on file, which are believed rather than any table.
        right: Share of right answers on file.
    """
    rows = table("lengths")
    of = rows.get(student or "", rows["assumed"])
    row = of.get(benchmark, of["other"])
    source = of["source"] if benchmark in of else f"{of['source']} (not of this benchmark: a guess)"
    found = Expected(**row, cut=of["cut"], source=source)
    if not drawn:
        return found
    mean = fmean(drawn)
    return found.model_copy(
        update={
            "before": mean,
            "after": mean * found.after / found.before,
            "right": found.right if right is None else right,
            "source": f"{len(drawn):,} traces on file",
            "drawn": tuple(drawn),
        }
    )


def kept_by(teacher: str) -> dict[str, float]:
    """Return how long a teacher's texts are beside their traces, and which share of them the checks accept."""
    rows = table("lengths")["kept"]
    return rows.get(teacher, rows["other"])


def draw(mean: float, limit: int, count: int, *, cut: int | None = None, seed: int = 0) -> list[int]:
    """Return lengths about a mean in random order, none above ``limit``.

    Args:
        mean: Their mean, as it was measured under the limit ``cut``.
        limit: Most tokens of one.
        count: How many; see :data:`DRAWN`.
        cut: The limit that the mean was measured under; left out: this one.
        seed: Of the order.

    Examples:
        >>> lengths = draw(1000, 12000, 2000)
        >>> abs(sum(lengths) / 2000 - 1000) < 20
        True
    """
    count = min(count, DRAWN)
    centre = _centre(round(mean, 1), cut or limit)
    normal = NormalDist(centre, SPREAD)
    found = [min(limit, max(1, round(math.exp(normal.inv_cdf((i + 0.5) / count))))) for i in range(count)]
    random.Random(seed).shuffle(found)
    return found


def mean_under(mean: float, limit: int, cut: int) -> float:
    """Return the mean under another limit than that under which it was measured."""
    return _clipped(_centre(round(mean, 1), cut), limit)


@lru_cache(maxsize=256)
def _centre(mean: float, cut: int) -> float:
    """Return the centre of the log-normal whose lengths, clipped at ``cut``, have the mean."""
    low, high = math.log(max(1.0, mean)) - 3, math.log(max(1.0, mean)) + 6
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _clipped(middle, cut) < mean else (low, middle)
    return low


def _clipped(centre: float, limit: int) -> float:
    """Return the mean of lengths with the given centre, clipped at a limit: E[min(X, limit)] of a log-normal X."""
    unit, at = NormalDist(), (math.log(limit) - centre) / SPREAD
    whole = math.exp(centre + SPREAD**2 / 2)
    return whole * unit.cdf(at - SPREAD) + limit * (1 - unit.cdf(at))
