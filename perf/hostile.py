"""A hundred hostile answers against the grader: how long each holds it, how much memory, and what honest answers feel.

    python perf/hostile.py [--limit 2] [--json FILE]

Twenty kinds in five sizes: towers of powers, huge sums and factorials, deep nesting, long digits, control characters, code.
They are graded in one thread while another grades honest answers that need algebra; the same is done without the attack.
"""

import argparse
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from drp.grading.grader import Grader
from drp.reporting.terminal import print_table
from drp.reporting.text import Table

HONEST = [
    ("\\boxed{(x+1)^2}", "x^2+2x+1"),
    ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}"),
    ("\\boxed{x \\le \\sqrt{8}}", "(-\\infty,2\\sqrt{2}]"),
]


def hostile() -> list[tuple[str, str]]:
    """Return (answer, gold) pairs; none of the answers is right."""
    found: list[tuple[str, str]] = []
    for size in (1, 2, 3, 4, 5):
        n = 10**size
        found += [
            (a, f"y^{{{size}}}+z")
            for a in (
                f"{size}9^{{9^{{9^9}}}}", f"10^{{10^{{10^{{{n}}}}}}}", f"x^{{9^{{9^{size}}}}}+1", f"\\sum_{{k=1}}^{{10^{{{3 * size}}}}} k^{{k}}",
                f"\\prod_{{n=1}}^{{{n}9}} n", "\\frac{" * (90 * size) + "1" + "}{1}" * (90 * size), "(" * n, "{" * n + "}" * n,
                "1+" * (20 * n) + "1", "\\sqrt{" * (60 * size) + "2" + "}" * (60 * size), "9" * (10 * n), "x" * (10 * n),
                "\\int_0^1 " + "x^{" * size + "x" + "}" * size + " dx", f"{n}00000!", f"\\binom{{10^{2 * size}}}{{5*10^{2 * size - 1}}}",
                "\x00\x01" * size, "\u202e12" * size, "__import__('os').system('touch /tmp/owned')" + " " * size,
                "\\input{/etc/passwd}" * size, "x^{" + "+".join(f"x^{{{i}^{i}}}" for i in range(2, 9 * size)) + "}",
            )
        ]  # fmt: skip
    return found


def _peak_mib(pids: set[int]) -> float:
    peak = 0.0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        peak = max(
            [peak, *(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))]
        )
    return peak


def _children() -> set[int]:
    mine = str(os.getpid())
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "stat").read_text().rpartition(")")[2].split()[1] == mine:
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def main() -> None:
    """Parse arguments, attack, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=float, default=2.0, help="seconds for one item")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures: dict[str, Any] = {"limit_s": args.limit}
    rows: list[tuple[str, ...]] = []
    for name, attacks in (("no attack", []), ("attack", hostile())):
        with Grader(time_limit_s=args.limit, processes=2) as grader:
            for text, gold in HONEST:
                assert grader.is_correct(text, gold), text
            taken: list[float] = []
            wrong: list[str] = []
            ways: dict[str, int] = {}
            done = threading.Event()

            def attack(attacks: list[tuple[str, str]] = attacks, taken: list[float] = taken, wrong: list[str] = wrong,
                       ways: dict[str, int] = ways, grader: Grader = grader, done: threading.Event = done) -> None:  # fmt: skip
                for text, gold in attacks:
                    began = time.perf_counter()
                    grade = grader.compare(text, gold)
                    taken.append(time.perf_counter() - began)
                    ways[grade.how] = ways.get(grade.how, 0) + 1
                    if grade.correct:
                        wrong.append(text[:60])
                if not attacks:
                    time.sleep(10)
                done.set()

            thread = threading.Thread(target=attack)
            thread.start()
            felt: list[float] = []
            refused, peak = 0, 0.0
            while not done.is_set():
                text, gold = HONEST[len(felt) % len(HONEST)]
                began = time.perf_counter()
                refused += not grader.is_correct(text, gold)
                felt.append(time.perf_counter() - began)
                if len(felt) % 50 == 0:
                    peak = max(peak, _peak_mib(_children()))
            thread.join()
        found = {
            "hostile": len(attacks), "accepted": wrong, "how": ways, "hostile_s": {"max": max(taken, default=0), "sum": sum(taken)},
            "honest": len(felt), "honest_refused": refused, "peak_mib": peak,
            "honest_ms": {q: float(1000 * np.quantile(felt, v)) for q, v in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        }  # fmt: skip
        figures[name] = found
        milliseconds = found["honest_ms"]
        rows.append((
            name, str(len(attacks)), str(len(wrong)), f"{found['hostile_s']['max']:.1f}", f"{found['hostile_s']['sum']:.0f}", f"{peak:.0f}",
            f"{len(felt):,}", str(refused), f"{milliseconds['p50']:.1f} / {milliseconds['p99']:.1f} / {milliseconds['max']:.0f}",
        ))  # fmt: skip
    head = (
        "run",
        "hostile",
        "accepted",
        "longest, s",
        "all, s",
        "peak MiB",
        "honest",
        "refused",
        "ms p50 / p99 / max",
    )
    note = f"Limit {args.limit:g} s an item; a process that is killed takes its start-up on top. How they ended: {figures['attack']['how']}."
    print_table(Console(width=140), Table("Hostile answers", head, tuple(rows), note))
    assert not Path("/tmp/owned").exists(), "an answer was executed"
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
