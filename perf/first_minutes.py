"""How long the commands of the first minutes take, each in a process of its own.

    python perf/first_minutes.py --runs 5

Prints a table: median and spread of wall-clock seconds, and of the seconds of processor time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = (["--version"], ["--help"], ["recipes"], ["doctor"], ["doctor", "mini"], ["init", "--yes"])


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Return wall-clock and processor seconds of one call, in an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        began, before = time.monotonic(), os.times()
        call = [sys.executable, "-m", "drp", *arguments]
        subprocess.run(call, cwd=empty, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        wall, after = time.monotonic() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("| command | seconds, median (least – most) | processor seconds, median |")
    print("|---|---|---|")
    for arguments in COMMANDS:
        seconds(arguments)  # once to fill the caches of the disk
        found = [seconds(arguments) for _ in range(runs)]
        wall, used = sorted(w for w, _ in found), statistics.median(u for _, u in found)
        spread = f"{statistics.median(wall):.2f} ({wall[0]:.2f} – {wall[-1]:.2f})"
        print(f"| `drp {' '.join(arguments)}` | {spread} | {used:.2f} |", flush=True)


if __name__ == "__main__":
    main()
