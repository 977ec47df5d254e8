"""Finding a problem set by name: a mini tier, or a JSONL file."""

from pathlib import Path

from pydantic import Field

from drp.benchmarks import mini_world
from drp.benchmarks.files import read_problems
from drp.errors import DataError
from drp.records import Problem, Record


class ProblemSet(Record):
    """Which problems, and how many of them."""

    benchmark: str = "mini-gsm"
    """A mini tier (mini-gsm, mini-math, mini-amc, mini-aime), or the name to give to ``path``."""
    path: Path | None = None
    """A JSONL file of problems, instead of a known benchmark."""
    question: str = "question"
    """Field of ``path`` that holds the question."""
    gold: str = "gold"
    """Field of ``path`` that holds the gold answer."""
    split: str = "test"
    """Split of a mini tier: train or test."""
    count: int | None = Field(default=None, ge=1)
    """How many problems to take, from the first; all of a file if left out, 100 of a mini tier."""
    seed: int = 0
    """Seed of a mini tier's generator."""


def load_problems(wanted: ProblemSet, limit: int | None = None) -> list[Problem]:
    """Return the problems of a set, at most ``limit``.

    Raises:
        DataError: The set is unknown, or its file cannot be read.
    """
    count = min(n for n in (wanted.count or 10**9, limit or 10**9))
    if wanted.path is not None:
        named = read_problems(wanted.path, question=wanted.question, gold=wanted.gold, name=wanted.benchmark)
        return named[:count]
    if wanted.benchmark not in mini_world.TIERS:
        raise DataError(
            f"unknown benchmark {wanted.benchmark!r}: choose one of {', '.join(mini_world.TIERS)}, "
            "or give the path of a JSONL file"
        )
    if wanted.split not in ("train", "test"):
        raise DataError(f"{wanted.benchmark} has the splits train and test, not {wanted.split!r}")
    return mini_world.load(wanted.benchmark, wanted.split, 100 if count == 10**9 else count, wanted.seed)
