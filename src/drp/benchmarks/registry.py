"""Finding a problem set: a mini tier, a public benchmark by its usual name, a file, or any hub data set."""

import importlib
from abc import abstractmethod
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from drp.benchmarks import mini_world
from drp.benchmarks.files import normalise_gold, problems_from, read_problems
from drp.benchmarks.public import PUBLIC
from drp.benchmarks.rows import read_rows
from drp.errors import DataError, MissingExtraError
from drp.kinds import Kind, Registry
from drp.records import Problem, Record
from drp.runs.stage import Say, silent
from drp.tasks.base import TASKS


class Benchmark(Kind):
    """A problem set that another package adds, as an entry point of group ``drp.benchmarks``; ``kind`` is its name."""

    splits: ClassVar[tuple[str, ...]] = ("test",)
    """The splits it has."""
    task: ClassVar[str] = "maths"
    """The kind of its problems."""

    @abstractmethod
    def load(self, split: str, seed: int) -> Iterable[Problem]:
        """Return the problems of a split, always in the same order for the same seed.

        Raises:
            DataError: They cannot be read.
        """


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "drp.benchmarks", Benchmark, {})


class ProblemSet(Record):
    """Which problems, and how many of them."""

    benchmark: str = "mini-gsm"
    """A mini tier (mini-gsm, mini-math, mini-amc, mini-aime), gsm8k, prm12k, math500, aime24, amc23, or any name."""
    path: Path | None = None
    """A JSONL or Parquet file of problems, instead of the hub."""
    hub: str | None = None
    """A data set on the Hugging Face hub, for benchmarks not known by name."""
    config: str | None = None
    """Its configuration, if it has several."""
    question: str | None = None
    """Field that holds the question; left out: `question` or `problem`."""
    gold: str | None = None
    """Field that holds the gold answer; left out: `gold` or `answer`. What follows `####` counts."""
    split: str = "test"
    """Split: train or test."""
    task: str | None = None
    """The kind of problems: maths, multiple_choice, or another package's; left out: the benchmark's own, else maths."""

    @field_validator("task")
    @classmethod
    def _known(cls, task: str | None) -> str | None:
        if task is not None:
            TASKS.settings(task)
        return task

    corrections: Path | None = None
    """JSONL file of `question` and `gold` that replaces gold answers known to be wrong."""
    count: int | None = Field(default=None, ge=1)
    """How many problems to take, from the first; all if left out, 100 of a mini tier."""
    seed: int = 0
    """Seed of a mini tier's generator."""

    @property
    def from_hub(self) -> bool:
        """Whether reading it takes the Hugging Face hub."""
        return self.path is None and (self.hub is not None or self.benchmark in PUBLIC)

    @property
    def generated(self) -> bool:
        """Whether it is a mini tier, which nothing has to be read for."""
        return self.path is None and self.hub is None and self.benchmark in mini_world.TIERS


def load_problems(wanted: ProblemSet, limit: int | None = None, say: Say = silent) -> list[Problem]:
    """Return the problems of a set, at most ``limit``; ``say`` is told what was dropped or mended.

    Raises:
        DataError: The set is unknown, or cannot be read.
        MissingExtraError: The hub or Parquet is asked for and the library is absent.
    """
    count = min(n for n in (wanted.count or 10**9, limit or 10**9))
    task = wanted.task or "maths"
    if wanted.generated:
        if wanted.split not in ("train", "test"):
            raise DataError(f"{wanted.benchmark} has the splits train and test, not {wanted.split!r}")
        size = 100 if count == 10**9 else count
        problems = mini_world.load(wanted.benchmark, wanted.split, size, wanted.seed)
    elif wanted.path is not None:
        problems = read_problems(
            wanted.path,
            question=wanted.question,
            gold=wanted.gold,
            name=wanted.benchmark,
            split=wanted.split,
            say=say,
            task=task,
        )
    elif wanted.hub is None and wanted.benchmark in BENCHMARKS.names():
        problems = _of_another_package(wanted, count)
    else:
        problems = _from_hub(wanted, say)
    if wanted.corrections:
        problems = _corrected(problems, wanted.corrections)
    return problems[:count]


def _of_another_package(wanted: ProblemSet, count: int) -> list[Problem]:
    """Return the problems of a benchmark that another package adds."""
    settings = BENCHMARKS.settings(wanted.benchmark)
    benchmark = settings(kind=wanted.benchmark)
    if wanted.split not in benchmark.splits:
        raise DataError(
            f"{wanted.benchmark} has the split {' and '.join(benchmark.splits)}, not {wanted.split!r}"
        )
    drawn = islice(benchmark.load(wanted.split, wanted.seed), count)
    rows = ({"question": p.question, "gold": p.gold} for p in drawn)
    task = wanted.task or benchmark.task
    return problems_from(
        enumerate(rows, 1), wanted.benchmark, None, None, wanted.benchmark, wanted.split, task=task
    )


def _from_hub(wanted: ProblemSet, say: Say) -> list[Problem]:
    known = PUBLIC.get(wanted.benchmark)
    if wanted.hub is None and known is None:
        raise DataError(
            f"unknown benchmark {wanted.benchmark!r}: choose one of {', '.join([*mini_world.TIERS, *PUBLIC, *BENCHMARKS.names()])}, "
            "or give the path of a JSONL or Parquet file, or hub: a data set's id"
        )
    hub, config, split = wanted.hub, wanted.config, wanted.split
    question, gold = wanted.question, wanted.gold
    if hub is None and known:
        if split not in known.splits:
            raise DataError(f"{wanted.benchmark} has the split {' and '.join(known.splits)}, not {split!r}")
        hub, config, split = known.hub, known.config, known.splits[split]
        question, gold = question or known.question, gold or known.gold
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError("datasets", "train") from error
    try:
        rows: list[dict[str, Any]] = list(datasets.load_dataset(hub, config, split=split))
    except Exception as error:  # the library raises whatever its backends raise
        raise DataError(
            f"cannot load {hub} ({split}) from the Hugging Face hub: {str(error)[:300]}. "
            f"Give a local copy instead: {{benchmark: {wanted.benchmark}, path: FILE.jsonl}}"
        ) from error
    task = wanted.task or "maths"
    return problems_from(
        enumerate(rows, 1), str(hub), question, gold, wanted.benchmark, wanted.split, say, task
    )


def _corrected(problems: list[Problem], path: Path) -> list[Problem]:
    """Return the problems with the gold answers of a corrections file; ids follow the new answers.

    Raises:
        DataError: The file corrects a question that is not there.
    """
    corrections = {
        str(row.get("question", "")).strip(): str(row.get("gold", "")) for _, row in read_rows(path)
    }
    found = {p.question.strip() for p in problems}
    if strange := [q for q in corrections if q not in found]:
        raise DataError(
            f"{path} corrects {len(strange)} questions that are not in the set, such as {strange[0][:80]!r}"
        )
    return [
        Problem(
            question=p.question,
            gold=normalise_gold(corrections[p.question.strip()]),
            benchmark=p.benchmark,
            split=p.split,
            task=p.task,
        )
        if p.question.strip() in corrections
        else p
        for p in problems
    ]
