"""Peak memory of reading a large run folder: what a report, a comparison and a plain walk over the records take.

    python perf/memory.py [--traces 20000] [--characters 40000] [--work FOLDER] [--json FILE]

A run folder of so many evaluated traces of so many characters is made under ``--work`` once. Every way of reading it runs in a
process of its own; its peak is printed beside that of a process that reads nothing, which holds the libraries alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.records import Trace, Usage
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.runs import layout
from drp.runs.folder import RunFolder

WAYS = {
    "nothing": "",
    "records, one by one": "sum(1 for _ in read_records(run / layout.EVALUATE_BASE / layout.RECORDS, Trace))",
    "summary": "summarise(run, 'x')",
    "report": "write_report(run, 'x')",
    "compare": "evaluated_at(run)",
}
"""What each process does with the folder ``run``."""
CHILD = """
import resource, sys, time
from pathlib import Path
from drp.reporting.pairing import evaluated_at
from drp.records import Trace
from drp.reporting.summary import summarise
from drp.reporting.write import write_report
from drp.runs import layout
from drp.runs.journal import read_records
run, began = Path(sys.argv[1]), time.monotonic()
{code}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - began)
"""
SETTINGS = {"evaluate": {"sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}, "seed": 1}}


def make(run: Path, traces: int, characters: int) -> None:
    """Write a run folder with one evaluation, unless it is there."""
    from drp.grading import VERSION

    with RunFolder(run) as held:
        folder, _ = held.open_stage(layout.EVALUATE_BASE, SETTINGS)
        if (manifest := folder.manifest()) and manifest.complete:
            return
        with folder.journal() as journal:
            for number in range(traces):
                line = f"So {number} + 17 = {number + 17}, and that is what the question asks for. "
                journal.append(
                    Trace(
                        id=f"trace-{number:016x}", problem_id=f"problem-{number:016x}", question=f"What is {number} + 17?",
                        gold=str(number + 17), benchmark="long", thinking=(line * (characters // len(line) + 1))[:characters],
                        answer=f"\\boxed{{{number + 17}}}", closed=True, finish_reason="stop", correct=number % 3 > 0,
                        usage=Usage(completion_tokens=characters // 4),
                    )
                )  # fmt: skip
        folder.graded(VERSION)
        folder.update(complete=True, counts={"wanted": traces, "done": traces})


def measured(run: Path) -> dict[str, dict[str, float]]:
    """Return peak memory in MiB and seconds of every way."""
    found: dict[str, dict[str, float]] = {}
    for name, code in WAYS.items():
        call = [sys.executable, "-c", CHILD.format(code=code), str(run)]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        peak, seconds = map(float, done.stdout.split())
        found[name] = {"peak_mib": round(peak), "seconds": round(seconds, 1)}
    return found


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--traces", type=int, default=20_000)
    parser.add_argument("--characters", type=int, default=40_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    run = work / f"{args.traces}x{args.characters}"
    make(run, args.traces, args.characters)
    found = measured(run)
    rows = [(name, f"{f['peak_mib']:,.0f}", f"{f['seconds']:.1f}") for name, f in found.items()]
    title = f"{args.traces:,} traces of {args.characters:,} characters"
    print_table(Console(width=100), Table(title, ("reads", "peak, MiB", "seconds"), tuple(rows)))
    if args.json:
        record: dict[str, Any] = {"traces": args.traces, "characters": args.characters, "ways": found}
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
