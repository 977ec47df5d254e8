"""The laboratory: every method of the paper on the embedded student, one command, resumable.

    python tools/lab.py --work runs/lab --out results/mini-lab [--seeds 3] [--jobs 8] [--grid full|small]
        [--only PATTERN …] [--minutes M] [--remedies N] [section.field=value …]

Each row is one run folder under ``--work``, made by `drp.run`; the same command again goes on where it stopped. Figures
(lab.json) and tables are written after every row, plots at the end. ``--grid small`` is one benchmark, one seed and three
methods, for a CPU. ``--remedies`` tries what needs no training (token budgets, early exit, no thinking) on so many completions of the
base a benchmark, and puts it in a table of its own; with ``--only none`` nothing else runs. After ``--minutes`` nothing new begins and what runs is stopped, to be continued later.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

import lab_report
from drp.evaluation.metrics import measured_part
from drp.recipe import load_recipe
from drp.records import Trace
from drp.reporting.summary import benchmark_order, by_benchmark, summarise_benchmark
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.stages.reinforce import RlStep
from lab_grid import SMALL, Row, grid, only

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "mini"
CALL = "import json, sys, drp; verb, arguments, options = json.loads(sys.argv[1]); getattr(drp, verb)(*arguments, **options)"
"""What the process of a call runs."""
BINS = np.arange(0, 1201, 20)


class Stopped(Exception):  # noqa: N818 – nothing went wrong
    """The time is up."""


class Lab:
    """Runs rows and writes what they come to."""

    def __init__(self, work: Path, out: Path, changes: list[str], minutes: float | None) -> None:
        self.work, self.out, self.changes = work, out, changes
        self.lock, self.pruning = Lock(), defaultdict[str, Lock](Lock)
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.results: dict[str, dict[str, Any]] = {}
        self.curves: dict[str, list[dict[str, Any]]] = {}
        self.remedies: dict[str, dict[str, Any]] = {}
        out.mkdir(parents=True, exist_ok=True)
        figures = out / "lab.json"
        if figures.exists():
            earlier = json.loads(figures.read_text())
            if earlier.get("changes") == changes:  # else an earlier call measured something else
                self.results, self.curves = earlier["rows"], earlier["curves"]
                self.remedies = earlier.get("remedies", {})

    def run(self, rows: list[Row], jobs: int) -> bool:
        """Run rows, at most ``jobs`` at a time and each after the row it needs; return whether all were done."""
        waiting, failed, done = list(rows), set[str](), set[str]()
        running: dict[Future[None], Row] = {}
        with ThreadPoolExecutor(jobs) as pool:
            while waiting or running:
                for row in [r for r in waiting if r.after in failed]:
                    waiting.remove(row)
                    failed.add(row.name)
                    print(f"{row.name}: {row.after} is missing", flush=True)
                ready = [r for r in waiting if r.after is None or r.after in done][: jobs - len(running)]
                for row in ready:
                    waiting.remove(row)
                    running[pool.submit(self.point if row.adapter_scale is not None else self.row, row)] = row
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    row, error = running.pop(future), future.exception()
                    if error is None:
                        done.add(row.name)
                        continue
                    failed.add(row.name)
                    log = self.work / row.name / "log.txt"
                    tail = log.read_text()[-1500:] if log.exists() else ""
                    print(f"{row.name}: {error}", "" if isinstance(error, Stopped) else tail, flush=True)
        return not failed

    def call(
        self, folder: Path, verb: str, *arguments: object, out: Path | None = None, **more: object
    ) -> None:
        """Call a function of `drp` with the row's folder as ``out``, or another one, in a process that can be stopped.

        Its output goes to the row's log.

        Raises:
            Stopped: The time is up; what was done is on file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            left = None if self.deadline is None else self.deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Stopped("not begun")
            try:
                called = json.dumps([verb, arguments, {"out": str(out or folder), **more}])
                command = [sys.executable, "-W", "ignore", "-c", CALL, called]
                subprocess.run(command, stdout=log, stderr=log, check=True, timeout=left)
            except subprocess.TimeoutExpired as error:
                raise Stopped("stopped, to be continued") from error

    def base(self) -> None:
        """Draw the student's traces and evaluate it, once for all rows."""
        recipe = str(RECIPES / "drp.yaml")
        self.call(self.work / "base", "generate", recipe, self.changes)
        self.call(self.work / "base", "evaluate", recipe, self.changes)

    def free_remedies(self, count: int) -> None:
        """Try on the base what needs no training, on so many of its completions a benchmark."""
        recipe = load_recipe(RECIPES / "drp.yaml", self.changes)
        for name in (problems.benchmark for problems in recipe.evaluate.benchmarks):
            folder = self.work / f"remedies-{name}"
            self.call(folder, "diagnose", recipe.student.model, benchmark=name, limit=count, pruned=0)
            found = json.loads((folder / "diagnosis.json").read_text())
            kept = ("completions", "accuracy", "tokens", "remedies")
            self.remedies[name] = {key: found[key] for key in kept}
            self.write()

    def row(self, row: Row) -> None:
        """Run one row on copies of what others have drawn already."""
        folder, began = self.work / row.name, time.monotonic()
        changes = [*self.changes, *row.changes]
        if row.after:
            changes.append(f"{row.takes}={self.work / row.after / layout.TRAIN / layout.MODEL}")
        if row.moves_student:
            self._copy(self.work / str(row.after) / layout.EVALUATE_DISTILLED, folder / layout.EVALUATE_BASE)
        else:
            self._copy(self.work / "base" / layout.EVALUATE_BASE, folder / layout.EVALUATE_BASE)
            if not row.other_problems:
                self._copy(self.work / "base" / layout.GENERATE, folder / layout.GENERATE)
        if row.recipe == "drp" and not (row.moves_student or row.other_problems):
            self._copy(self.pruned(row) / layout.PRUNE, folder / layout.PRUNE)
        self.call(folder, "run", str(RECIPES / f"{row.recipe}.yaml"), changes)
        self.note(row, folder, time.monotonic() - began)

    def pruned(self, row: Row) -> Path:
        """Prune the base's traces as a row does, once for all its seeds; return the folder."""
        how = [change for change in row.changes if change.startswith("prune.")]
        folder = self.work / f"pruned-{'-'.join(c.rpartition('=')[2] for c in how) or 'rules'}"
        with self.pruning[folder.name]:
            self._copy(self.work / "base" / layout.GENERATE, folder / layout.GENERATE)
            self.call(folder, "prune", str(RECIPES / f"{row.recipe}.yaml"), [*self.changes, *how])
        return folder

    def _copy(self, source: Path, target: Path) -> None:
        if not target.exists():
            half = target.with_name(target.name + ".half")
            shutil.copytree(source, half, dirs_exist_ok=True)
            half.rename(target)

    def note(self, row: Row, folder: Path, seconds: float) -> None:
        """Compare a row with the base, and write all there is."""
        run = RunReader(folder)
        before = by_benchmark(_completions(RunReader(self.work / "base"), layout.EVALUATE_BASE))
        after = by_benchmark(_completions(run, layout.EVALUATE_DISTILLED))
        benchmarks = [summarise_benchmark(b, before[b], after[b]) for b in sorted(after, key=benchmark_order)]
        train = run.manifest(layout.TRAIN)
        with self.lock:
            self.results[row.name] = {
                "table": row.table, "changes": row.changes, "after": row.after, "wall_s": round(seconds, 1),
                "train_s": round(train.seconds, 1) if train else None,
                "train_counts": train.counts if train else {},
                "learnability": run.learnability(),
                "sampled": _sampled(run, train.counts if train else {}),
                "histograms": {b: [_histogram(before[b]), _histogram(after[b])] for b in after},
                "benchmarks": [result.model_dump(mode="json") for result in benchmarks],
            }  # fmt: skip
            if row.recipe in ("think_prune", "drp_rl"):
                steps = run.records(layout.TRAIN, RlStep)
                self.results[row.name]["rl"] = [[s.step, s.reward, s.tokens] for s in steps]
            self.write()
        print(
            row.name,
            f"{seconds:.0f} s",
            *(f"{100 * t.after.accuracy:.1f}/{t.after.tokens_mean:.0f}" for t in benchmarks if t.after),
            flush=True,
        )

    def write(self) -> None:
        """Write the figures and the tables."""
        rows = dict(sorted(self.results.items()))
        kept = {"changes": self.changes, "rows": rows, "curves": self.curves, "remedies": self.remedies}
        (self.out / "lab.json").write_text(json.dumps(kept) + "\n")
        (self.out / "tables.md").write_text(lab_report.tables(kept))

    def point(self, row: Row) -> None:
        """Evaluate a row's adapter at another scale."""
        folder, name = self.work / row.name, str(row.after)
        model = folder / "merged"
        if not model.exists():
            self.call(folder, "merge", str(self.work / name), row.adapter_scale, out=model)
        recipe = str(RECIPES / f"{row.recipe}.yaml")
        self.call(folder, "evaluate", recipe, [*self.changes, *row.changes, f"student.model={model}"])
        found = by_benchmark(_completions(RunReader(folder), layout.EVALUATE_BASE))
        benchmarks = [summarise_benchmark(b, found[b], None) for b in sorted(found, key=benchmark_order)]
        with self.lock:
            others = [p for p in self.curves.get(name, []) if p["strength"] != row.adapter_scale]
            point = {
                "strength": row.adapter_scale,
                "benchmarks": [t.base.model_dump(mode="json") for t in benchmarks],
            }
            self.curves[name] = sorted([*others, point], key=lambda p: p["strength"])
            self.write()


