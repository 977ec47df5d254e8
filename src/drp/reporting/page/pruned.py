"""Pruned traces as the page shows them: a row to find each by, and a document with its steps."""

from collections.abc import Iterator, Sequence

from drp.records import Edit, PrunedTrace
from drp.reporting.page.columns import Columns, Names, snippet
from drp.reporting.page.embedding import Texts
from drp.reporting.page.skills import SkillTable
from drp.text.units import split_units

ACTIONS = ("keep", "delete", "rewrite", "merge")
"""In the order of the bits of a row's ``actions``."""
COLUMNS = (
    "id",
    "question",
    "benchmark",
    "refused",
    "repaired",
    "before",
    "after",
    "actions",
    "skills",
    "failed",
    "document",
)


def pruned_rows(
    traces: Iterator[PrunedTrace], texts: Texts, names: Names, skills: SkillTable, replies: "Replies"
) -> Columns:
    """Return the rows of pruned traces; their documents go to ``texts``, their figures by skill to ``skills``.

    Args:
        traces: The pruned traces, which may be a stream.
        texts: Takes the documents.
        names: Numbers the names of skills, checks and benchmarks.
        skills: Counts what accepted traces' skills took.
        replies: The teacher's raw replies, by their identity.
    """
    rows = Columns(COLUMNS)
    for trace in traces:
        units = split_units(trace.original_thinking)
        steps = _steps(trace, units)
        if steps is not None and trace.accepted:
            skills.count(trace, units)
        edits = trace.script.edits
        rows.add(
            id=trace.id,
            question=snippet(trace.question),
            benchmark=names.number("benchmark", trace.benchmark),
            refused=int(not trace.accepted),
            repaired=int(trace.repaired),
            before=trace.tokens_before,
            after=trace.tokens_after,
            actions=sum({1 << ACTIONS.index(edit.action) for edit in edits}),
            skills=sorted({names.number("skill", skill) for edit in edits for skill in edit.skills}),
            failed=[names.number("check", check.name) for check in trace.checks if not check.passed],
            document=texts.add(_document(trace, steps, replies)),
        )
    return rows


Replies = dict[str, str]
"""Raw replies of a teacher, by their identity."""


def _document(
    trace: PrunedTrace, steps: list[dict[str, object]] | None, replies: Replies
) -> dict[str, object]:
    return {
        "id": trace.id,
        "source": trace.source_id,
        "question": trace.question,
        "gold": trace.gold,
        "benchmark": trace.benchmark,
        "teacher": trace.teacher,
        "accepted": trace.accepted,
        "repaired": trace.repaired,
        "polished": trace.polished,
        "candidates": trace.candidates,
        "before": trace.tokens_before,
        "after": trace.tokens_after,
        "steps": steps,
        "thinking": [trace.original_thinking, trace.thinking] if steps is None else None,
        "answers": [trace.original_answer, trace.answer],
        "checks": [check.model_dump() for check in trace.checks],
        "protocol": trace.protocol,
        "usage": trace.usage and [trace.usage.prompt_tokens, trace.usage.completion_tokens],
        "replies": [replies[name] for name in trace.replies if name in replies],
    }


def _steps(trace: PrunedTrace, units: Sequence[str]) -> list[dict[str, object]] | None:
    """Return what was done, step by step; ``None`` where the script is of units cut by another version."""
    if trace.script.units != len(units):
        return None
    return [_step(edit, units) for edit in trace.script.edits]


def _step(edit: Edit, units: Sequence[str]) -> dict[str, object]:
    said: dict[str, object] = {
        "action": edit.action,
        "skills": edit.skills,
        "units": [edit.first, edit.last],
        "text": "".join(units[edit.first : edit.last + 1]),
    }
    if edit.text is not None:
        said["new"] = edit.text
    if edit.reason:
        said["reason"] = edit.reason
    return said
