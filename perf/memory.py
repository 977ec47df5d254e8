"""Peak memory of every stage that needs no model, on many long traces.

    python perf/memory.py [--traces 20000] [--characters 40000] [--work FOLDER] [--out results/performance]

A file of so many traces of so many characters, a run folder with their pruned versions and two evaluations of them are made under
``--work`` once (about 5 GB). Each way of reading them runs in a process of its own; its peak stands beside that of a process that reads
nothing, which holds the libraries alone. Pruning is resumed at full size, and done for ``--pruned`` traces.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from drp.on_file import pruning_settings
from drp.recipe import load_recipe
from drp.records import Check, Edit, EditScript, PrunedTrace, Trace, Usage, content_id
from drp.reporting.text import Table, markdown
from drp.runs import layout
from drp.runs.folder import RunFolder

WAYS = {
    "nothing": "",
    "records, one by one": "sum(1 for _ in read_records(run / layout.EVALUATE_BASE / layout.RECORDS, Trace))",
    "prune, resumed": "drp.prune(traces=file, out=run, partial=True)",
    "prune by rules, some": "drp.prune(traces=file, out=run.with_name('some'), limit={pruned})",
    "training set": "chosen = choose(Mapped(where(folder.on_demand(PrunedTrace), lambda p: p.accepted), of_pruned), 8000, 0)\n"
    "training_fingerprint(chosen)",
    "summary": "summarise(run, 'x')",
    "report with its page": "drp.report(run)",
    "compare two runs": "drp.compare([run, run])",
    "compare two files": "drp.compare([file, file])",
    "grade a file": "drp.grade(file)",
    "export as ShareGPT": "drp.export(run, 'sharegpt', run.with_name('sharegpt'))",
    "export as Parquet": "drp.export(run, 'parquet', run.with_name('parquet'))",
}
"""What each process does with the folder ``run`` and the ``file``."""
CHILD = """
import resource, sys, time
from pathlib import Path
import drp
from drp.methods.drp import of_pruned
from drp.records import PrunedTrace, Trace
from drp.reporting.summary import summarise
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import read_records
from drp.runs.on_demand import Mapped, where
from drp.stages.training_set import choose, training_fingerprint
run, file, began = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic()
folder = StageFolder(run / layout.PRUNE, layout.PRUNE)
{code}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - began, time.process_time())
"""
SETTINGS = {"evaluate": {"sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}, "seed": 1}}
LINES = (
    "Okay, so the question asks for the sum of {a} and {b}, and I should read it once more to be sure.",
    "Let me compute: {a} + {b} = {c}.",
    "Wait, did I carry correctly? {b} + {a} = {c}, so that agrees.",
    "Alternatively, {c} - {a} = {b}, which is what was given.",
    "Hmm, what if the order mattered? For a sum it does not.",
)


NUMBER, GOLD, ID = "@number@", "@gold@", "@id@"
"""What stands in the moulds for what differs from trace to trace."""
MOULDS = 40


def mould(seed: int, characters: int) -> Trace:
    """Return a trace of about so many characters, from which many are made."""
    draw, parts, size = random.Random(seed), [f"The number is {NUMBER}.\n"], 0
    while size < characters:
        a, b = draw.randrange(10**4), draw.randrange(10**4)
        parts.append(draw.choice(LINES).format(a=a, b=b, c=a + b) + "\n")
        size += len(parts[-1])
    return Trace(
        id=ID, problem_id=f"problem-{NUMBER}", question=f"What is {NUMBER} + 17?", gold=GOLD, benchmark="long",
        thinking="".join(parts).strip(), answer=f"The answer is \\boxed{{{GOLD}}}.", closed=True, finish_reason="stop",
        correct=seed % 3 > 0, usage=Usage(completion_tokens=characters // 4),
    )  # fmt: skip


def pruned(trace: Trace) -> PrunedTrace:
    """Return a trace with every fourth line kept."""
    lines = trace.thinking.splitlines(keepends=True)
    edits = [
        Edit(first=n, last=n, action="delete" if n % 4 else "keep", skills=("arithmetic",), reason="said before" if n % 4 else None)
        for n in range(len(lines))
    ]  # fmt: skip
    return PrunedTrace(
        id=trace.id, problem_id=trace.problem_id, question=trace.question, gold=trace.gold, benchmark="long", teacher="rules",
        original_thinking=trace.thinking, original_answer=trace.answer, thinking="".join(lines[::4]), answer=trace.answer,
        script=EditScript(units=len(lines), edits=tuple(edits)), checks=(Check(name="shorter", passed=True),), accepted=True,
        tokens_before=len(trace.thinking) // 4, tokens_after=len(trace.thinking) // 16,
    )  # fmt: skip


def make(run: Path, file: Path, count: int, characters: int) -> None:
    """Write the file and the run folder, unless they are there."""
    from drp.grading import VERSION

    traces = [mould(seed, characters) for seed in range(MOULDS)]
    keys = ("question", "gold", "thinking", "answer")
    rows = [json.dumps({key: getattr(trace, key) for key in keys}, ensure_ascii=False) for trace in traces]
    lines = [(r, pruned(t).model_dump_json(), t.model_dump_json()) for r, t in zip(rows, traces, strict=True)]
    with RunFolder(run) as held:
        prune, _ = held.open_stage(layout.PRUNE, pruning_settings(load_recipe(None)))
        evaluated = [
            held.open_stage(s, SETTINGS)[0] for s in (layout.EVALUATE_BASE, layout.EVALUATE_DISTILLED)
        ]
        if (manifest := prune.manifest()) and manifest.complete:
            return
        ids: list[str] = []
        paths = [prune.records_path, *(folder.records_path for folder in evaluated)]
        with file.open("w") as out, ExitStack() as stack:
            kept, base, after = (stack.enter_context(path.open("w")) for path in paths)
            for number in range(count):
                row, *records = lines[number % MOULDS]
                row = row.replace(NUMBER, str(number)).replace(GOLD, str(number + 17))
                said = json.loads(row)
                ids.append(content_id("trace", *(said[key] for key in keys)))
                out.write(row + "\n")
                one, two = (
                    r.replace(NUMBER, str(number)).replace(GOLD, str(number + 17)).replace(ID, ids[-1]) + "\n"
                    for r in records
                )
                kept.write(one)
                base.write(two)
                after.write(two)
        for folder in (prune, *evaluated):
            folder.want(ids)
            folder.graded(VERSION)
            folder.update(complete=True, counts={"wanted": count, "done": count})


def main() -> None:
    """Parse arguments, make, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--traces", type=int, default=20_000)
    parser.add_argument("--characters", type=int, default=40_000)
    parser.add_argument("--pruned", type=int, default=20)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    run, file = work / "run", work / "traces.jsonl"
    work.mkdir(exist_ok=True, parents=True)
    make(run, file, args.traces, args.characters)
    found: dict[str, dict[str, float]] = {}
    for name, code in WAYS.items():
        call = [sys.executable, "-c", CHILD.format(code=code.format(pruned=args.pruned)), str(run), str(file)]
        done = subprocess.run(call, capture_output=True, text=True)
        if done.returncode:
            print(name, done.stderr[-600:], file=sys.stderr)
            continue
        peak, seconds, busy = map(float, done.stdout.split()[-3:])
        found[name] = {"peak_mib": round(peak), "seconds": round(seconds, 1), "cpu_seconds": round(busy, 1)}
        print(name, found[name], flush=True)
        _write(args.out, args.traces, args.characters, found)


def _write(out: Path | None, count: int, characters: int, found: dict[str, dict[str, float]]) -> None:
    rows = [(n, f"{f['peak_mib']:,}", f"{f['seconds']:,}", f"{f['cpu_seconds']:,}") for n, f in found.items()]
    title = f"{count:,} traces of {characters:,} characters"
    table = Table(title, ("what reads them", "peak, MiB", "seconds", "of a processor"), tuple(rows))
    if out:
        out.mkdir(parents=True, exist_ok=True)
        command = f"python perf/memory.py --traces {count} --characters {characters}"
        record = {"command": command, "traces": count, "characters": characters, "ways": found}
        (out / "memory.json").write_text(json.dumps(record, indent=1) + "\n")
        (out / "memory.md").write_text(f"`{command}`\n\n{markdown(table)}\n")


if __name__ == "__main__":
    main()
