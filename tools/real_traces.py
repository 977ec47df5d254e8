"""What the rules teacher does to real reasoning traces and to labelled steps.

    python tools/real_traces.py DATA [--tokenizer FOLDER] [--out FOLDER] [--json FILE] [--reading FILE]

``DATA`` holds ``traces/*.jsonl`` (question, gold, thinking, answer, closed) and ``labels/*.jsonl``.
Prints one table per question; every figure is recomputed from the files. ``--reading`` writes a sample of accepted traces
to be read in full: what stays as it is, what went in ⟦ ⟧ with its reason.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from drp.evaluation.statistics import mean_interval
from drp.grading.grader import Grader
from drp.pipeline import prune_file
from drp.pruning.checks import states
from drp.recipe import load_recipe
from drp.records import EditScript, PrunedTrace, Trace
from drp.reporting.summary import summarise_prune
from drp.reporting.terminal import print_table
from drp.reporting.text import Table, percent
from drp.runs import layout
from drp.runs.folder import RunFolder
from drp.runs.reader import RunReader
from drp.runs.stage import NoProgress
from drp.teachers.rules import RulesTeacher
from drp.text.units import split_units

READING = {
    "r1.gsm8k_test": (18, 4000),
    "qwq_32b.gsm8k_test": (18, 4500),
    "r1_qwen_1.5b.math_train": (14, 7000),
    "r1_qwen_7b.math500": (5, 7000),
    "r1_qwen_32b.gsm8k_test": (5, 9000),
    "qwen3_4b_thinking.math_train": (4, 9000),
}
"""How many accepted traces of a file to read, and how long they may be at most, in characters of pruned thinking."""
READING_SEED = 20261125


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def prune_one(path: Path, out: Path, tokenizer: str) -> dict[str, Any]:
    """Prune one file and return its figures; refuses to report on anything that was lost."""
    recipe = load_recipe(None, [f"prune.tokenizer={tokenizer}"])
    with RunFolder(out / path.stem) as held:
        pruned, traces = prune_file(path, held, recipe, NoProgress(), None)
    run = RunReader(out / path.stem)
    summary = summarise_prune(run.stage(layout.PRUNE))
    recorded = {p.id for p in pruned} | {f.id for f in run.failures(layout.PRUNE)}
    assert summary is not None
    by_id: dict[str, Trace] = {t.id: t for t in traces}
    assert recorded == set(by_id), "a trace vanished"
    assert all("".join(split_units(t.thinking)) == t.thinking for t in traces)
    accepted: list[PrunedTrace] = [p for p in pruned if p.accepted]
    holding = [p for p in accepted if states(by_id[p.id].thinking, p.gold)]
    kept = sum(states(p.thinking, p.gold) for p in holding)
    with Grader() as grader:
        right = sum(grader.is_correct(p.answer, p.gold) for p in accepted)
    return summary.model_dump() | {
        "file": path.name,
        "gold_in_thinking": len(holding),
        "gold_kept_in_thinking": kept,
        "answers_right": right,
    }


def reading(path: Path, run: RunReader) -> list[str]:
    """Return the sample of one file's accepted traces as texts to read."""
    count, longest = READING.get(path.stem, (0, 0))
    by_question = {
        p.question: p
        for p in run.records(layout.PRUNE, PrunedTrace)
        if p.accepted and len(p.thinking) < longest
    }
    rows = [(row, by_question[row["question"]]) for row in rows_of(path) if row["question"] in by_question]
    random.Random(READING_SEED).shuffle(rows)
    return [shown(row["id"], pruned) for row, pruned in rows[:count]]


def shown(name: str, pruned: PrunedTrace) -> str:
    """Return a pruned trace beside its original, in one text."""
    units = split_units(pruned.original_thinking)
    parts = [f"=== {name} (gold {pruned.gold})\n{pruned.question}\n---\n"]
    for edit in pruned.script.edits:
        text = "".join(units[edit.first : edit.last + 1])
        if edit.action == "keep":
            parts.append(text)
        elif edit.action == "delete":
            parts.append(f"⟦{edit.reason}: {text}⟧")
        else:
            parts.append(f"⟪{text} → {edit.text}⟫")
    return "".join(parts)


def actions_of(script: EditScript) -> list[str]:
    """Return the action of every unit."""
    return [edit.action for edit in script.edits for _ in range(edit.first, edit.last + 1)]


