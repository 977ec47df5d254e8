"""Files of completions, graded, counted and measured."""

import re
from collections.abc import Sequence
from pathlib import Path

from drp.benchmarks.completions import Fields, read_completions
from drp.engines.identity import resolve_model
from drp.errors import DataError
from drp.evaluation.metrics import Metrics, measure
from drp.evaluation.verdicts import grade_traces
from drp.records import Record, Trace, Usage
from drp.runs.journal import write_atomically
from drp.text.thinking import join_thinking
from drp.text.tokens import FileTokenCounter


class GradedFile(Record):
    """One file of completions."""

    name: str
    """The file's, without what lm-eval puts around it."""
    traces: tuple[Trace, ...]
    """Its completions in order, each with its verdict."""
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
    graded = [
        counted(grade_traces(traces, from_thinking=from_thinking, strict=strict), tokenizer)
        for traces in read
    ]
    if out:
        write_atomically(
            out, "".join(f"{trace.model_dump_json()}\n" for traces in graded for trace in traces)
        )
    if strict:
        notes.append("Strict: only answers in a box or after #### count.")
    return Graded(
        files=tuple(
            GradedFile(name=_title(file), traces=tuple(traces), metrics=measure(file.stem, traces))
            for file, traces in zip(files, graded, strict=True)
        ),
        notes=tuple(notes),
    )


def _title(path: Path) -> str:
    """Return a file's name without what lm-eval puts around it: ``samples_NAME_2025-01-31T10-20-30.123.jsonl``."""
    return re.sub(r"^samples_|_\d{4}-\d\d-\d\dT[\d.-]+$", "", path.stem)


def counted(traces: Sequence[Trace], tokenizer: str | None) -> list[Trace]:
    """Count the tokens of completions that come without a count, if a tokenizer is named."""
    if tokenizer is None:
        return list(traces)
    counter = FileTokenCounter(resolve_model(tokenizer))
    found: list[Trace] = []
    for trace in traces:
        if trace.usage is None:
            thought = join_thinking(trace.thinking, trace.answer) if trace.thinking and trace.closed else ""
            text = thought or trace.thinking + trace.answer
            trace = trace.model_copy(update={"usage": Usage(completion_tokens=counter(text))})
        found.append(trace)
    return found
