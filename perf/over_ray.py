"""Engine ``ray`` against the engine in process: what one worker costs, and what two bring.

    OMP_NUM_THREADS=1 python perf/over_ray.py [--problems 64] [--batch 8] [--rounds 3]

The embedded student draws greedily; every way of running draws the same batches with one thread a process, and all completions
must be equal. Opening (imports, weights) is timed apart from drawing. The ways take turns, round after round, so that a busy
machine is busy for all of them; ratios are of the medians. What two processes can bring at all is measured beside it, by processes
that only count: where others compute, and the kernel shares cores by session (autogroup), that is little. Processor time says what
work there was. Writes results/performance/ray.json and ray.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.base import Message, Reply, Request, Sampling, request_seed
from drp.engines.local import TransformersSettings
from drp.engines.ray_cluster import Cluster
from drp.engines.ray_settings import ClusterSettings, RaySettings
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import PromptSettings, StudentSettings
from drp.runs.concurrency import run_until_done

FOLDER = Path(__file__).resolve().parent.parent / "results" / "performance"
SUBJECT = Subject(StudentSettings(device="cpu"), PromptSettings())


def requests(count: int) -> list[Request]:
    """Return greedy requests for so many embedded problems."""
    return [
        Request(
            id=problem.id,
            messages=(Message(role="user", content=problem.question),),
            sampling=Sampling(temperature=0.0, max_new_tokens=400),
            seed=request_seed(1, problem.id),
        )
        for problem in load_problems(ProblemSet(benchmark="mini-gsm", count=count))
    ]


COUNTING = "import time\nend = time.monotonic() + 5\nwhile time.monotonic() < end: sum(range(1000))\nprint(time.process_time())"


def counted(processes: int) -> float:
    """Return the processor time that so many processes get in five seconds when all they do is count."""
    run = [
        subprocess.Popen([sys.executable, "-c", COUNTING], stdout=subprocess.PIPE) for _ in range(processes)
    ]
    return sum(float(one.communicate()[0]) for one in run)


def processor_s(pids: list[int]) -> float:
    """Return the processor time that processes have had."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


async def passed(
    settings: EngineSettings, asked: list[Request]
) -> tuple[float, float, float, dict[str, Any]]:
    """Return the seconds until all workers have opened, those of drawing, the latter's processor time, and the completions."""
    start = time.monotonic()
    engine: Any = settings.open(SUBJECT)
    try:
        batches = engine.batches(asked)
        places = getattr(engine, "_places", [])
        for place in places:  # all workers, so that drawing is compared with drawing
            engine.cluster.result(place.opened)
        pids = [engine.cluster.result(place.placed)[1] for place in places] or [os.getpid()]
        begun, before, found = time.monotonic(), processor_s(pids), dict[str, Reply]()
        async for reply in engine.complete(batches):
            found[reply.id] = reply.outcome
        return begun - start, time.monotonic() - begun, processor_s(pids) - before, found
    finally:
        await engine.close()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    for name, default in (("problems", 64), ("batch", 8), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    asked, inner = requests(options.problems), TransformersSettings(batch_size=options.batch)
    start = time.monotonic()
    held = Cluster(ClusterSettings(address="local", workers=2), 0, print)
    cluster_s = time.monotonic() - start
    ways: dict[str, EngineSettings] = {
        "in process": inner,
        "one worker": RaySettings(engine=inner, workers=1),
        "two workers": RaySettings(engine=inner, workers=2),
    }
    opening: dict[str, list[float]] = {way: [] for way in ways}
    drawing: dict[str, list[float]] = {way: [] for way in ways}
    worked: dict[str, list[float]] = {way: [] for way in ways}
    loads: list[float] = []
    gains = [counted(2) / counted(1)]
    first: dict[str, Any] | None = None
    for _ in range(options.rounds):
        for way, settings in ways.items():
            loads.append(os.getloadavg()[0])
            opened, drawn, processor, found = run_until_done(passed(settings, asked))
            assert len(found) == options.problems and found == (first := first or found)
            opening[way].append(round(opened, 2))
            drawing[way].append(round(drawn, 2))
            worked[way].append(round(processor, 2))
            print(way, opening[way][-1], drawing[way][-1], worked[way][-1], loads[-1], flush=True)
        gains.append(counted(2) / counted(1))
    held.close([], [])
    middle = {way: statistics.median(seconds) for way, seconds in drawing.items()}
    result = {
        "command": f"OMP_NUM_THREADS=1 python perf/over_ray.py --problems {options.problems} --batch {options.batch} --rounds {options.rounds}",
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in loads],
        "cluster_s": round(cluster_s, 1),
        "opening_s": opening,
        "drawing_s": drawing,
        "drawing_processor_s": worked,
        "two_counting_processes_over_one": [round(gain, 2) for gain in gains],
        "one_worker_over_in_process": round(middle["one worker"] / middle["in process"], 3),
        "two_workers_over_one": round(middle["two workers"] / middle["one worker"], 3),
    }
    (FOLDER / "ray.json").write_text(json.dumps(result, indent=1) + "\n")
    rows = [
        f"| {way} | {', '.join(map(str, opening[way]))} | {', '.join(map(str, drawing[way]))} | {middle[way]:.1f} | {', '.join(map(str, worked[way]))} |"
        for way in ways
    ]
    text = f"""`{result["command"]}` ({os.cpu_count()} shared cores; load before each run {min(loads):.1f} to {max(loads):.1f})

{options.problems} embedded problems, greedy, batches of {options.batch}, one thread a process; all completions were equal. Starting the cluster: {cluster_s:.0f} s.

| | opening, s | drawing, s | median | its processor time, s |
|---|--:|--:|--:|--:|
{chr(10).join(rows)}

One worker takes {result["one_worker_over_in_process"]:.2f} × the time of the engine in process, two take {result["two_workers_over_one"]:.2f} × the time of one. Two processes
that only count got {min(gains):.2f} to {max(gains):.2f} × the processor time of one on this machine meanwhile (2 where both cores are free): two
workers cannot be quicker than that allows. Not measured: several machines, GPUs, engine `vllm` in workers.
"""
    (FOLDER / "ray.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
