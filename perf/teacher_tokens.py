"""Tokens and dollars a teacher costs: the same decisions written in each protocol's reply format.

    python perf/teacher_tokens.py TRACES.jsonl … [--replies FILE] [--model gpt-4o] [--tokenizer PATH] [--json FILE]

The decisions are those of the rules teacher; the requests are those the protocols really send. ``two_stage`` is the
paper's: one call copies the trace step by step with a skill each, another answers with a decision a step and the whole
pruned text. ``edit_script`` is one call over numbered units, answered in lines or in JSON. With ``--replies``
(question, units, edit_reply, one JSON object a line) the decisions of a language model are written in both formats of
edit_script as well. Dollars are at the price table, per 1,000 traces. Tokens are characters / 3.5 unless a tokenizer
is named (`mini` or a folder); ratios are what counts.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from drp.benchmarks.files import read_traces
from drp.engines.base import Request
from drp.engines.identity import resolve_model
from drp.engines.pricing import Price, price_of
from drp.pruning.alignment import Step
from drp.pruning.apply import apply_script
from drp.pruning.skills import classify
from drp.records import Edit, EditScript, Trace, Usage
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.teachers.edit_script import EditScriptSettings, EditScriptTeacher
from drp.teachers.json_protocol import render_json
from drp.teachers.line_protocol import parse_reply, render_edits
from drp.teachers.load import CHARS_PER_TOKEN
from drp.teachers.rules import RulesTeacher
from drp.teachers.two_stage import TwoStageSettings, TwoStageTeacher
from drp.text.tokens import FileTokenCounter
from drp.text.units import split_units

DECISIONS = {
    "keep": "KEEP",
    "delete": "DELETE",
    "rewrite": "SINGLE-STEP COMPRESS",
    "merge": "MULTI-STEP COMPRESS",
}
Count = Callable[[str], float]


def steps_of(units: Sequence[str]) -> list[Step]:
    """Return runs of units with one skill."""
    steps: list[Step] = []
    for index, unit in enumerate(units):
        skill = classify(unit)
        if steps and steps[-1].skill == skill:
            steps[-1] = Step(steps[-1].first, index, skill)
        else:
            steps.append(Step(index, index, skill))
    return steps


def copied(units: Sequence[str], steps: Sequence[Step]) -> str:
    """Return the reply of the first call of two_stage."""
    return "\n".join(
        f"Step {n}: {''.join(units[s.first : s.last + 1]).strip()}\nSkill: {s.skill}"
        for n, s in enumerate(steps, 1)
    )


def compressed(units: Sequence[str], script: EditScript) -> str:
    """Return the reply of its second call."""
    lines = "\n".join(f"Step {n}: {DECISIONS[e.action]}" for n, e in enumerate(script.edits, 1))
    return f"{lines}\n##\n{apply_script(units, script)}"


def asked(requests: Sequence[Request], count: Count) -> float:
    """Return the tokens that go in."""
    return sum(count(m.content) for r in requests for m in r.messages)


def measure(path: Path, price: Price, count: Count) -> dict[str, Any]:
    """Return mean tokens per trace and dollars per 1,000 traces of every format."""
    protocols = {
        "two_stage": TwoStageTeacher(None, TwoStageSettings()),  # type: ignore[arg-type]  # they only build requests
        "edit_script, lines": EditScriptTeacher(None, EditScriptSettings()),  # type: ignore[arg-type]
        "edit_script, json": EditScriptTeacher(None, EditScriptSettings(format="json")),  # type: ignore[arg-type]
    }
    totals = {name: [0.0, 0.0] for name in protocols}
    traces: list[Trace] = [t for t in read_traces(path) if t.thinking.strip()]
    for trace in traces:
        units = split_units(trace.thinking)
        script = RulesTeacher().script(trace.question, trace.answer, units)
        steps = steps_of(units)
        replies = {
            "two_stage": count(copied(units, steps)) + count(compressed(units, script)),
            "edit_script, lines": count(render_edits(script.edits)),
            "edit_script, json": count(render_json(script.edits)),
        }
        for name, teacher in protocols.items():
            if isinstance(teacher, TwoStageTeacher):
                requests = teacher.requests(trace, units, steps)
            else:
                requests = teacher.requests(trace, units)
            totals[name][0] += asked(requests, count)
            totals[name][1] += replies[name]
    figures: dict[str, Any] = {"file": path.name, "traces": len(traces)}
    for name, (going_in, coming_out) in totals.items():
        usage = Usage(prompt_tokens=round(going_in), completion_tokens=round(coming_out))
        figures[name] = {
            "input": going_in / len(traces),
            "output": coming_out / len(traces),
            "dollars_per_1000": price.cost(usage) / len(traces) * 1000,
        }
    return figures


def real_decisions(path: Path, count: Count) -> dict[str, Any]:
    """Return what a language model's own decisions take in lines (as written, and rendered) and in JSON."""
    written, lines, as_json, copies = 0.0, 0.0, 0.0, 0.0
    both, edits_of_both = 0.0, 0.0
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found: list[Edit] = []
    units = 0
    for row in rows:
        parsed = parse_reply(row["edit_reply"], 0, len(row["units"]) - 1)
        assert not parsed.missing, "a reply does not cover its units"
        found += parsed.edits
        units += len(row["units"])
        written += count(row["edit_reply"])
        lines += count(render_edits(parsed.edits))
        as_json += count(render_json(parsed.edits))
        copies += count("".join(row["units"]))
        if row.get("compression_reply"):
            both += count(row["segmentation_reply"]) + count(row["compression_reply"])
            edits_of_both += count(row["edit_reply"])
    return {
        "replies": len(rows), "units": units, "edits": len(found), "written": written, "lines": lines,
        "json": as_json, "trace": copies, "json_over_lines": as_json / lines,
        "two_calls_over_lines": both / edits_of_both,
    }  # fmt: skip


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--replies", type=Path)
    parser.add_argument("--model", default="gpt-4o")
    parser.add_argument("--tokenizer")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    price = price_of(args.model)
    if price is None:
        parser.error(f"the price table does not know {args.model}")
    counter = FileTokenCounter(resolve_model(args.tokenizer)) if args.tokenizer else None
    count: Count = counter or (lambda text: len(text) / CHARS_PER_TOKEN)
    found = [measure(path, price, count) for path in args.traces]
    rows: list[tuple[str, ...]] = []
    for f in found:
        for name in ("two_stage", "edit_script, lines", "edit_script, json"):
            own, ours = f[name], f["edit_script, lines"]
            rows.append((
                f["file"].removesuffix(".jsonl") if name == "two_stage" else "", name,
                f"{own['input']:,.0f}", f"{own['output']:,.0f}", f"{own['output'] / ours['output']:.1f}×",
                f"{own['dollars_per_1000']:.2f}", f"{own['dollars_per_1000'] / ours['dollars_per_1000']:.1f}×",
            ))  # fmt: skip
    head = ("file", "protocol", "tokens in", "out", "of lines", "$/1,000", "of lines")
    note = (
        f"{args.model} at ${price.input:g} in, ${price.output:g} out per million tokens ({price.on}); tokens are "
        + (f"those of {args.tokenizer}." if args.tokenizer else f"characters / {CHARS_PER_TOKEN}.")
    )
    console = Console(width=120)
    print_table(console, Table("What the same decisions take, mean per trace", head, tuple(rows), note))
    result: dict[str, Any] = {"model": args.model, "price": price.model_dump(), "files": found}
    if args.replies:
        real = result["real_replies"] = real_decisions(args.replies, count)
        console.print(
            f"A language model's own decisions ({real['replies']} replies, {real['units']} units, {real['edits']} edits): "
            f"{real['written']:,.0f} tokens as written, {real['json']:,.0f} as JSON ({real['json_over_lines']:.2f} × lines); "
            f"two calls take {real['two_calls_over_lines']:.1f} × the lines where both are known.", highlight=False,
        )  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
