"""Completions from anywhere: plain JSONL, our own run folders' records, and other tools' logs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from drp.benchmarks.exchanges import chat_of
from drp.benchmarks.files import known_gold, source_id
from drp.benchmarks.generated import Generated, generated
from drp.benchmarks.rows import Row, read_rows
from drp.benchmarks.values import described, text_of
from drp.errors import DataError
from drp.records import Keyed, Problem, Record, Trace, Usage, content_id
from drp.runs.on_demand import Mapped, spooled
from drp.runs.stage import Say, silent

QUESTION = ("question", "problem", "prompt")
GOLD = ("gold", "target", "reference", "solution_answer")


class Fields(Record):
    """Which fields of a row hold what; left out: the usual names."""

    question: str | None = None
    gold: str | None = None
    completion: str | None = None


def read_completions(
    path: Path,
    fields: Fields | None = None,
    *,
    prefilled: bool | None = None,
    say: Say = silent,
    gold_needed: bool = True,
) -> Sequence[Trace]:
    """Read completions as ungraded traces; several rows of one problem are its runs, in order.

    A row is one of: question, gold and completion (with `<think>` tags or not); question, gold, thinking and
    answer; a chat (`messages`, whose last reply counts); a record of a run folder; a sample of lm-eval (`doc`,
    `target`, `resps`); a reply of an endpoint (`choices`) or of vLLM (`outputs`) beside question and gold.

    Args:
        path: JSONL or Parquet.
        fields: Where the row holds what, if not under the usual names.
        prefilled: Whether the prompts ended in `<think>`, so that a text without `</think>` is thinking that
            never closed. Left out, it is inferred: they did if any text closes what it never opened.
        say: Told in one line what was inferred, or mended.
        gold_needed: Whether a row without a gold answer is an error; if not, its gold is empty.

    Raises:
        DataError: A row has no gold answer or no completion, or a field that cannot be what it should.
    """
    names = fields or Fields()
    tags = _Tags()
    read = spooled(_each(path, names, tags, say, gold_needed), _Read)
    if not read:
        raise DataError(f"{path} holds no completions: it has no rows")
    inferred = tags.prefilled(path, say) if prefilled is None else prefilled

    def trace(one: _Read) -> Trace:
        made = one.made
        thinking, answer, closed = made.split(opened=inferred or (made.opened and prefilled is None))
        return one.asked.model_copy(
            update={
                "thinking": thinking,
                "answer": answer,
                "closed": closed,
                "finish_reason": made.finish,
                "usage": None if made.tokens is None else Usage(completion_tokens=made.tokens),
            }
        )

    return Mapped(read, trace)


class _Read(Keyed):
    """A completion as it was read, before it is known whether prompts opened the thinking."""

    asked: Trace
    made: Generated


class _Tags:
    """Counts by which it is told whether prompts ended in the opening tag."""

    def __init__(self) -> None:
        self.all = self.closing = self.untagged = 0

    def count(self, one: Generated) -> None:
        """Take a completion."""
        self.all += 1
        self.closing += one.closes_only
        self.untagged += one.untagged and not (one.opened or one.cut)

    def prefilled(self, path: Path, say: Say) -> bool:
        """Return whether some completion closes what it never opened; say what that makes of the others."""
        if self.closing and self.untagged:
            say(
                f"{path}: {self.closing} of {self.all} completions hold </think> and no <think>, so the prompts ended "
                f"in <think>; the {self.untagged} without any tag count as thinking that never closed (--no-prefilled: as answers)"
            )
        return self.closing > 0


def _each(path: Path, names: Fields, tags: _Tags, say: Say, gold_needed: bool) -> Iterator[_Read]:
    """Yield a file's completions, which are counted in passing: a pipe can be read only once."""
    runs: dict[str, int] = {}
    for number, row in read_rows(path, say):
        asked = _asked((number, row), path, names, gold_needed)
        for one in generated(row, names.completion, f"{path}, line {number}"):
            sample = runs.get(asked.problem_id, 0)
            runs[asked.problem_id] = sample + 1
            identity = content_id("trace", asked.problem_id, sample)
            tags.count(one)
            yield _Read(
                id=identity, asked=asked.model_copy(update={"id": identity, "sample": sample}), made=one
            )


def _asked(line: Row, path: Path, fields: Fields, gold_needed: bool) -> Trace:
    """Return what a row says of the problem and the model, as a trace with nothing in it yet."""
    number, row = line
    place = f"{path}, line {number}"
    inner: object = row.get("doc")
    doc = cast("dict[str, Any]", inner) if isinstance(inner, dict) else row
    named, question = _first(doc, [fields.question] if fields.question else QUESTION)
    if question is None and fields.question is None and (chat := chat_of(row)):
        question = chat.question
    if question is not None and not question.strip():
        raise DataError(f"{place}: field {named!r} is empty; fill it in, or remove the line")
    known, gold = _first(row, [fields.gold] if fields.gold else GOLD)
    if gold is None and doc is not row:
        known, gold = _first(doc, [fields.gold] if fields.gold else ["gold", "answer"])
    if gold is None and not gold_needed and fields.gold is None:
        final = ""
    elif gold is None:
        why = f"field {known!r} is {described(doc.get(known, row.get(known)))}" if known else "no gold answer"
        has = ", ".join(sorted(row))
        raise DataError(f"{place}: {why}; name its field with --gold. The line has: {has}")
    else:
        final = known_gold(gold, known, place)
    problem = Problem(question=question or f"line {number}", gold=final)
    return Trace(
        id="",
        problem_id=str(doc.get("problem_id") or problem.id),
        question=problem.question,
        gold=problem.gold,
        benchmark=str(doc.get("benchmark") or row.get("dataset") or path.stem),
        model=str(row.get("model") or ""),
        thinking="",
        answer="",
        closed=True,
        source_id=source_id(row),
    )


def _first(row: dict[str, Any], names: Sequence[str]) -> tuple[str, str | None]:
    """Return the first of some fields that holds text, and its text; else one that holds anything, and ``None``."""
    for name in names:
        if (text := text_of(row.get(name))) is not None:
            return name, text
    return next((name for name in names if name in row), ""), None
