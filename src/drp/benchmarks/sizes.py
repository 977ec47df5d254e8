"""How many problems a set has, as far as that is known without fetching it."""

from drp.benchmarks.public import PUBLIC
from drp.benchmarks.registry import ProblemSet, load_problems
from drp.errors import DataError


def how_many(problems: ProblemSet, limit: int | None) -> int:
    """Return how many problems a set has, without fetching it; its `count` where the file is not here yet."""
    public = PUBLIC.get(problems.benchmark)
    if problems.path is None and problems.hub is None and public and problems.split in public.sizes:
        return min(public.sizes[problems.split], problems.count or 10**9, limit or 10**9)
    try:
        return len(load_problems(problems, limit))
    except DataError:
        if problems.count is None:
            raise
        return min(problems.count, limit or problems.count)
