"""The laboratory: every method of the paper on the embedded student, one command, resumable.

    python tools/lab.py --work runs/lab --out results/mini-lab [--seeds 3] [--jobs 8] [--grid full|small] [section.field=value …]

Each row is one run folder under ``--work``; a row that is complete is not run again. Tables and figures (lab.json) are
written after every row. ``--grid small`` is one tier, one seed and three methods, for a CPU.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from drp.records import Trace
from drp.report.summary import by_benchmark, summarise_tier, tier_order
from drp.runs.folder import StageFolder

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "mini"
DRP = [sys.executable, "-W", "ignore", "-c", "from drp.cli.app import main; main()"]


@dataclass(frozen=True)
class Row:
    """One method at one seed."""

    name: str
    recipe: str
    changes: tuple[str, ...] = ()
    after: str | None = None
    """A row whose model this one needs, and the field that takes it."""
    takes: str = ""
    table: str = "methods"
    tags: dict[str, object] = field(default_factory=dict)


def grid(seeds: int, size: str) -> list[Row]:
    """Return the rows, those that others wait for first."""
    if size == "small":
        return [Row(f"{m}-0", m, (f"train.seed={0}",)) for m in ("drp", "self", "direct")]
    rows = [
        Row(f"{method}-{seed}", method, (f"train.seed={seed}",))
        for seed in range(seeds)
        for method in ("drp", "direct", "self")
    ]
    first = [
        Row("think_prune-0", "think_prune"),
        Row("drp_rl-0", "drp_rl", (), "drp-0", "student.model"),
        Row("cot_valve-0", "cot_valve", (), "direct-0", "valve.short_model"),
    ]
    ablations = [
        Row("sentences-0", "drp", ("prune.rules.segmentation=default",), table="segmentation"),
        Row("whole-0", "drp", ("prune.rules.segmentation=none", "prune.checks.min_length_ratio=0"), table="segmentation"),
        Row("mistakes-10-0", "drp", ("prune.rules.mistakes=0.1",), table="teacher"),
        Row("mistakes-30-0", "drp", ("prune.rules.mistakes=0.3",), table="teacher"),
        Row("short-answer-0", "drp", ("prune.answer=short",), table="answer"),
        Row("checks-kept-0", "drp", ("prune.rules.keep_checks=9",), table="style"),
    ]  # fmt: skip
    return [*rows[:2], first[0], *first[1:], *rows[2:], *ablations]


class Lab:
    """Runs rows and writes what they come to."""

    def __init__(self, work: Path, out: Path, changes: list[str]) -> None:
        self.work, self.out, self.changes, self.lock = work, out, changes, Lock()
        self.results: dict[str, object] = {}
        self.done: dict[str, bool] = {}
        out.mkdir(parents=True, exist_ok=True)

    def drp(self, folder: Path, *arguments: str) -> None:
        """Run one command, its output in the row's log."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as log:
            subprocess.run([*DRP, *arguments, "--out", str(folder)], stdout=log, stderr=log, check=True)

    def base(self) -> None:
        """Draw the student's traces and evaluate it, once for all rows."""
        recipe = str(RECIPES / "drp.yaml")
        self.drp(self.work / "base", "generate", recipe, *self.changes)
        self.drp(self.work / "base", "evaluate", recipe, *self.changes)

    def row(self, row: Row) -> None:
        """Run one row on copies of what is common."""
        folder, began = self.work / row.name, time.monotonic()
        changes = [*self.changes, *row.changes]
        while row.after and not self.done.get(row.after):
            if self.done.get(row.after) is False:
                raise RuntimeError(f"{row.name} needs {row.after}, which failed")
            time.sleep(0.5)
        if row.after:
            changes.append(f"{row.takes}={self.work / row.after / 'train' / 'model'}")
        if row.takes != "student.model":
            for stage in ("generate", "evaluate/base"):
                if not (folder / stage).exists():
                    shutil.copytree(self.work / "base" / stage, folder / stage)
        try:
            recipe = str(RECIPES / f"{row.recipe}.yaml")
            if not (folder / "train" / "model").exists():
                stages = {
                    "cot_valve": ("run",),
                    "think_prune": ("train",),
                    "drp_rl": ("train",),
                    "self": ("train",),
                }
                for stage in stages.get(row.recipe, ("prune", "train")):
                    self.drp(folder, stage, recipe, *changes)
            self.done[row.name] = True
            self.drp(folder, "evaluate", recipe, *changes)
        except subprocess.CalledProcessError:
            self.done[row.name] = False
            print(f"{row.name} failed:", (folder / "log.txt").read_text()[-1500:], flush=True)
            return
        self.note(row, folder, time.monotonic() - began)

    def note(self, row: Row, folder: Path, seconds: float) -> None:
        """Compare a row with the base, and write all there is."""
        before = by_benchmark(StageFolder(self.work / "base/evaluate/base", "base").records(Trace))
        after = by_benchmark(StageFolder(folder / "evaluate/distilled", "distilled").records(Trace))
        tiers = [summarise_tier(b, before[b], after[b]) for b in sorted(after, key=tier_order)]
        train = StageFolder(folder / "train", "train").manifest()
        learnability = folder / "train" / "learnability.json"
        with self.lock:
            self.results[row.name] = {
                "table": row.table, "changes": row.changes, "wall_s": round(seconds, 1),
                "train_s": round(train.seconds, 1) if train else None,
                "train_counts": train.counts if train else {},
                "learnability": json.loads(learnability.read_text()) if learnability.exists() else None,
                "tiers": [tier.model_dump(mode="json") for tier in tiers],
            }  # fmt: skip
            (self.out / "lab.json").write_text(json.dumps(self.results, indent=1) + "\n")
            (self.out / "tables.md").write_text(table(self.results))
        print(
            row.name,
            f"{seconds:.0f} s",
            *(
                f"{100 * t.distilled.accuracy:.1f}/{t.distilled.tokens_mean:.0f}"
                for t in tiers
                if t.distilled
            ),
            flush=True,
        )