def thought_anchors(path: Path, correct_only: bool) -> dict[str, float]:
    """Compare the measured importance of deleted and kept chunks, and count broken dependencies.

    Only correct traces are ever pruned by default, hence ``correct_only``.
    """
    importance: dict[bool, list[float]] = {True: [], False: []}
    traces = needed = deleted = 0
    teacher = RulesTeacher()
    for row in rows_of(path):
        if correct_only and not row["correct"]:
            continue
        traces += 1
        chunks = row["chunks"]
        units = [chunk["text"] + " " for chunk in chunks]
        actions = actions_of(teacher.script(row["question"], f"\\boxed{{{row['gold']}}}", units))
        gone = {i for i, action in enumerate(actions) if action == "delete"}
        used = {int(d) for i, c in enumerate(chunks) if i not in gone for d in c["depends_on"]}
        for i, chunk in enumerate(chunks):
            importance[i in gone].append(chunk["importance"])
        deleted += len(gone)
        needed += len(gone & used)
    mean = {key: float(np.mean(values)) for key, values in importance.items()}
    interval = {key: mean_interval(np.array(values)) for key, values in importance.items()}
    return {
        "traces": traces,
        "deleted": deleted,
        "kept": len(importance[False]),
        "importance_deleted": mean[True],
        "importance_deleted_low": interval[True].low,
        "importance_deleted_high": interval[True].high,
        "importance_kept": mean[False],
        "importance_kept_low": interval[False].low,
        "importance_kept_high": interval[False].high,
        "deleted_that_kept_depends_on": needed / max(1, deleted),
    }


def prmbench(path: Path) -> dict[str, float]:
    """Return precision and recall of deletion on the inserted redundant steps."""
    hits = deleted = redundant = steps = 0
    teacher = RulesTeacher()
    for row in rows_of(path):
        units = [step + "\n" for step in row["modified"]]
        actions = actions_of(teacher.script(row["question"], row["original"][-1], units))
        gone = {i for i, action in enumerate(actions) if action == "delete"}
        marked = {i - 1 for i in row["redundant_steps"]}
        hits += len(gone & marked)
        deleted, redundant, steps = deleted + len(gone), redundant + len(marked), steps + len(units)
    return {
        "steps": steps,
        "redundant": redundant,
        "deleted": deleted,
        "precision": hits / max(1, deleted),
        "recall": hits / max(1, redundant),
        "base_rate": redundant / max(1, steps),
    }


def file_table(figures: list[dict[str, Any]], tokenizer: str) -> Table:
    """Return the table over trace files."""
    rows = [
        (
            f["file"].removesuffix(".jsonl"),
            str(f["traces"]),
            str(f["accepted"]),
            str(sum(f["excluded"].values())),
            str(f["traces"] - f["accepted"] - sum(f["excluded"].values())),
            f"{f['tokens_before']:.0f} → {f['tokens_after']:.0f}",
            f"{100 * (f['tokens_after'] / f['tokens_before'] - 1):+.0f} %" if f["tokens_before"] else "–",
            percent(f["kept_share"] or 0.0),
            f"{f['gold_kept_in_thinking']}/{f['gold_in_thinking']}",
            "/".join(str(f["actions"].get(a, 0)) for a in ("keep", "delete", "rewrite", "merge")),
        )
        for f in figures
    ]
    head = ("file", "traces", "accepted", "excluded", "dropped", "tokens", "change", "bytes kept",
            "gold kept", "keep/delete/rewrite/merge")  # fmt: skip
    return Table(f"Rules teacher on real traces (tokens by {Path(tokenizer).name})", head, tuple(rows))


def label_table(title: str, figures: dict[str, float]) -> Table:
    """Return a table of named figures."""
    rows = tuple(
        (k.replace("_", " "), f"{v:.4f}" if isinstance(v, float) else str(v)) for k, v in figures.items()
    )
    return Table(title, ("figure", "value"), rows)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokenizer", default="mini", help="counts tokens; see tools/qwen_tokenizer.py")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--reading", type=Path)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp())
    files = [prune_one(path, out, args.tokenizer) for path in sorted((args.data / "traces").glob("*.jsonl"))]
    if args.reading:
        texts = [
            text
            for path in sorted((args.data / "traces").glob("*.jsonl"))
            for text in reading(path, RunReader(out / path.stem))
        ]
        args.reading.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    labels = args.data / "labels" / "thought_anchors_chunks.jsonl"
    anchors, all_anchors = thought_anchors(labels, True), thought_anchors(labels, False)
    redundancy = prmbench(args.data / "labels" / "prmbench_redundancy.jsonl")
    console = Console(width=160)
    print_table(console, file_table(files, args.tokenizer))
    print_table(console, label_table("Thought anchors, correct traces", anchors))
    print_table(console, label_table("Thought anchors, all traces", all_anchors))
    print_table(console, label_table("PRMBench: inserted redundant steps", redundancy))
    if args.json:
        record = {
            "files": files,
            "thought_anchors_correct": anchors,
            "thought_anchors_all": all_anchors,
            "prmbench": redundancy,
        }
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
