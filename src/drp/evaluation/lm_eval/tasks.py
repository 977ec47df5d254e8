"""What the YAML files of this folder call: problems with their prompts, and our grader.

lm-eval loads this file by its path. ``--metadata`` reaches :func:`load` as keyword arguments.
"""

import atexit
import functools
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.errors import MissingExtraError
from drp.grading.grader import Grader
from drp.text.thinking import split_thinking


def load(
    *,
    benchmark: str,
    directive: str,
    template: str | None = None,
    path: str | None = None,
    corrections: str | None = None,
    count: int | None = None,
    seed: int = 0,
    thinking: bool = True,
    **_: Any,
) -> dict[str, Any]:
    """Return the split `test` of a benchmark as lm-eval wants it.

    Args:
        benchmark: Name of the problem set.
        directive: The task's prompt; `{question}` stands for the question.
        template: A prompt to use instead.
        path: Local JSONL or Parquet file of the benchmark's rows.
        corrections: File of corrected gold answers.
        count: How many problems.
        seed: Seed of a mini tier.
        thinking: Whether the model thinks: then a text without `</think>` never came to an answer.
    """
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError("datasets", "eval") from error
    problems = load_problems(
        ProblemSet(
            benchmark=benchmark,
            path=Path(path) if path else None,
            corrections=Path(corrections) if corrections else None,
            count=count,
            seed=seed,
        )
    )
    rows = [
        {
            "problem_id": p.id,
            "benchmark": benchmark,
            "question": p.question,
            "gold": p.gold,
            "prompt": (template or directive).replace("{question}", p.question),
            "thinking": thinking,
        }
        for p in problems
    ]
    return {"test": datasets.Dataset.from_list(rows)}


def every(responses: Iterable[Sequence[str]], _docs: object) -> list[list[str]]:
    """Keep all runs of every problem (a filter)."""
    return [list(runs) for runs in responses]


@functools.cache
def _grader() -> Grader:
    grader = Grader()
    atexit.register(grader.close)
    return grader


def grade(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return Pass@1 over the runs of a problem, and the share that closed their thinking."""
    split = [split_thinking(text, opened=bool(doc["thinking"])) for text in results[0]]
    right = [_grader().is_correct(answer, doc["gold"]) for _, answer, _ in split]
    return {
        "accuracy": sum(right) / len(right),
        "closed": sum(closed for *_, closed in split) / len(split),
    }
