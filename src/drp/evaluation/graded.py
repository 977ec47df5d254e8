"""Files of completions, graded, counted and measured."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import SkipValidation

from drp.benchmarks.completions import Fields, read_completions
from drp.engines.identity import resolve_model
from drp.errors import DataError
from drp.evaluation.metrics import Metrics, measure, measured_part
from drp.evaluation.verdicts import verdicts
from drp.records import Record, Trace, Usage
from drp.runs.journal import write_atomically
from drp.runs.on_demand import spooled
from drp.text.thinking import join_thinking
from drp.text.tokens import FileTokenCounter


class GradedFile(Record):
    """One file of completions."""

    name: str
    """The file's, without what lm-eval puts around it."""
    traces: Annotated[Sequence[Trace], SkipValidation]
    """Its completions in order, each with its verdict; read from disk when asked for."""
    metrics: Metrics


class Graded(Record):
    """What grading some files came to."""

    files: tuple[GradedFile, ...]
    notes: tuple[str, ...] = ()
    """What must be known beside the figures: who counted, what was inferred or mended in reading, how strict it was."""


def grade_files(
    files: Sequence[Path],
    fields: Fields | None = None,
    *,
    from_thinking: bool = False,
    prefilled: bool | None = None,
    strict: bool = False,
    tokenizer: str | None = None,
    out: Path | None = None,
) -> Graded:
    """Grade files of completions and sum each up; all are read before the first is graded.

    Args:
        files: See :func:`drp.benchmarks.completions.read_completions`.
        fields: Where rows hold what, if not under the usual names.
        from_thinking: Read the thinking where the answer part has no answer.
        prefilled: Whether the prompts ended in `<think>`; left out, it is told from each file.
        strict: Accept only answers in a box or after ####.
        tokenizer: Folder or hub id; counts tokens where a file has no counts.
        out: Write the graded completions here (JSONL).

    Raises:
        DataError: A file is not in a documented format, or ``out`` lies in no folder.
        GradingError: The grader cannot give verdicts.
    """
    if out and not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; make it, or name another")
    notes = [f"Tokens by the tokenizer of {tokenizer}, where none were recorded."] if tokenizer else []
    read = [read_completions(file, fields, prefilled=prefilled, say=notes.append) for file in files]
    count = counter(tokenizer)
    graded = [
        spooled(map(count, verdicts(traces, from_thinking=from_thinking, strict=strict)), Trace)
        for traces in read
    ]
    if out:
        write_atomically(out, (f"{trace.model_dump_json()}\n" for traces in graded for trace in traces))
    if strict:
        notes.append("Strict: only answers in a box or after #### count.")
    return Graded(
        files=tuple(
            GradedFile(
                name=_title(file),
                traces=traces,
                metrics=measure(file.stem, [measured_part(t) for t in traces]),
            )
            for file, traces in zip(files, graded, strict=True)
        ),
        notes=tuple(notes),
    )


def _title(path: Path) -> str:
    """Return a file's name without what lm-eval puts around it: ``samples_NAME_2025-01-31T10-20-30.123.jsonl``."""
    return re.sub(r"^samples_|_\d{4}-\d\d-\d\dT[\d.-]+$", "", path.stem)


def counter(tokenizer: str | None) -> Callable[[Trace], Trace]:
    """Return what counts the tokens of a completion that comes without a count, if a tokenizer is named."""
    if tokenizer is None:
        return lambda trace: trace
    count = FileTokenCounter(resolve_model(tokenizer))

    def counted(trace: Trace) -> Trace:
        if trace.usage is not None:
            return trace
        thought = join_thinking(trace.thinking, trace.answer) if trace.thinking and trace.closed else ""
        text = thought or trace.thinking + trace.answer
        return trace.model_copy(update={"usage": Usage(completion_tokens=count(text))})

    return counted
