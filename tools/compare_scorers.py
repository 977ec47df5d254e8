"""Teachers that ask the student, beside controls, on the same traces of the embedded student: what they keep, and what it is worth.

    python tools/compare_scorers.py RUN [--traces 40] [--seed 0] [--out results/student-teacher] [--texts FOLDER]

``RUN`` is a run folder with generated traces. Every teacher is tried at several settings, so that they can be compared at about equal
length. ``--texts`` writes each pruned trace, with its seams marked, beside its original, to be read.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console

from drp.engines.scoring import Scorer
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.spelling import Speller
from drp.engines.student_scoring import open_student
from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import Candidate, CheckLimits, run_checks
from drp.pruning.show import marked
from drp.pruning.support import stated_values
from drp.recipe import PruneSettings
from drp.records import EditScript, Trace
from drp.reporting.terminal import print_table
from drp.reporting.text import Table, markdown, percent
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.teachers.by_student import ByStudentSettings
from drp.teachers.counting import counting
from drp.teachers.registry import TeacherContext
from drp.teachers.seams import Likelihoods, measure
from drp.teachers.student import StudentTeacher, StudentTeacherSettings
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in
from drp.text.units import split_units

SETTINGS: tuple[dict[str, Any], ...] = (
    {"kind": "student", "coherence": 8},
    {"kind": "student", "coherence": 20},
    {"kind": "answer_likelihood"},
    {"kind": "answer_likelihood", "answer": 0.2, "following": 1.0},
    {"kind": "answer_likelihood", "answer": 0.5, "following": 2.0},
    {"kind": "answer_perplexity"},
    {"kind": "answer_perplexity", "share": 1.0},
    {"kind": "attention_saliency"},
    {"kind": "attention_saliency", "payer": "answer"},
    {"kind": "rules"},
    {"kind": "first_conclusion"},
    {"kind": "random_units"},
)


@dataclass(frozen=True)
class Judged:
    """One pruned trace."""

    trace: str
    before: int
    """Tokens of the response …"""
    after: int
    """… and of the pruned one."""
    likelihoods: Likelihoods
    answers: bool
    unstated: int
    """Operands of kept equations that neither the question nor anything kept before states."""
    refused_by: tuple[str, ...]
    text: str


def unstated(question: str, thinking: str) -> int:
    """Return how many operands of a text's equations are stated nowhere before."""
    known, missing = stated_values(question), 0
    for unit in split_units(thinking):
        for equation in find_equations(unit):
            missing += sum(operand not in known for operand in numbers_in(equation.left))
            known |= set(numbers_in(equation.left)) | (
                {equation.value} if equation.value is not None else set()
            )
        known |= stated_values(unit)
    return missing


class Comparison:
    """Prunes with every setting and judges alike."""

    def __init__(self, scorer: Scorer, speller: Speller, grader: Grader) -> None:
        self.scorer, self.speller, self.grader = scorer, speller, grader
        self.counts = counting("digits", speller)
        self.guard = StudentTeacher(StudentTeacherSettings(), scorer, speller, grader.solves)

    async def all(self, traces: Sequence[Trace]) -> dict[str, list[Judged]]:
        """Return what every setting makes of the traces."""
        return {name_of(settings): await self.pruned(settings, traces) for settings in SETTINGS}

    async def pruned(self, settings: dict[str, Any], traces: Sequence[Trace]) -> list[Judged]:
        """Return what one teacher makes of the traces."""
        chosen = TypeAdapter(PruneSettings).validate_python({"teacher": settings}).teacher
        if isinstance(chosen, ByStudentSettings):
            quiet = chosen.model_copy(update={"answer_tokens": 0})  # judged below, for all alike
            teacher = quiet.teacher(self.scorer, self.speller, self.grader.solves)
            proposals = await asyncio.gather(*(teacher.prune(t, split_units(t.thinking)) for t in traces))
        else:
            async with chosen.open(TeacherContext(Path())) as opened:
                proposals = [await opened.teacher.prune(t, split_units(t.thinking)) for t in traces]
        pairs = zip(traces, proposals, strict=True)
        return list(
            await asyncio.gather(*(self._judged(trace, proposal.script) for trace, proposal in pairs))
        )

    async def _judged(self, trace: Trace, script: EditScript) -> Judged:
        units, prompt = split_units(trace.thinking), self.speller.prompt(trace.question, trace.task)
        thinking = apply_script(units, script)
        candidate = Candidate(trace.question, trace.gold, units, trace.answer, script, thinking, trace.answer)
        checks = run_checks(candidate, self.grader.is_correct, CheckLimits())
        lengths = [
            len(self.speller.whole(trace.question, text, trace.answer, trace.task)) - len(prompt)
            for text in (trace.thinking, thinking)
        ]
        return Judged(
            trace=trace.id,
            before=lengths[0],
            after=lengths[1],
            likelihoods=await measure(
                self.scorer, self.speller, self.counts, trace, units, script, trace.answer
            ),
            answers=await self.guard.still_answers(trace, thinking, prompt),
            unstated=unstated(trace.question, thinking),
            refused_by=tuple(check.name for check in checks if not check.passed),
            text=f"{trace.question}\n\n--- original\n{trace.thinking}\n\n--- pruned\n{marked(units, script)}\n",
        )