def _completions(run: RunReader, stage: str) -> list[Trace]:
    return run.stage(stage).wanted_records(Trace, measured_part)


def _sampled(run: RunReader, counts: dict[str, int]) -> int:
    """Return how many tokens a row drew from models to train on."""
    if "sampled_tokens" in counts:
        return counts["sampled_tokens"]
    traces = (t for stage in (layout.GENERATE, *run.explored()) for t in run.records(stage, Trace))
    return sum(t.usage.completion_tokens for t in traces if t.usage)


def _histogram(traces: list[Trace]) -> list[int]:
    counts = [t.usage.completion_tokens for t in traces if t.usage]
    return np.histogram(np.minimum(counts, BINS[-1]), BINS)[0].tolist()


def main() -> None:
    """Parse arguments, run the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/lab"))
    parser.add_argument("--out", type=Path, default=Path("results/mini-lab"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--grid", choices=("full", "small"), default="full")
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="only rows of such names, and what they start from"
    )
    parser.add_argument(
        "--remedies", type=int, metavar="N", help="try what needs no training on N completions a benchmark"
    )
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("changes", nargs="*", help="changes to every recipe: section.field=value")
    args = parser.parse_args()
    changes = [*(SMALL if args.grid == "small" else ()), *args.changes]
    rows = grid(args.seeds, args.grid)
    if args.only == ["none"]:
        rows = []
    elif args.only:
        names = ", ".join(row.name for row in rows)
        rows = only(rows, args.only) or sys.exit(f"no row is named so; there are {names}")
    lab = Lab(args.work.resolve(), args.out, changes, args.minutes)
    if args.remedies:
        lab.free_remedies(args.remedies)
    whole = True
    if rows:
        lab.base()
        whole = lab.run(rows, args.jobs)
    if not (lab.results or lab.remedies):
        sys.exit("nothing came of it")
    print((args.out / "tables.md").read_text())
    if lab.results:
        lab_report.plots(args.out)
    if not whole:
        sys.exit("not every row was done; the same command goes on")


if __name__ == "__main__":
    main()
