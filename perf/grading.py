"""Gradings per second of our grader against plain math-verify in one process, side by side in one run.

    python perf/grading.py GSM8K.jsonl [--count 1000] [--json FILE]

Both grade the same texts, answers in the style of models (half of them right), against the gold answers of the file.
Plain math-verify boxes both sides, which it needs to read them alike. Agreement is over all texts.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.benchmarks.files import read_problems
from drp.grading.grader import Grader
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.text.answers import final_answer

STYLES = (
    "So it is \\boxed{%s}.",
    "The answer is %s.",
    "Thus \\boxed{\\$%s}",
    "\\boxed{%s \\text{ units}}",
    "#### %s",
)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import math_verify  # heavy: sympy

    library: Any = math_verify
    gold = [p.gold for p in read_problems(args.problems, gold="answer")][: args.count]
    rng = random.Random(0)
    texts = [
        rng.choice(STYLES) % (g if rng.random() < 0.5 else rng.choice(gold)) for g in gold
    ]  # fmt: skip

    def plain(text: str, wanted: str) -> bool:
        sides = [
            library.parse(f"\\boxed{{{t}}}", parsing_timeout=None) for t in (wanted, final_answer(text) or "")
        ]
        return bool(library.verify(*sides, timeout_seconds=None))

    plain(texts[0], gold[0])  # warm
    started = time.perf_counter()
    theirs = [plain(text, wanted) for text, wanted in zip(texts, gold, strict=True)]
    their_seconds = time.perf_counter() - started
    with Grader() as grader:
        started = time.perf_counter()
        ours = [grader.is_correct(text, wanted) for text, wanted in zip(texts, gold, strict=True)]
        our_seconds = time.perf_counter() - started
    speeds = len(texts) / their_seconds, len(texts) / our_seconds
    only_ours = [(t, g) for t, g, a, b in zip(texts, gold, ours, theirs, strict=True) if a and not b]
    only_theirs = [(t, g) for t, g, a, b in zip(texts, gold, ours, theirs, strict=True) if b and not a]
    rows = [
        ("math-verify", f"{speeds[0]:,.0f}", str(sum(theirs))),
        ("drp", f"{speeds[1]:,.0f}", str(sum(ours))),
    ]
    note = (
        f"{len(texts)} texts; {speeds[1] / speeds[0]:.0f} times as fast; right by us alone {len(only_ours)}, "
        f"by math-verify alone {len(only_theirs)}."
    )
    print_table(
        Console(width=120), Table("Gradings per second", ("grader", "per second", "right"), tuple(rows), note)
    )
    for name, found in (("ours alone", only_ours), ("math-verify alone", only_theirs)):
        for text, wanted in found[:3]:
            print(f"  {name}: {text!r} for {wanted!r}")
    if args.json:
        figures = {
            "texts": len(texts), "per_second": {"math_verify": speeds[0], "drp": speeds[1]},
            "right": {"math_verify": sum(theirs), "drp": sum(ours)},
            "ours_alone": only_ours[:50], "math_verify_alone": only_theirs[:50],
        }  # fmt: skip
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