def name_of(settings: dict[str, Any]) -> str:
    """Return a setting's name in the table."""
    return ", ".join([settings["kind"], *(f"{k} {v}" for k, v in settings.items() if k != "kind")])


def row(name: str, judged: Sequence[Judged]) -> tuple[str, ...]:
    """Return the figures of one setting."""
    before, after = mean(j.before for j in judged), mean(j.after for j in judged)
    refused = Counter(name for j in judged for name in j.refused_by).most_common(3)
    worst = [max((s.worst_fall for s in j.likelihoods.seams), default=0.0) for j in judged]
    return (
        name,
        f"{before:.0f} → {after:.0f} ({percent(after / before)})",
        f"{mean(j.likelihoods.pruned for j in judged):.3f}",
        f"{mean(worst):.1f}",
        f"{sum(j.answers for j in judged)}",
        f"{sum(j.unstated > 0 for j in judged)}",
        f"{sum(not j.refused_by for j in judged)}",
        ", ".join(f"{check} {count}" for check, count in refused),
    )


def main() -> None:
    """Parse arguments, prune, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--traces", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--texts", type=Path)
    args = parser.parse_args()
    with Grader() as grader:
        drawn = RunReader(args.run).records(layout.GENERATE, Trace)
        traces = [t for t in drawn if t.closed and t.answer.strip() and grader.solves(t.answer, t)]
        traces = random.Random(args.seed).sample(traces, min(args.traces, len(traces)))
        comparison = Comparison(*open_student(StudentSettings(device="cpu"), PromptSettings()), grader)
        found = asyncio.run(comparison.all(traces))
    own = mean(j.likelihoods.original for j in next(iter(found.values())))
    head = ("teacher", "response tokens", "NLL per token", "worst fall behind a seam, mean", "still answers", "with an unstated operand",
            "pass the text's checks", "refused most by")  # fmt: skip
    table = Table(
        f"{len(traces)} traces, whose own NLL is {own:.3f}",
        head,
        tuple(row(name, judged) for name, judged in found.items()),
    )
    print_table(Console(width=220), table)
    command = f"python tools/compare_scorers.py RUN --traces {args.traces} --seed {args.seed}"
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "variants_table.md").write_text(
            f"{markdown(table)}\n\nMade with `{command}`.\n", encoding="utf-8"
        )
        record = {
            name: [
                {"trace": j.trace, "before": j.before, "after": j.after, "nll": round(j.likelihoods.pruned, 4), "answers": j.answers,
                 "unstated": j.unstated, "refused_by": j.refused_by}
                for j in judged
            ]
            for name, judged in found.items()
        }  # fmt: skip
        (args.out / "variants.json").write_text(
            json.dumps({"command": command, "teachers": record}, indent=0) + "\n", encoding="utf-8"
        )
    for name, judged in found.items() if args.texts else ():
        args.texts.mkdir(parents=True, exist_ok=True)
        body = "\n\n==========\n".join(
            f"{j.trace} {j.before}→{j.after} NLL {j.likelihoods.pruned:.3f} answers {j.answers} unstated {j.unstated} {j.refused_by}\n{j.text}"
            for j in judged
        )
        (args.texts / f"{name}.txt").write_text(body, encoding="utf-8")


if __name__ == "__main__":
    main()
