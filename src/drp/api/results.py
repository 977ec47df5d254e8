"""Verbs that read what is on file: runs, and completions from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drp.evaluation.graded import Graded
    from drp.reporting.pairing import ComparedRuns
    from drp.reporting.summary import RunSummary


def report(run: str | Path) -> RunSummary:
    """Write ``report.md`` and ``report.html`` of a run folder; return what they show, with the HTML at ``page``.

    Args:
        run: Run folder.

    Raises:
        RunFolderError: No stage has run there.

    Examples:
        >>> summary = drp.report("runs/try")
        >>> summary.page, summary.prune.traces
        (PosixPath('runs/try/report/report.html'), 4)
    """
    from drp.reporting.write import name_of, read_summary, write_report

    write_report(Path(run), name_of(Path(run)))
    return read_summary(Path(run))


def view(runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one page of run folders with every trace in it, which needs no network; return its path.

    Left out, ``out`` is ``report/report.html`` of a single run, or ``report/view.html`` of the first of several.

    Raises:
        RunFolderError: In one of them no stage has run.

    Examples:
        >>> drp.view(["runs/try", "runs/try"]).name
        'view.html'
    """
    from drp.reporting.write import write_view

    return write_view(_paths(runs), Path(out) if out else None)


def grade(  # noqa: PLR0913  options of one command, by name
    files: str | Path | Sequence[str | Path],
    *,
    question: str | None = None,
    gold: str | None = None,
    completion: str | None = None,
    from_thinking: bool = False,
    prefilled: bool | None = None,
    strict: bool = False,
    tokenizer: str | None = None,
    out: str | Path | None = None,
) -> Graded:
    r"""Grade completions from anywhere, and sum them up.

    Args:
        files: JSONL or Parquet files of completions, or lm-eval samples.
        question: Field of the question, if not under a usual name.
        gold: Field of the gold answer, likewise.
        completion: Field of the completion, likewise.
        from_thinking: Read the thinking where the answer part has no answer.
        prefilled: Whether the prompts ended in <think>; left out, it is told from each file.
        strict: Accept only answers in a box or after ####, none read from prose.
        tokenizer: Folder or hub id; counts tokens where a file has no counts.
        out: Write the graded completions here (JSONL).

    Returns:
        Of each file, the completions with verdicts and the figures; and notes on how they were read.

    Raises:
        DataError: A file is not in a documented format, or ``out`` lies in no folder.

    Examples:
        >>> import json
        >>> rows = [{"question": "1 + 1?", "gold": "2", "completion": text} for text in ("It is 2.", "\boxed{3}")]
        >>> _ = Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        >>> (mine,) = drp.grade("mine.jsonl").files
        >>> mine.metrics.accuracy, [trace.correct for trace in mine.traces]
        (0.5, [True, False])
    """
    from drp.benchmarks.completions import Fields
    from drp.evaluation.graded import grade_files

    return grade_files(
        _paths(files),
        Fields(question=question, gold=gold, completion=completion),
        from_thinking=from_thinking,
        prefilled=prefilled,
        strict=strict,
        tokenizer=tokenizer,
        out=Path(out) if out else None,
    )


def compare(
    runs: Sequence[str | Path], *, margin: float = 0.01, tokenizer: str | None = None
) -> ComparedRuns:
    """Compare runs, or files of completions, problem by problem with the first: accuracy, tokens, non-inferiority.

    Args:
        runs: Two or more run folders or files of completions; the first is the base.
        margin: A loss of accuracy below this share is "not less accurate".
        tokenizer: Folder or hub id; counts tokens where a file has no counts.

    Returns:
        Of each run and benchmark, the figures of both and their paired comparison; and by which protocols.

    Raises:
        RunFolderError: One has no evaluation, or shares no benchmark with the first.

    Examples:
        >>> found = drp.compare(["runs/try", "runs/try"], margin=0.02)
        >>> [run.benchmarks[0].comparison.accuracy_difference for run in found.runs], found.one_protocol
        ([0.0], True)
    """
    from drp.reporting.pairing import compare_runs

    return compare_runs(_paths(runs), margin, tokenizer)


def _paths(named: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(named)] if isinstance(named, str | Path) else [Path(one) for one in named]
