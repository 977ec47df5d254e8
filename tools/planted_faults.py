"""How the checks judge prunings of real traces with planted faults, and sound ones beside them.

    python tools/planted_faults.py DATA [--half mend|hold|all] [--set first|second] [--out FOLDER] [--most 60] [--seed 0] [--show CHECK]

``DATA`` holds ``traces/*.jsonl`` (question, gold, thinking, answer, closed) and ``benchmarks/*.jsonl`` (their human
solutions). A fault is planted by rule, without asking the check that shall find it: the sentence that brings in a
number is deleted, the answer to a question, the correction of a slip, the conclusion. Sound prunings are made of the same traces.
Checks are mended by the first set of faults on one half of the traces; the second set, of another construction, on the other half
(``--half hold --set second``) tells how they judge what they were not made for.
``--show`` prints the misjudged ones of one check, to be read by eye.
"""

import argparse
import hashlib
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import Candidate, CheckLimits, run_checks
from drp.pruning.show import marked
from drp.records import Check, EditScript
from drp.reporting.terminal import print_table
from drp.reporting.text import Table, markdown, percent
from drp.text.units import split_units
from plants import SETS, Plant, Pruning, Source

FEWEST = 30


@dataclass
class Count:
    """How often a check passed the prunings of one kind, and those it misjudged."""

    total: int = 0
    passed: int = 0


def half_of(name: str) -> str:
    """Return to which half of the traces one belongs, by its id alone: ``mend``, by which checks are mended, or ``hold``."""
    return "hold" if hashlib.sha256(name.encode()).digest()[0] % 2 else "mend"


def sources(data: Path, half: str) -> Iterator[Source]:
    """Yield the closed traces of a half, each with a human solution of its question where there is one."""
    written: dict[str, str] = {}
    for path in sorted((data / "benchmarks").glob("*.jsonl")):
        for row in _rows(path):
            solution = row.get("solution") or str(row.get("answer", "")).split("####")[0]
            written.setdefault(row.get("problem") or row.get("question"), solution.strip())
    for path in sorted((data / "traces").glob("*.jsonl")):
        for row in _rows(path):
            wanted = half in ("all", half_of(row["id"]))
            if wanted and row["thinking"].strip() and row["closed"] and row["answer"].strip():
                yield Source(
                    row["id"], row["question"], str(row["gold"]), tuple(split_units(row["thinking"])), row["answer"],
                    written.get(row["question"], ""),
                )  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def judge(source: Source, pruning: Pruning, grader: Grader) -> tuple[dict[str, Check], EditScript]:
    """Return the checks of one pruning by name."""
    units = pruning.units or source.units
    thinking = apply_script(units, pruning.script)
    answer = pruning.answer or source.answer
    candidate = Candidate(
        source.question, source.gold, units, source.answer, pruning.script, thinking, answer
    )
    return {
        check.name: check for check in run_checks(candidate, grader.is_correct, CheckLimits())
    }, pruning.script


def measure(
    traces: list[Source],
    planted: Mapping[str, Sequence[Plant]],
    most: int,
    seed: int,
    show: str | None,
) -> dict[str, dict[tuple[str, bool], Count]]:
    """Plant, judge and count; every kind of pruning comes from at most ``most`` traces, drawn at random."""
    counts: dict[str, dict[tuple[str, bool], Count]] = defaultdict(lambda: defaultdict(Count))
    random.Random(seed).shuffle(traces)
    with Grader() as grader:
        right = [source for source in traces if grader.is_correct(source.answer, source.gold)]
        for check, plants in planted.items():
            if show and check != show:
                continue
            for plant in plants:
                for source in right:
                    pruning = plant(source, random.Random(f"{seed} {source.id}"))
                    if pruning is None:
                        continue
                    count = counts[check][pruning.kind, pruning.sound]
                    if count.total >= most:
                        continue
                    verdict = judge(source, pruning, grader)[0][check]
                    count.total += 1
                    count.passed += verdict.passed
                    if show and verdict.passed != pruning.sound:
                        print(f"\n##### {source.id} {pruning.kind}, sound: {pruning.sound}; {verdict.detail}")
                        print(marked(pruning.units or source.units, pruning.script))
    return counts


def table(counts: dict[str, dict[tuple[str, bool], Count]]) -> Table:
    """Return the table: for each check and kind how many were judged wrongly, and the sums."""
    rows: list[tuple[str, ...]] = []
    for check, kinds in counts.items():
        for sound in (False, True):
            here = {kind: count for (kind, is_sound), count in kinds.items() if is_sound == sound}
            wrong = {kind: c.total - c.passed if sound else c.passed for kind, c in here.items()}
            total = sum(c.total for c in here.values())
            each = ", ".join(f"{kind} {wrong[kind]}/{c.total}" for kind, c in here.items())
            share = percent(sum(wrong.values()) / total) if total else "–"
            rows.append(
                (check, "sound" if sound else "faulty", str(total), str(sum(wrong.values())), share, each)
            )
    head = ("check", "prunings", "n", "misjudged", "share", "by kind")
    return Table("Planted faults: faulty prunings accepted, sound ones refused", head, tuple(rows))


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--most", type=int, default=60, help="prunings of one kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--half", choices=("mend", "hold", "all"), default="all", help="of the traces, by their ids"
    )
    parser.add_argument("--set", choices=tuple(SETS), default="first", help="of faults")
    parser.add_argument("--show", help="print what this check misjudged")
    args = parser.parse_args()
    counts = measure(list(sources(args.data, args.half)), SETS[args.set], args.most, args.seed, args.show)
    found = table(counts)
    print_table(Console(width=200), found)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        command = f"python tools/planted_faults.py DATA --half {args.half} --set {args.set} --most {args.most} --seed {args.seed}"
        (args.out / "table.md").write_text(f"{markdown(found)}\n\nMade with `{command}`.\n", encoding="utf-8")
        record = {
            "command": command,
            "checks": {
                check: [
                    {"kind": kind, "sound": sound, "n": c.total, "passed": c.passed}
                    for (kind, sound), c in kinds.items()
                ]
                for check, kinds in counts.items()
            },
        }
        (args.out / "planted_faults.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    few = [row for row in found.rows if int(row[2]) < FEWEST]
    if few and not args.show:
        sys.exit(f"fewer than {FEWEST} prunings: " + ", ".join(f"{row[0]} {row[1]}" for row in few))


if __name__ == "__main__":
    main()