def table(results: dict) -> str:
    """Return accuracy / tokens of every row on every tier, and the change against the base, in Markdown."""
    some = next(iter(results.values()))["tiers"]
    names = [tier["benchmark"] for tier in some]
    lines = [
        "| run | " + " | ".join(names) + " | training, s |",
        "|---" * (len(names) + 2) + "|",
        "| base | "
        + " | ".join(f"{100 * t['base']['accuracy']:.1f} / {t['base']['tokens_mean']:.0f}" for t in some)
        + " | – |",
    ]
    for name, row in results.items():
        cells: list[str] = []
        for tier in row["tiers"]:
            m, c = tier["distilled"], tier["comparison"]
            low, high = (100 * c["accuracy_difference_interval"][k] for k in ("low", "high"))
            shown = "" if c["non_inferiority"]["shown"] else " ✗"
            cells.append(
                f"{100 * m['accuracy']:.1f} / {m['tokens_mean']:.0f} ({100 * c['accuracy_difference']:+.1f} "
                f"[{low:+.1f}, {high:+.1f}]{shown}, {100 * (c['tokens_ratio'] - 1):+.0f} %)"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['train_s']} |")
    return "\n".join(lines) + "\n\n✗: not shown to be non-inferior by one point.\n"


def main() -> None:
    """Parse arguments, run the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/lab"))
    parser.add_argument("--out", type=Path, default=Path("results/mini-lab"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--grid", choices=("full", "small"), default="full")
    parser.add_argument("changes", nargs="*", help="changes to every recipe: section.field=value")
    args = parser.parse_args()
    lab = Lab(args.work.resolve(), args.out, args.changes)
    lab.base()
    with ThreadPoolExecutor(args.jobs) as pool:
        for _ in pool.map(lab.row, grid(args.seeds, args.grid)):
            pass
    print(table(lab.results) if lab.results else "nothing came of it")


if __name__ == "__main__":
    main()
