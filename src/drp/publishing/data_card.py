"""The pruned traces of a run as a data set: rows that need nothing of ours to read, and their card."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Iterator, Mapping
from typing import Any

from drp.publishing.cards import MINIATURE, PAPER, PLACEHOLDER, licence
from drp.publishing.private import public_name
from drp.publishing.subject import Subject
from drp.records import Edit, PrunedTrace
from drp.reporting import text
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.text.units import split_units

ROWS = "data/train.jsonl"
"""Where the rows lie in the data set."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def rows(reader: RunReader) -> Iterator[Mapping[str, Any]]:
    """Yield what the last command wanted and every check accepted, each trace once, one in memory at a time."""
    wanted = reader.wanted(layout.PRUNE)
    among = None if wanted is None else set(wanted)
    last = {pruned.id: place for place, pruned in enumerate(reader.records(layout.PRUNE, PrunedTrace))}
    for place, pruned in enumerate(reader.records(layout.PRUNE, PrunedTrace)):
        if pruned.accepted and last[pruned.id] == place and (among is None or pruned.id in among):
            yield row(pruned)


def row(pruned: PrunedTrace) -> Mapping[str, Any]:
    """Return a pruned trace as a row: every step with its own text, and columns of one type in all rows."""
    units = split_units(pruned.original_thinking)
    known = len(units) == pruned.script.units  # an earlier version may have cut units otherwise
    return {
        "id": pruned.id,
        "benchmark": public_name(pruned.benchmark),
        "task": pruned.task,
        "question": pruned.question,
        "gold": pruned.gold,
        "thinking": pruned.thinking,
        "answer": pruned.answer,
        "original_thinking": pruned.original_thinking,
        "original_answer": pruned.original_answer,
        "tokens_before": pruned.tokens_before,
        "tokens_after": pruned.tokens_after,
        "teacher": public_name(pruned.teacher),
        "repaired": pruned.repaired,
        "edits": [_edit(edit, units if known else None) for edit in pruned.script.edits],
        # Figures differ from check to check: as text, they stay one column.
        "checks": [
            {"name": c.name, "passed": c.passed, "required": c.required, "figures": json.dumps(c.figures), "detail": c.detail}
            for c in pruned.checks
        ],
    }  # fmt: skip


def _edit(edit: Edit, units: list[str] | None) -> Mapping[str, Any]:
    return {
        "action": edit.action,
        "skills": list(edit.skills),
        "original": "".join(units[edit.first : edit.last + 1]) if units else "",
        "text": edit.text or "",
        "reason": edit.reason or "",
    }


def data_card(subject: Subject, count: int, left_out: int) -> str:
    """Return the card of a data set of ``count`` rows; ``left_out`` more were not fit to leave this machine."""
    prune = subject.summary.prune
    student, of = subject.student, subject.student.revision
    wrong = subject.recipe is not None and subject.recipe.prune.include_wrong
    absent = (
        "Results that failed a check"
        if wrong
        else "Traces with a wrong answer, and results that failed a check,"
    )
    parts = [f"# Pruned reasoning traces of {student.name}"]
    parts += [MINIATURE] if subject.miniature else []
    parts.append(
        f"{count:,} reasoning traces of **{student.name}**{f' (revision {of})' if of else ''}, each beside what a teacher "
        f"(`{subject.teacher or 'not recorded'}`) left of it: every step is kept, deleted, rewritten or merged, with the skill it "
        f"exercises. Made with DRP (Distilled Reasoning Pruning, [arXiv 2505.13975]({PAPER})). {absent} are not in it."
    )
    repo = subject.repos.get(layout.DATASET, PLACEHOLDER)
    parts += [
        "## Load it",
        f'```python\nfrom datasets import load_dataset\n\ntraces = load_dataset("{repo}", split="train")\n```',
    ]
    parts.append(_COLUMNS)
    parts += [text.markdown(text.pruning(prune, "How it was made"))] if prune else []
    parts += [
        "## Limits",
        _limits(subject, left_out),
        "## Licence",
        licence(subject, layout.DATASET) + _OF_TEXTS,
    ]
    return _front_matter(subject, count) + "\n" + "\n\n".join(parts) + "\n"


_COLUMNS = """## Columns

- `question`, `gold`, `benchmark`, `task`: the problem, and the answer that counts as right
- `original_thinking`, `original_answer`: what the student wrote; `thinking`, `answer`: what is left of it
- `edits`: the steps in order, each with `action`, `skills`, its `original` text, the new `text` of a rewrite or merge, and the
  `reason`. The kept texts and the new ones, in order, are `thinking` up to the white space where something was deleted
- `checks`: what was checked, whether it was passed and with which `figures` (JSON)
- `tokens_before`, `tokens_after`: thinking and answer, as the run's tokenizer counts them"""
_OF_TEXTS = (
    " The questions have the licences of the problem sets they come from, and what a teacher wrote the terms of its provider; "
    "both are for the publisher to look at."
)


def _limits(subject: Subject, left_out: int) -> str:
    found = [
        "A right final answer does not make every step before it right: the checks look for arithmetic, not for reasons.",
        "The labels of skills are the teacher's opinion.",
    ]
    if left_out:
        found.append(
            f"{left_out:,} accepted traces were left out: they held a path or a key of the machine they were made on."
        )
    if subject.summary.notes:
        found.append(
            f"When this was written, the run was not whole: its report had {len(subject.summary.notes)} note(s)."
        )
    return "\n".join(f"- {item}" for item in found)


def _front_matter(subject: Subject, count: int) -> str:
    from huggingface_hub import DatasetCardData

    size = next((name for most, name in _SIZES if count < most), "100K<n<1M")
    data = DatasetCardData(
        license=subject.licence_of(layout.DATASET),
        pretty_name=f"Pruned reasoning traces of {subject.student.name}",
        size_categories=[size],
        task_categories=["text-generation"],
        tags=[
            "reasoning",
            "chain-of-thought",
            "drp",
            "arxiv:2505.13975",
            *(["miniature"] if subject.miniature else []),
        ],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": ROWS}]}],
    )
    return f"---\n{data.to_yaml()}\n---\n"
