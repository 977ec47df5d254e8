"""The loop detector on real traces: false alarms where nothing loops, and recall on loops planted in them.

    python perf/loops.py TRACES.jsonl… [--cuts 20] [--json FILE]

False alarms: every thinking is cut at random points, as a token limit would, and the detector asked whether its end loops.
Planted loops: a cut thinking goes on by repeating its last one, two or four sentences, k times; it should be found. What
the detector flags in the files as they are is printed, to be judged by eye.
"""

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.benchmarks.files import read_traces
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.text.loops import loop_period


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng = random.Random(0)
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {"files": {}, "planted": {}}
    planted: dict[int, list[bool]] = {k: [] for k in (2, 3, 4, 6, 10)}
    for file in args.traces:
        traces = read_traces(file)
        texts = [t.thinking for t in traces if len(t.thinking) > 300]
        flagged = [t.id for t in traces if loop_period(t.answer or t.thinking)]
        cuts = [text[: rng.randrange(200, len(text))] for text in texts for _ in range(args.cuts)]
        alarms = [cut[-160:] for cut in cuts if loop_period(cut)]
        for text in texts:
            sentences = re.split(r"(?<=[.!?\n])\s+", text[: rng.randrange(200, len(text))])[:-1]
            block = " ".join(sentences[-rng.choice((1, 2, 4)) :])
            if len(block) < 20:
                continue
            for copies in planted:
                looped = " ".join([*sentences, *[block] * (copies - 1)])
                planted[copies].append(
                    loop_period(looped[: len(looped) - rng.randrange(len(block) // 2)]) is not None
                )
        figures["files"][file.stem] = {
            "traces": len(traces), "unclosed": sum(not t.closed for t in traces), "flagged": flagged,
            "cuts": len(cuts), "false_alarms": len(alarms), "examples": alarms[:5],
        }  # fmt: skip
        rows.append((
            file.stem, str(len(traces)), str(sum(not t.closed for t in traces)), str(len(flagged)), f"{len(cuts):,}", str(len(alarms)),
        ))  # fmt: skip
    figures["planted"] = {k: {"n": len(v), "found": sum(v)} for k, v in planted.items()}
    head = ("file", "traces", "unclosed", "flagged", "cuts", "false alarms")
    note = "Planted loops found, by copies of the block: " + ", ".join(
        f"{k}: {100 * sum(v) / max(1, len(v)):.1f} %" for k, v in planted.items()
    )
    print_table(
        Console(width=110), Table("Loop detector", head, tuple(rows), f"{note} (n = {len(planted[2])}).")
    )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
