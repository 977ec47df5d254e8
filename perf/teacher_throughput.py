"""Requests per second of the whole prune stage against a bare aiohttp loop, side by side in one run.

    python perf/teacher_throughput.py [TRACES.jsonl] [--steps 10] [--requests 2000] [--delay 0.2] [--concurrency 100] [--json FILE]

A stub endpoint in a process of its own waits ``--delay`` seconds and replies with ready edit lines. The bare loop posts
the same bodies and reads the replies; the stage also stores each reply, parses it, applies the script, runs all
checks and writes the record. Without a file the traces are drawn from a template of about 40 units. Both clients run in a
process of their own; CPU seconds and peak memory are theirs. Reported are medians of ``--rounds`` rounds, in turn.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from rich.console import Console

from drp.benchmarks.files import read_traces
from drp.engines.identity import resolve_model
from drp.engines.openai_engine import OpenAIEngine
from drp.grading.grader import Grader
from drp.recipe import PruneSettings
from drp.records import Trace
from drp.reporting.terminal import print_table
from drp.reporting.text import Table
from drp.runs import layout
from drp.runs.folder import RunFolder
from drp.runs.stage import NoProgress
from drp.stages.checking import Checker
from drp.stages.prune import prune_traces
from drp.teachers.edit_script import EditScriptSettings, EditScriptTeacher
from drp.teachers.line_protocol import render_edits
from drp.teachers.rules import RulesTeacher
from drp.text.tokens import FileTokenCounter
from drp.text.units import split_units


def made_up(count: int, size: int) -> list[Trace]:
    """Return distinct traces of a template with ``size`` steps."""
    found: list[Trace] = []
    for i in range(count):
        n = i + 10
        talk = "Wait, let me check that again to be sure. "
        lines = [
            f"Then {n} + {k} = {n + k}, so box {k} has {n + k} cards. {talk}" for k in range(2, size + 2)
        ]
        thinking = (
            f"Okay, so each box starts with {n} cards.\n\n"
            + "\n\n".join(lines)
            + f"\n\nSo the answer is {n + size + 1}."
        )
        answer = f"The answer is \\boxed{{{n + size + 1}}}."
        found.append(
            Trace(id=f"t{i}", problem_id=f"p{i}", question=f"Boxes start with {n} cards. How many has box {size + 1}?",
                  gold=str(n + size + 1), thinking=thinking, answer=answer, closed=True, correct=True)
        )  # fmt: skip
    return found


def many(path: Path | None, count: int, size: int = 10) -> list[Trace]:
    """Return ``count`` distinct traces, those of a file over and over with their question numbered."""
    if path is None:
        return made_up(count, size)
    real = [
        t.model_copy(update={"correct": True}) for t in read_traces(path) if t.closed and t.thinking.strip()
    ]
    return [
        real[i % len(real)].model_copy(update={"id": f"t{i}", "question": f"({i}) {real[i % len(real)].question}"})
        for i in range(count)
    ]  # fmt: skip


def serve(delay: float, replies: dict[str, str], pipe: Connection) -> None:
    """Run the stub until killed."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        asked = body["messages"][1]["content"]
        await asyncio.sleep(delay)
        message = {"role": "assistant", "content": replies[asked.partition("\n</question>")[0]]}
        usage = {"prompt_tokens": len(asked) // 4, "completion_tokens": 50, "total_tokens": 0}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return web.json_response(reply | {"usage": usage})

    async def run() -> None:
        app = web.Application(client_max_size=10**8)
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def ask_bare(url: str, bodies: list[dict[str, Any]], concurrency: int) -> None:
    """Post every body and read every reply, nothing else."""

    async def run() -> None:
        waiting = iter(bodies)
        connector = aiohttp.TCPConnector(limit=concurrency)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker() -> None:
                for body in waiting:
                    async with session.post(f"{url}/chat/completions", json=body) as response:
                        reply = await response.json()
                        assert reply["choices"][0]["message"]["content"]

            await asyncio.gather(*(worker() for _ in range(concurrency)))

    asyncio.run(run())


def ask_stage(url: str, traces: list[Trace], concurrency: int) -> None:
    """Prune every trace as `drp prune` does."""
    settings = PruneSettings.model_validate(
        {
            "teacher": "edit_script",
            "llm": {"model": "m"},
            "endpoint": {"base_url": url, "concurrency": concurrency},
        }
    )
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as run, Grader() as grader:
        stage, _ = run.open_stage(layout.PRUNE, {})
        checker = Checker(settings, grader, FileTokenCounter(resolve_model("mini")))
        pruned = asyncio.run(prune_traces(stage, traces, checker, NoProgress()))
        assert len(pruned) == len(traces), stage.failures()[:1]
        assert any(p.accepted for p in pruned)


def timed(pipe: Connection, target: Any, *arguments: Any) -> None:
    """Run a client in this process and send seconds, CPU seconds and peak MiB."""
    started, used = time.perf_counter(), time.process_time()
    target(*arguments)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send({"seconds": wall, "cpu": cpu, "peak_mib": peak})


def client(target: Any, *arguments: Any) -> dict[str, float]:
    """Run a client in a fresh process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=timed, args=(there, target, *arguments))
    process.start()
    while not here.poll(0.2):
        if not process.is_alive():
            sys.exit("a client failed")
    result: dict[str, float] = here.recv()
    process.join()
    return result


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="?")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10, help="length of the template's traces")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    traces = many(args.traces, args.requests, args.steps)
    teacher = EditScriptTeacher(None, EditScriptSettings(window_units=100_000, window_chars=10**9))  # type: ignore[arg-type]
    engine = OpenAIEngine("m", base_url="http://127.0.0.1:1/v1")
    replies: dict[str, str] = {}
    bodies: list[dict[str, Any]] = []
    kept: list[Trace] = []
    for trace in traces:
        units = split_units(trace.thinking)
        if (
            len(units) > EditScriptSettings().window_units
            or len(trace.thinking) > EditScriptSettings().window_chars
        ):
            continue  # one request a trace, so that both clients send the same number
        (request,) = teacher.requests(trace, units)
        bodies.append(engine.body(request))
        script = RulesTeacher().script(trace.question, trace.answer, units)
        replies[f"<question>\n{trace.question}"] = render_edits(script.edits)
        kept.append(trace)
    here, there = multiprocessing.Pipe()
    stub = multiprocessing.Process(target=serve, args=(args.delay, replies, there), daemon=True)
    stub.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"

    rounds: dict[str, list[dict[str, float]]] = {"bare aiohttp": [], "drp prune": []}
    for _ in range(args.rounds):
        rounds["bare aiohttp"].append(client(ask_bare, url, bodies, args.concurrency))
        rounds["drp prune"].append(client(ask_stage, url, kept, args.concurrency))
    stub.terminate()
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {"requests": len(kept), "delay": args.delay, "concurrency": args.concurrency}
    figures["characters_per_trace"] = statistics.mean(len(t.thinking) for t in kept)
    for name, found in rounds.items():
        median = {key: statistics.median(r[key] for r in found) for key in found[0]}
        figures[name] = median | {"requests_per_s": len(kept) / median["seconds"], "rounds": found}
        rows.append(
            (
                name,
                f"{figures[name]['requests_per_s']:.0f}",
                f"{median['cpu']:.1f}",
                f"{median['peak_mib']:.0f}",
            )
        )
    ratio = figures["drp prune"]["requests_per_s"] / figures["bare aiohttp"]["requests_per_s"]
    figures["ratio"] = ratio
    note = (
        f"{len(kept)} requests, {figures['characters_per_trace']:.0f} characters a trace, {args.delay:g} s a reply, "
        f"concurrency {args.concurrency}, {os.cpu_count()} cores; drp prune / bare = {100 * ratio:.0f} %"
    )
    head = ("client", "requests/s", "CPU s", "peak MiB")
    print_table(Console(width=120), Table("Pruning requests per second", head, tuple(rows), note))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
