"""Which limits on likelihood tell faulty prunings from sound ones, on traces of the embedded student.

    python tools/seam_limits.py RUN [--most 30] [--seed 0] [--out results/student-teacher/limits]

``RUN`` is a run folder with generated traces. Faults and sound prunings are planted in them by the rules of ``tools/plants``, and the
student measures each (`drp.teachers.seams`): the rise of the NLL per token, and the greatest fall of a sentence behind a seam. A limit
is chosen on the half ``mend`` of the traces (least sum of both error shares) and judged on the half ``hold``. Beside it stands what the checks
that read the text find in the same prunings.
"""

import argparse
import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from drp.teachers.seams import Likelihoods, measure
from drp.text.units import split_units
from planted_faults import half_of, judge
from plants import SETS, Plant, Pruning, Source

CONTENT = ("concluded", "supported", "no_slip_kept", "own_share", "reflection")
"""Checks whose plants are used: those of form and arithmetic are no matter of likelihood."""
ABOUT_STYLE = ("own_share", "reflection")
"""What these plant is not wrong, but not the student's habit: shown, and not counted as a fault."""


@dataclass(frozen=True)
class Measured:
    """One pruning, what the student says of it and what the text's checks do."""

    trace: str
    kind: str
    check: str
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


async def measured(traces: Sequence[Trace], most: int, seed: int, grader: Grader) -> list[Measured]:
    """Plant, at most so many of a kind, and measure."""
    scorer, speller = open_student(StudentSettings(device="cpu"), PromptSettings())
    counts, seen, found = counting("digits", speller), Counter[str](), list[Measured]()

    async def one(trace: Trace, check: str, source: Source, pruning: Pruning) -> Measured:
        units = pruning.units or source.units
        whole = trace.model_copy(update={"thinking": "".join(units)})
        answer = pruning.answer or trace.answer
        likelihoods = await measure(scorer, speller, counts, whole, units, pruning.script, answer)
        checks, _ = judge(source, pruning, grader)
        refused = tuple(name for name, made in checks.items() if not made.passed)
        return Measured(trace.id, pruning.kind, check, pruning.sound, likelihoods, refused)

    for trace in traces:
        source = Source(
            trace.id, trace.question, trace.gold, tuple(split_units(trace.thinking)), trace.answer, ""
        )
        jobs: list[tuple[str, Pruning]] = []
        for check, plant in plants().values():
            pruning = plant(source, random.Random(f"{seed} {trace.id}"))
            if pruning and seen[pruning.kind] < most:
                seen[pruning.kind] += 1
                jobs.append((check, pruning))
        found += await asyncio.gather(*(one(trace, check, source, pruning) for check, pruning in jobs))
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


def tables(rows: Sequence[Measured]) -> list[Table]:
    """Return the figures by kind of pruning, the chosen limits, and what a limit adds to the text's checks."""
    kinds: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(sorted((r.sound, r.check, r.kind) for r in rows)):
        here = [r for r in rows if (r.sound, r.check, r.kind) == kind]
        word = "sound" if kind[0] else "style" if kind[1] in ABOUT_STYLE else "fault"
        medians = [f"{statistics.median(figure(r) for r in here):.2f}" for figure in FIGURES.values()]
        refused = sum(bool(r.refused_by) for r in here)
        kinds.append((kind[2], word, str(len(here)), *medians, f"{refused}/{len(here)}"))
    counted = [r for r in rows if r.sound or r.check not in ABOUT_STYLE]
    mend, hold = ([r for r in counted if half_of(r.trace) == half] for half in ("mend", "hold"))
    limits: list[tuple[str, ...]] = []
    for name, figure in FIGURES.items():
        best = chosen(mend, figure)
        for limit in sorted({best, *([0.05, 0.1, 0.2, 0.3] if "NLL" in name else [3, 5, 8, 12])}):
            shares = [percent(share) for half in (mend, hold) for share in errors(half, figure, limit)]
            limits.append((name, f"{limit:g}{' (chosen)' if limit == best else ''}", *shares))
    text: list[tuple[str, ...]] = []
    by_text = {"text alone": lambda _: False}  # type: ignore[var-annotated]
    for name, figure in FIGURES.items():
        best = chosen(mend, figure)
        by_text[f"text, and {name} ≤ {best:g}"] = lambda r, figure=figure, best=best: figure(r) > best
    for name, also in by_text.items():
        refused = [r for r in hold if r.refused_by or also(r)]
        faults, sound = sum(not r.sound for r in hold), sum(r.sound for r in hold)
        accepted = faults - sum(not r.sound for r in refused)
        text.append((name, f"{accepted} of {faults}", f"{sum(r.sound for r in refused)} of {sound}"))
    head = (
        "pruning",
        "it is",
        "n",
        "NLL rise",
        "worst sentence",
        "all behind",
        "mathematics",
        "refused by the text's checks",
    )
    sizes = f"mend {len(mend)}, hold {len(hold)} prunings"
    return [
        Table("What the student says of planted prunings: medians, nats", head, tuple(kinds)),
        Table(
            f"Limits, chosen on mend: {sizes}",
            ("figure", "limit", "faults accepted, mend", "sound refused, mend", "faults accepted, hold", "sound refused, hold"),
            tuple(limits),
        ),
        Table("Together with the checks that read the text, on hold", ("checks", "faults accepted", "sound refused"), tuple(text)),
    ]  # fmt: skip


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--most", type=int, default=30, help="prunings of one kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with Grader() as grader:
        drawn = RunReader(args.run).records(layout.GENERATE, Trace)
        traces = [t for t in drawn if t.closed and t.answer.strip() and grader.solves(t.answer, t)]
        random.Random(args.seed).shuffle(traces)
        rows = asyncio.run(measured(traces, args.most, args.seed, grader))
    found = tables(rows)
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
            {"trace": r.trace, "kind": r.kind, "check": r.check, "sound": r.sound, "refused_by": r.refused_by,
             **{name: round(figure(r), 3) for name, figure in FIGURES.items()}}
            for r in rows
        ]  # fmt: skip
        (args.out / "prunings.json").write_text(
            json.dumps({"command": command, "prunings": record}, indent=0) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
