"""Completions of the same problem by both models, as the page shows them side by side."""

from collections.abc import Iterator

from drp.evaluation.metrics import completion_tokens
from drp.records import Trace
from drp.reporting.page.columns import Columns, Names, snippet
from drp.reporting.page.embedding import Texts
from drp.reporting.standing import outcome, superseded
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.text.loops import loop_period

COLUMNS = ("id", "question", "benchmark", "sample", "right", "tokens", "ends", "document")
"""``right``, ``tokens``, ``ends`` and ``document`` are pairs: of the student before, and after."""
CUT, UNCLOSED, LOOPS = 1, 2, 4
"""Bits of ``ends``: cut off at the token limit, thinking never closed, ends on repeating itself."""


class _Row:
    """What is known of one problem's completions, of one sample."""

    def __init__(self, trace: Trace) -> None:
        self.question, self.benchmark, self.sample = snippet(trace.question), trace.benchmark, trace.sample
        self.right: list[int | None] = [None, None]
        self.tokens, self.ends, self.documents = [0, 0], [0, 0], [-1, -1]


def completion_rows(run: RunReader, texts: Texts, names: Names) -> Columns:
    """Return the rows of all evaluated problems, those of both models first; their documents go to ``texts``."""
    found: dict[str, _Row] = {}
    for side, which in enumerate((layout.BASE, outcome(run))):
        for trace in evaluated_whole(run, which):
            row = found.setdefault(trace.id, _Row(trace))
            row.right[side] = None if trace.correct is None else int(trace.correct)
            row.tokens[side], row.ends[side] = completion_tokens(trace), _ends(trace)
            row.documents[side] = texts.add(_document(trace))
    rows = Columns(COLUMNS)
    for identity, row in sorted(found.items(), key=lambda item: item[1].documents.count(-1)):
        rows.add(
            id=identity,
            question=row.question,
            benchmark=names.number("benchmark", row.benchmark),
            sample=row.sample,
            right=row.right,
            tokens=row.tokens,
            ends=row.ends,
            document=row.documents,
        )
    return rows


def evaluated_whole(run: RunReader, which: str) -> Iterator[Trace]:
    """Yield the completions of a model that count, with all their text, one in memory at a time."""
    if which == layout.DISTILLED and superseded(run):
        return
    stage = layout.evaluation(which)
    wanted = run.wanted(stage)
    among = None if wanted is None else set(wanted)
    yield from (trace for trace in run.records(stage, Trace) if among is None or trace.id in among)


def _ends(trace: Trace) -> int:
    looping = loop_period(trace.answer or trace.thinking) is not None
    return CUT * (trace.finish_reason == "length") + UNCLOSED * (not trace.closed) + LOOPS * looping


def _document(trace: Trace) -> dict[str, object]:
    return {
        "id": trace.id,
        "question": trace.question,
        "gold": trace.gold,
        "thinking": trace.thinking,
        "answer": trace.answer,
        "finish": trace.finish_reason,
        "closed": trace.closed,
        "tokens": completion_tokens(trace),
        "thinking_tokens": trace.usage.thinking_tokens if trace.usage else None,
    }
