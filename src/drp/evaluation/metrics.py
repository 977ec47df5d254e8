"""Figures of one model on one benchmark: accuracy, tokens, truncation, loops, with intervals."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from drp.evaluation.statistics import Interval, majority_right, mean_interval, pass_at_k
from drp.records import Record, Trace
from drp.text.answers import normalise, stated_answer
from drp.text.loops import WINDOW, loop_period


class Metrics(Record):
    """Figures of one model on one benchmark."""

    benchmark: str
    problems: int
    runs: int
    accuracy: float
    """Pass@1: mean over problems of the share of right runs."""
    accuracy_interval: Interval
    tokens_mean: float
    """Generated tokens per completion: thinking, tags, answer, stop; cut completions at full length."""
    tokens_interval: Interval
    tokens_median: float
    tokens_p95: float
    tokens_p99: float
    thinking_mean: float | None
    """Tokens up to and including the closing tag, where the engine reports them."""
    truncated: float
    """Share of completions cut off at the token limit; they count as wrong unless answered."""
    unclosed: float
    """Share whose thinking never closed."""
    looping: float
    """Share whose text ends on repeating one block."""
    pass_at_runs: float | None = None
    """Mean over problems of the chance that one of all runs is right: pass@n."""
    majority: float | None = None
    """Mean over problems of whether the most frequent answer is right: maj@n."""
    tokens_per_correct: float | None = None
    """Generated tokens for each right completion; ``None`` where none is right."""
    readings: dict[str, int] = Field(default_factory=dict)
    """How many completions' answers were known by what: ``box``, ``####``, ``statement``, ``last_number``, ``none``."""


@dataclass(frozen=True)
class ByProblem:
    """Per-problem means over runs, aligned: ids, accuracy and tokens, each of shape (problems,)."""

    ids: tuple[str, ...]
    correct: "np.ndarray[Any, np.dtype[np.float64]]"
    tokens: "np.ndarray[Any, np.dtype[np.float64]]"
    runs: int
    """Most runs of any problem."""


def by_problem(traces: Sequence[Trace]) -> ByProblem:
    """Average the runs of each problem; problems are the unit of all statistics."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.problem_id, []).append(trace)
    ids = tuple(sorted(groups))
    correct = [float(np.mean([bool(t.correct) for t in groups[i]])) for i in ids]
    tokens = [float(np.mean([completion_tokens(t) for t in groups[i]])) for i in ids]
    return ByProblem(ids, np.array(correct), np.array(tokens), max(map(len, groups.values()), default=0))


def completion_tokens(trace: Trace) -> int:
    """Return the generated tokens of a trace."""
    return trace.usage.completion_tokens if trace.usage else 0


def measured_part(trace: Trace) -> Trace:
    """Return a completion without the thinking that no figure is made of, which is nearly all of its text.

    Loops are looked for at the end of the thinking where there is no answer. Whoever wants tokens counted that were not,
    counts them before.
    """
    end = "" if trace.answer else trace.thinking.rstrip()[-WINDOW:]
    return trace.model_copy(update={"thinking": end})


def measure(benchmark: str, traces: Sequence[Trace]) -> Metrics:
    """Return the figures of graded traces of one model on one benchmark."""
    grouped = by_problem(traces)
    tokens = np.array([completion_tokens(t) for t in traces], dtype=float)
    thinking = [t.usage.thinking_tokens for t in traces if t.usage and t.usage.thinking_tokens is not None]
    by_id: dict[str, list[Trace]] = {}
    for trace in traces:
        by_id.setdefault(trace.problem_id, []).append(trace)
    groups = list(by_id.values())
    several = True if any(len(g) > 1 for g in groups) else None
    stated = [stated_answer(t.answer) for t in traces]
    loops = [loop_period(t.answer or t.thinking) is not None for t in traces]
    return Metrics(
        benchmark=benchmark,
        problems=len(grouped.ids),
        runs=round(len(traces) / max(1, len(grouped.ids))),
        accuracy=float(grouped.correct.mean()),
        accuracy_interval=mean_interval(grouped.correct),
        tokens_mean=float(grouped.tokens.mean()),
        tokens_interval=mean_interval(grouped.tokens),
        tokens_median=float(np.median(tokens)),
        tokens_p95=float(np.quantile(tokens, 0.95)),
        tokens_p99=float(np.quantile(tokens, 0.99)),
        thinking_mean=float(np.mean(thinking)) if thinking else None,
        truncated=float(np.mean([t.finish_reason == "length" for t in traces])),
        unclosed=float(np.mean([not t.closed for t in traces])),
        looping=float(np.mean(loops)),
        pass_at_runs=several and _mean(pass_at_k(sum(map(_right, g)), len(g), len(g)) for g in groups),
        majority=several
        and _mean(majority_right([_answer(t) for t in g], [_right(t) for t in g]) for g in groups),
        tokens_per_correct=float(tokens.sum()) / right if (right := sum(map(_right, traces))) else None,
        readings=dict(Counter(s.reading if s else "none" for s in stated)),
    )


def _right(trace: Trace) -> bool:
    return bool(trace.correct)


def _answer(trace: Trace) -> str | None:
    found = stated_answer(trace.answer)
    return None if found is None else normalise(found.text)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
