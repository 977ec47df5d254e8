"""Which limits on likelihood tell faulty prunings from sound ones, on traces of the embedded student.

    python tools/seam_limits.py RUN [--most 30] [--seed 0] [--out results/student-teacher/limits]

``RUN`` is a run folder with generated traces. Faults and sound prunings are planted in them by the rules of ``tools/plants``, and the
student measures each (`drp.teachers.seams`): the rise of the NLL per token, and the greatest fall of a sentence behind a seam. A limit
is chosen on the half ``mend`` of the traces (least sum of both error shares) and judged on the half ``hold``. Beside it stands what the checks
that read the text find in the same prunings.

That is done three times: with faults planted in whole traces; with faults planted in what `rules` made of them, which is
what a teacher that errs looks like; and with texts that are sound but foreign, against those in the student's own words.
"""

import argparse
import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.student_scoring import open_student
from drp.grading.grader import Grader
from drp.records import Trace
from drp.reporting.terminal import print_table
from drp.reporting.text import Table, markdown, percent
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.teachers.counting import counting
from drp.teachers.rules import RulesSettings, RulesTeacher
from drp.teachers.seams import Likelihoods, measure
from drp.text.units import split_units
from planted_faults import half_of, judge
from plants import SETS, Plant, Pruning, Source, conclusions, second, supports
from plants.base import edited

CONTENT = ("concluded", "supported", "no_slip_kept", "own_share")
"""Checks whose plants are used: those of form and arithmetic are no matter of likelihood."""
LOSSES = (supports.value_lost, second.paragraph_lost, conclusions.ends_early, conclusions.conclusion_deleted)
"""What is planted in a pruned trace: each deletes something that is needed, and the first two what later sentences use."""


@dataclass(frozen=True)
class Measured:
    """One pruning, what the student says of it and what the text's checks do."""

    trace: str
    group: str
    """``whole``, ``pruned`` or ``style``: what is told apart from what."""
    kind: str
    sound: bool
    likelihoods: Likelihoods
    refused_by: tuple[str, ...]

    @property
    def rise(self) -> float:
        """Nats per token."""
        return self.likelihoods.rise

    @property
    def fall(self) -> float:
        """The greatest fall of a sentence behind a seam, in nats."""
        return max((seam.worst_fall for seam in self.likelihoods.seams), default=0.0)

    @property
    def coherence(self) -> float:
        """The greatest fall of all behind a seam, in nats."""
        return max((seam.coherence for seam in self.likelihoods.seams), default=0.0)

    @property
    def support(self) -> float:
        """The greatest fall of the mathematics behind a seam, in nats."""
        return max((seam.support for seam in self.likelihoods.seams), default=0.0)


FIGURES: dict[str, Callable[[Measured], float]] = {
    "rise of the NLL per token (max_nll_rise)": lambda m: m.rise,
    "worst sentence behind a seam (max_seam_fall)": lambda m: m.fall,
    "all behind a seam": lambda m: m.coherence,
    "mathematics behind a seam": lambda m: m.support,
}


def plants() -> dict[str, tuple[str, Plant]]:
    """Return the plants by name, each with the check it is for; those shared by several once."""
    found: dict[str, tuple[str, Plant]] = {}
    for planted in SETS.values():
        for check in CONTENT:
            for plant in planted[check]:
                found.setdefault(plant.__name__, (check, plant))
    return found


def planted(source: Source, rng_seed: str) -> Iterator[tuple[str, Pruning]]:
    """Yield the prunings of a trace, each with its group."""
    for check, plant in plants().values():
        if pruning := plant(source, random.Random(rng_seed)):
            yield ("style" if check == "own_share" else "whole"), pruning


async def erring(trace: Trace, source: Source) -> list[tuple[str, Pruning]]:
    """Return what `rules` makes of a trace, the same with something lost in it, and two controls."""
    teacher = RulesTeacher(RulesSettings())
    script = (await teacher.prune(trace, source.units)).script
    kept = [i for e in script.edits if e.action == "keep" for i in range(e.first, e.last + 1)]
    gone = set(range(len(source.units))) - set(kept)
    if not gone or any(e.text is not None for e in script.edits):
        return []
    found = [("pruned", Pruning("rules", True, edited(source.units, gone)))]
    shorter = replace(source, units=tuple(source.units[i] for i in kept))
    for plant in LOSSES:
        if pruning := plant(shorter, random.Random(trace.id)):
            deleted = [
                i for e in pruning.script.edits if e.action == "delete" for i in range(e.first, e.last + 1)
            ]
            lost = {kept[i] for i in deleted}
            found.append(
                ("pruned", Pruning(f"rules, {pruning.kind}", False, edited(source.units, gone | lost)))
            )
    drawn = random.Random(trace.id)
    half = {i for i in range(len(source.units) - 1) if drawn.random() < 0.5}
    return [*found, ("pruned", Pruning("half the units at random", False, edited(source.units, half)))]


