"""Tokens and dollars a teacher costs: the same decisions written in two reply formats.

    python perf/teacher_tokens.py TRACES.jsonl … [--input-price 2.50] [--output-price 10.00] [--json FILE]

The decisions are those of the rules teacher. ``two calls`` is the paper's protocol: the first call is given the trace and
copies it step by step with a skill each, the second is given that copy and answers with an action a step and the whole
pruned text. ``edit script`` is one call over numbered units. Prices are dollars per million tokens (the defaults are
GPT-4o's list prices as of 2025; give today's). Tokens are counted with the mini tokenizer, which splits English
finer than GPT-4o's, so ratios count and dollars are an upper bound. Prompts of the paper's calls are taken to be as long as ours.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.benchmarks.files import read_traces
from drp.cli.tables import print_table
from drp.engines.identity import resolve_model
from drp.pruning.apply import apply_script
from drp.pruning.skills import SKILLS, classify
from drp.records import EditScript, Trace
from drp.report.text import Table
from drp.teachers.edit_script import EditScriptSettings, EditScriptTeacher
from drp.teachers.line_protocol import render_edits
from drp.teachers.rules import RulesTeacher
from drp.text.tokens import FileTokenCounter
from drp.text.units import split_units

NAMES = {
    "keep": "KEEP",
    "delete": "DELETE",
    "rewrite": "SINGLE-STEP COMPRESS",
    "merge": "MULTI-STEP COMPRESS",
}


def steps_of(units: list[str]) -> list[tuple[str, str]]:
    """Return (text, skill) of every step: runs of units with one skill."""
    steps: list[tuple[str, str]] = []
    for unit in units:
        skill = classify(unit)
        if steps and steps[-1][1] == skill:
            steps[-1] = (steps[-1][0] + unit, skill)
        else:
            steps.append((unit, skill))
    return steps


def two_calls(trace: Trace, units: list[str], script: EditScript) -> tuple[list[str], list[str]]:
    """Return the texts that go in and come out of the paper's two calls."""
    steps = steps_of(units)
    copy = "\n".join(f"Step {n}: {text.strip()}\nSkill: {skill}" for n, (text, skill) in enumerate(steps, 1))
    actions = "\n".join(f"Step {n}: {NAMES[edit.action]}" for n, edit in enumerate(script.edits, 1))
    pruned = f"{actions}\n##\n{apply_script(units, script)}\n\n{trace.answer}"
    question = f"Question:\n{trace.question}\n\n"
    return [question + trace.thinking, question + copy], [copy, pruned]


def measure(path: Path, prices: tuple[float, float]) -> dict[str, Any]:
    """Return mean tokens per trace and dollars per 1,000 traces of both formats."""
    count = FileTokenCounter(resolve_model("mini"))
    teacher = EditScriptTeacher(None, EditScriptSettings())  # type: ignore[arg-type]  # only builds requests
    totals = {"two_calls": [0, 0], "edit_script": [0, 0]}
    traces = [t for t in read_traces(path) if t.thinking.strip()]
    system = 0
    for trace in traces:
        units = split_units(trace.thinking)
        script = RulesTeacher().script(trace.question, trace.answer, units)
        going, coming = two_calls(trace, units, script)
        requests = teacher.requests(trace, units)
        system = count(requests[0].messages[0].content)
        totals["two_calls"][0] += sum(map(count, going)) + 2 * system
        totals["two_calls"][1] += sum(map(count, coming))
        totals["edit_script"][0] += sum(count(m.content) for r in requests for m in r.messages)
        totals["edit_script"][1] += count(render_edits(script.edits))
    figures: dict[str, Any] = {
        "file": path.name,
        "traces": len(traces),
        "prompt_tokens": system,
        "skills": len(SKILLS),
    }
    for name, (going_in, coming_out) in totals.items():
        mean_in, mean_out = going_in / len(traces), coming_out / len(traces)
        dollars = (mean_in * prices[0] + mean_out * prices[1]) / 1e6 * 1000
        figures[name] = {"input": mean_in, "output": mean_out, "dollars_per_1000": dollars}
    return figures


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--input-price", type=float, default=2.50)
    parser.add_argument("--output-price", type=float, default=10.00)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = [measure(path, (args.input_price, args.output_price)) for path in args.traces]
    rows = []
    for f in found:
        old, new = f["two_calls"], f["edit_script"]
        rows.append((
            f["file"].removesuffix(".jsonl"), str(f["traces"]),
            f"{old['input']:.0f} / {old['output']:.0f}", f"{new['input']:.0f} / {new['output']:.0f}",
            f"{old['output'] / new['output']:.1f}×", f"{old['dollars_per_1000']:.2f}", f"{new['dollars_per_1000']:.2f}",
            f"{old['dollars_per_1000'] / new['dollars_per_1000']:.1f}×",
        ))  # fmt: skip
    head = (
        "file",
        "traces",
        "two calls in/out",
        "edit script in/out",
        "output",
        "$/1000",
        "$/1000 ours",
        "cost",
    )
    note = (
        f"Dollars at {args.input_price} in, {args.output_price} out per million tokens of the mini tokenizer."
    )
    print_table(Console(width=150), Table("Teacher tokens per trace", head, tuple(rows), note))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
