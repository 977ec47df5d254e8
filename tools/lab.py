"""The laboratory: every method of the paper on the embedded student, one command, resumable.

    python tools/lab.py --work runs/lab --out results/mini-lab [--seeds 3] [--jobs 8] [--grid full|small] [section.field=value …]

Each row is one run folder under ``--work``; a row that is complete is not run again. Figures (lab.json) and tables are
written after every row, plots at the end. ``--grid small`` is one seed and three methods, for a CPU.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

import lab_report
from drp.engines.identity import resolve_model
from drp.records import Trace
from drp.report.summary import by_benchmark, summarise_tier, tier_order
from drp.runs.folder import StageFolder
from drp.stages.train import RlStep

RECIPES = Path(__file__).resolve().parent.parent / "recipes" / "mini"
DRP = [sys.executable, "-W", "ignore", "-c", "from drp.cli.app import main; main()"]


STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
BINS = np.arange(0, 1201, 20)


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

    @property
    def moves_student(self) -> bool:
        """Whether the row starts from another student than the embedded one, whose traces it cannot share."""
        return self.takes == "student.model"


def grid(seeds: int, size: str) -> list[Row]:
    """Return the rows, those that others wait for first."""
    if size == "small":
        return [Row(f"{m}-0", m, ("train.seed=0",)) for m in ("drp", "self", "direct")]
    harder = ("rl.steps=80", "rl.length_weight=0.3", "rl.most_loss=0.03", "rl.validation=256", "rl.looks=4")
    rows: list[Row] = []
    for method, recipe, after, takes, changes in (
        ("self", "self", None, "", ()),
        ("drp", "drp", None, "", ()),
        ("direct", "direct", None, "", ()),
        ("self_drp", "drp", "self", "student.model", ()),
        ("think_prune", "think_prune", None, "", ()),
        ("drp_rl", "drp_rl", "drp", "student.model", ()),
        ("self_drp_rl", "drp_rl", "self_drp", "student.model", harder),
        ("cot_valve", "cot_valve", "direct", "valve.short_model", ()),
    ):
        rows += [
            Row(f"{method}-{s}", recipe, (f"train.seed={s}", *changes), after and f"{after}-{s}", takes)
            for s in range(seeds)
        ]
    return [
        *rows,
        Row("drp_rl_long-0", "drp_rl", harder, "drp-0", "student.model", "rl"),
        Row("drp_rl_kl-0", "drp_rl", ("rl.kl=0.05",), "drp-0", "student.model", "rl"),
        Row("sentences-0", "drp", ("prune.rules.segmentation=default",), table="segmentation"),
        Row("whole-0", "drp", ("prune.rules.segmentation=none", "prune.checks.min_length_ratio=0"), table="segmentation"),
        Row("mistakes-10-0", "drp", ("prune.rules.mistakes=0.1",), table="teacher"),
        Row("mistakes-30-0", "drp", ("prune.rules.mistakes=0.3",), table="teacher"),
        Row("short-answer-0", "drp", ("prune.answer=short",), table="answer"),
        Row("checks-kept-0", "drp", ("prune.rules.keep_checks=9",), table="style"),
    ]  # fmt: skip


class Lab:
    """Runs rows and writes what they come to."""

    def __init__(self, work: Path, out: Path, changes: list[str]) -> None:
        self.work, self.out, self.changes, self.lock = work, out, changes, Lock()
        self.results: dict[str, dict[str, Any]] = {}
        self.curves: dict[str, list[dict[str, Any]]] = {}
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
        if not row.moves_student:
            for stage in ("generate", "evaluate/base"):
                if not (folder / stage).exists():
                    shutil.copytree(self.work / "base" / stage, folder / stage)
        try:
            recipe = str(RECIPES / f"{row.recipe}.yaml")
            if not (folder / "train" / "model").exists():
                if row.recipe == "cot_valve":
                    stages = ["run"]
                elif row.recipe in ("think_prune", "drp_rl", "self"):
                    stages = ["train"]
                else:
                    stages = [*(["generate"] if row.moves_student else []), "prune", "train"]
                for stage in stages:
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
                "table": row.table, "changes": row.changes, "after": row.after, "wall_s": round(seconds, 1),
                "train_s": round(train.seconds, 1) if train else None,
                "train_counts": train.counts if train else {},
                "learnability": json.loads(learnability.read_text()) if learnability.exists() else None,
                "sampled_before": _tokens(StageFolder(self.work / "base/generate", "generate").records(Trace)),
                "histograms": {b: [_histogram(before[b]), _histogram(after[b])] for b in after},
                "tiers": [tier.model_dump(mode="json") for tier in tiers],
            }  # fmt: skip
            if row.recipe in ("think_prune", "drp_rl"):
                steps = StageFolder(folder / "train", "train").records(RlStep)
                self.results[row.name]["rl"] = [[s.step, s.reward, s.tokens] for s in steps]
            self.write()
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

    def write(self) -> None:
        """Write the figures and the tables."""
        kept = {"rows": dict(sorted(self.results.items())), "curves": self.curves}
        (self.out / "lab.json").write_text(json.dumps(kept) + "\n")
        (self.out / "tables.md").write_text(lab_report.tables(kept))

    def point(self, name: str, strength: float) -> None:
        """Evaluate a row's adapter at another strength, once over the problems."""
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.sft import merge

        folder = self.work / "curves" / f"{name}-{strength:g}"
        model, base = folder / "merged", resolve_model("mini")
        if not self.done.get(name):
            return
        if not model.exists():
            merge(base, self.work / name / "train" / "adapter", strength, load_tokenizer(base), model)
        recipe = str(RECIPES / "drp.yaml")
        self.drp(folder, "evaluate", recipe, *self.changes, f"student.model={model}", "evaluate.runs=1")
        found = by_benchmark(StageFolder(folder / "evaluate/base", "base").records(Trace))
        tiers = [summarise_tier(b, found[b], None) for b in sorted(found, key=tier_order)]
        with self.lock:
            self.curves.setdefault(name, []).append(
                {"strength": strength, "tiers": [t.base.model_dump(mode="json") for t in tiers]}
            )
            self.curves[name].sort(key=lambda p: p["strength"])
            self.write()


def _tokens(traces: list[Trace]) -> int:
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
    parser.add_argument("changes", nargs="*", help="changes to every recipe: section.field=value")
    args = parser.parse_args()
    lab = Lab(args.work.resolve(), args.out, args.changes)
    lab.base()
    with ThreadPoolExecutor(args.jobs) as pool:
        for _ in pool.map(lab.row, grid(args.seeds, args.grid)):
            pass
        if args.grid == "full":
            for _ in pool.map(
                lab.point, *zip(*((n, s) for n in ("cot_valve-0", "drp-0") for s in STRENGTHS), strict=True)
            ):
                pass
    if not lab.results:
        sys.exit("nothing came of it")
    print((args.out / "tables.md").read_text())
    lab_report.plots(args.out)


if __name__ == "__main__":
    main()
