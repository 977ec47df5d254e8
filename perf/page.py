"""How large the page of a run is and how soon a browser paints it: at 100, 2,000 and 20,000 pruned traces.

    python perf/page.py [--traces 100 2000 20000] [--file TRACES.jsonl] [--work FOLDER] [--json FILE]

The traces are real ones where a file is named, each with a number of its own added, and else made up; pruned by the rules teacher
once and repeated. Needs playwright and a Chromium. "First paint" is the browser's own first contentful paint, the best of
three fresh tabs; "list" is the time from opening ``#/traces`` to the first hundred rows, "trace" from a key to another trace.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from drp import api
from drp.records import PrunedTrace
from drp.reporting.page.embedding import PART
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.reporting.write import write_report
from drp.runs.folder import RunFolder, StageFolder

MADE = {
    "question": "Mia has 24 shells. Tom has 3 times as many shells as Mia. How many shells does Tom have?",
    "gold": "72",
    "thinking": "Okay, let me see. Tom has 3 times as many, so 3 * 24 = 72.\n\n"
    + "Wait, let me verify. 24 + 24 + 24 = 72. Yes, that's right.\n\n" * 40
    + "So the answer is 72.",
    "answer": "The answer is \\boxed{72}.",
}


def sources(file: Path | None, work: Path) -> list[PrunedTrace]:
    """Return pruned traces to repeat."""
    if file is None:
        file = work / "made.jsonl"
        file.write_text(json.dumps(MADE) + "\n")
    return api.prune(traces=file, out=work / "pruned")


def make(run: Path, traces: int, some: list[PrunedTrace]) -> None:
    """Write a run folder with so many pruned traces, no two alike."""
    with RunFolder(run) as held:
        folder, _ = held.open_stage("prune", {"prune": {}})
        with folder.journal() as journal:
            for n in range(traces):
                one = some[n % len(some)]
                journal.append(
                    one.model_copy(update={"id": f"trace-{n:05}", "question": f"{n}. {one.question}"})
                )
        folder.update(complete=True, counts={"done": traces})


def painted(browser: Any, page: Path) -> tuple[float, float, float]:
    """Return seconds to the first paint, to the rows and to the next trace."""
    first: list[float] = []
    for _ in range(3):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri(), wait_until="commit")
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        while (at := tab.evaluate(paint)) is None:
            time.sleep(0.02)
        first.append(at / 1000)
        tab.close()
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.monotonic()
    tab.goto(f"{page.as_uri()}#/traces", wait_until="commit")
    tab.wait_for_selector("#traces .rows a")
    listed = time.monotonic() - began
    tab.keyboard.press("j")
    tab.wait_for_selector("#step-1")
    began = time.monotonic()
    tab.keyboard.press("j")
    tab.wait_for_selector("#traces .question >> text=/^1\\. /")
    moved = time.monotonic() - began
    tab.close()
    return min(first), listed, moved


def measure(browser: Any, run: Path, traces: int, some: list[PrunedTrace]) -> dict[str, float]:
    """Return the figures of a page of so many traces."""
    make(run, traces, some)
    began = time.monotonic()
    page = write_report(run, "x")
    wrote = time.monotonic() - began
    with page.open() as file:
        shell = file.read(1_000_000).index('<script type="text/plain"')
    first, listed, moved = painted(browser, page)
    return {
        "traces": traces,
        "records_mb": StageFolder(run / "prune", "prune").records_path.stat().st_size / 1e6,
        "shell_kb": shell / 1e3,
        "page_mb": page.stat().st_size / 1e6,
        "write_s": wrote,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first_paint_s": first,
        "list_s": listed,
        "trace_s": moved,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=int, nargs="+", default=[100, 2000, 20000])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "drp-page")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    some = sources(arguments.file, arguments.work)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        found = [measure(browser, arguments.work / f"run-{n}", n, some) for n in arguments.traces]
        browser.close()
    rows = tuple(
        tuple(f"{value:,.0f}" if value > 99 else f"{value:.2f}" for value in one.values()) for one in found
    )
    note = f"Traces repeat {len(some)} pruned ones; a part of the page is about {PART // 1024} KiB of JSON."
    print_table(Console(), Table("The page", tuple(name.replace("_", " ") for name in found[0]), rows, note))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
