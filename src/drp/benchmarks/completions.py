"""Completions from anywhere: plain JSONL, our own run folders' records, and lm-eval's sample logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from drp.benchmarks.files import normalise_gold, read_rows
from drp.errors import DataError
from drp.records import Problem, Record, Trace, Usage, content_id
from drp.text.thinking import CLOSE, OPEN, split_thinking

COMPLETION = ("completion", "response", "output", "generation", "answer")
GOLD = ("gold", "target", "reference", "solution_answer")
TOKENS = ("completion_tokens", "tokens", "num_tokens")


class Fields(Record):
    """Which fields of a row hold what; left out: the usual names."""

    question: str | None = None
    gold: str | None = None
    completion: str | None = None


def read_completions(path: Path, fields: Fields | None = None) -> list[Trace]:
    """Read completions as ungraded traces; several rows of one problem are its runs, in order.

    A row is one of: question, gold and completion (with `<think>` tags or not); question, gold, thinking and
    answer; a record of a run folder; a sample of lm-eval (`doc`, `target`, `resps`).

    Raises:
        DataError: A row has no gold answer or no completion.
    """
    runs: dict[str, int] = {}
    found: list[Trace] = []
    for number, row in read_rows(path):
        for trace in _traces(row, path, number, fields or Fields()):
            sample = runs.get(trace.problem_id, 0)
            runs[trace.problem_id] = sample + 1
            identity = content_id("trace", trace.problem_id, sample)
            found.append(trace.model_copy(update={"id": identity, "sample": sample}))
    if not found:
        raise DataError(f"{path} holds no completions")
    return found


def _traces(row: dict[str, Any], path: Path, number: int, fields: Fields) -> Iterator[Trace]:
    doc: dict[str, Any] = row["doc"] if isinstance(row.get("doc"), dict) else row
    question = _first(doc, [fields.question] if fields.question else ["question", "problem", "prompt"])
    gold = _first(row, [fields.gold] if fields.gold else GOLD)
    if gold is None:
        gold = _first(doc, ["gold", "answer"] if doc is not row else ["gold"])
    if gold is None:
        has = ", ".join(sorted(row))
        raise DataError(
            f"{path}, line {number}: no gold answer; name its field with --gold. The line has: {has}"
        )
    texts = _texts(row, fields.completion)
    if texts is None:
        has = ", ".join(sorted(row))
        raise DataError(
            f"{path}, line {number}: no completion; name its field with --completion. The line has: {has}"
        )
    problem = Problem(question=question or f"line {number}", gold=normalise_gold(gold))
    counted = _first(row, TOKENS)
    usage = row.get("usage") if isinstance(row.get("usage"), dict) else None
    tokens = usage.get("completion_tokens") if usage else counted
    for thinking, answer, closed in texts:
        yield Trace(
            id="",
            problem_id=str(doc.get("problem_id") or problem.id),
            question=problem.question,
            gold=problem.gold,
            benchmark=str(doc.get("benchmark") or row.get("dataset") or path.stem),
            model=str(row.get("model") or ""),
            thinking=thinking,
            answer=answer,
            closed=closed,
            finish_reason=row.get("finish_reason")
            if row.get("finish_reason") in ("stop", "length")
            else None,
            usage=Usage(completion_tokens=int(tokens)) if tokens is not None else None,
            source_id=str(row["id"]) if "id" in row else None,
        )


def _texts(row: dict[str, Any], field: str | None) -> list[tuple[str, str, bool]] | None:
    """Return (thinking, answer, closed) of each completion of a row, or ``None``."""
    if field is None and isinstance(row.get("thinking"), str) and isinstance(row.get("answer"), str):
        return [(row["thinking"], row["answer"], bool(row.get("closed", True)))]
    texts: list[str] = []
    if field is None and isinstance(row.get("resps"), list):
        for group in cast("list[object]", row["resps"]):
            texts += (
                [str(t) for t in cast("list[object]", group)] if isinstance(group, list) else [str(group)]
            )
    else:
        text = _first(row, [field] if field else COMPLETION)
        if text is None:
            return None
        texts.append(text)
    opened = _prompt(row).rstrip().endswith(OPEN)
    return [split_thinking(text, opened=opened or CLOSE in text) for text in texts]


def _prompt(row: dict[str, Any]) -> str:
    """Return the rendered prompt that lm-eval logs beside a completion, if there is one."""
    found: object = row.get("arguments")
    while isinstance(found, list | dict) and found:
        inside = cast("dict[str, object] | list[object]", found)
        found = next(iter(inside.values())) if isinstance(inside, dict) else inside[0]
    return found if isinstance(found, str) else ""


def _first(row: dict[str, Any], names: Any) -> str | None:
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
    return None