async def measured(traces: Sequence[Trace], most: int, seed: int, grader: Grader) -> list[Measured]:
    """Plant, at most so many of a kind, and measure."""
    scorer, speller = open_student(StudentSettings(device="cpu"), PromptSettings())
    counts, seen, found = counting("digits", speller), Counter[str](), list[Measured]()

    async def one(trace: Trace, group: str, source: Source, pruning: Pruning) -> Measured:
        units = pruning.units or source.units
        whole = trace.model_copy(update={"thinking": "".join(units)})
        answer = pruning.answer or trace.answer
        likelihoods = await measure(scorer, speller, counts, whole, units, pruning.script, answer)
        checks, _ = judge(source, pruning, grader)
        refused = tuple(name for name, made in checks.items() if not made.passed)
        return Measured(trace.id, group, pruning.kind, pruning.sound, likelihoods, refused)

    for trace in traces:
        units = tuple(split_units(trace.thinking))
        source = Source(trace.id, trace.question, trace.gold, units, trace.answer, "")
        every = [*planted(source, f"{seed} {trace.id}"), *await erring(trace, source)]
        jobs: list[tuple[str, Pruning]] = []
        for group, pruning in every:
            if seen[pruning.kind] < (2 * most if group == "pruned" else most):
                seen[pruning.kind] += 1
                jobs.append((group, pruning))
        found += await asyncio.gather(*(one(trace, group, source, pruning) for group, pruning in jobs))
    return found


def errors(
    rows: Sequence[Measured], figure: Callable[[Measured], float], limit: float
) -> tuple[float, float]:
    """Return the shares of faults accepted and of sound prunings refused under a limit."""
    faults, sound = [r for r in rows if not r.sound], [r for r in rows if r.sound]
    return (
        sum(figure(r) <= limit for r in faults) / max(1, len(faults)),
        sum(figure(r) > limit for r in sound) / max(1, len(sound)),
    )


def chosen(rows: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    """Return the limit with the least sum of both shares, rounded to two figures."""
    return min((float(f"{figure(r):.2g}") for r in rows), key=lambda limit: sum(errors(rows, figure, limit)))


def by_kind(rows: Sequence[Measured]) -> Table:
    """Return the medians of each kind of pruning."""
    kinds: list[tuple[str, ...]] = []
    for group, sound, kind in sorted({(r.group, r.sound, r.kind) for r in rows}):
        here = [r for r in rows if (r.group, r.sound, r.kind) == (group, sound, kind)]
        medians = [f"{statistics.median(figure(r) for r in here):.2f}" for figure in FIGURES.values()]
        refused = sum(bool(r.refused_by) for r in here)
        kinds.append(
            (group, kind, "sound" if sound else "fault", str(len(here)), *medians, f"{refused}/{len(here)}")
        )
    head = (
        "group",
        "pruning",
        "it is",
        "n",
        "NLL rise",
        "worst sentence",
        "all behind",
        "mathematics",
        "refused by the text's checks",
    )
    return Table("What the student says of planted prunings: medians, nats", head, tuple(kinds))


def limits(rows: Sequence[Measured], group: str) -> Table:
    """Return how limits tell the faults of a group from what is sound."""
    mend, hold = (
        [r for r in rows if r.group == group and half_of(r.trace) == half] for half in ("mend", "hold")
    )
    found: list[tuple[str, ...]] = []
    for name, figure in FIGURES.items():
        best = chosen(mend, figure)
        for limit in sorted({best, *((0.1, 0.2, 0.3, 0.5, 1, 2) if "NLL" in name else (5, 12, 20, 30))}):
            shares = [percent(share) for half in (mend, hold) for share in errors(half, figure, limit)]
            unseen = [r for r in hold if not r.refused_by]
            also = f"{sum(figure(r) > limit for r in unseen if not r.sound)} of {sum(not r.sound for r in unseen)}"
            found.append((name, f"{limit:g}{' (chosen)' if limit == best else ''}", *shares, also))
    sizes = ", ".join(
        f"{half} {sum(not r.sound for r in part)} faults and {sum(r.sound for r in part)} sound"
        for half, part in (("mend", mend), ("hold", hold))
    )
    head = ("figure", "limit", "faults accepted, mend", "sound refused, mend", "faults accepted, hold", "sound refused, hold",
            "of the faults that the text's checks accept, it refuses (hold)")  # fmt: skip
    return Table(f"Limits, group {group}: {sizes}", head, tuple(found))


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--most",
        type=int,
        default=30,
        help="prunings of one kind; twice as many of those that a teacher would make",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with Grader() as grader:
        drawn = RunReader(args.run).records(layout.GENERATE, Trace)
        traces = [t for t in drawn if t.closed and t.answer.strip() and grader.solves(t.answer, t)]
        random.Random(args.seed).shuffle(traces)
        rows = asyncio.run(measured(traces, args.most, args.seed, grader))
    found = [by_kind(rows), *(limits(rows, group) for group in ("pruned", "whole", "style"))]
    for table in found:
        print_table(Console(width=200), table)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        command = f"python tools/seam_limits.py RUN --most {args.most} --seed {args.seed}"
        body = "\n\n".join(markdown(table) for table in found)
        (args.out / "table.md").write_text(
            f"{body}\n\n{len(traces)} right, closed traces. Made with `{command}`.\n", encoding="utf-8"
        )
        record = [
            {"trace": r.trace, "group": r.group, "kind": r.kind, "sound": r.sound, "refused_by": r.refused_by,
             **{name: round(figure(r), 3) for name, figure in FIGURES.items()}}
            for r in rows
        ]  # fmt: skip
        (args.out / "prunings.json").write_text(
            json.dumps({"command": command, "prunings": record}, indent=0) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
