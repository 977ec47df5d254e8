"""How near `drp plan --probe` comes: one probe on this machine, then whole runs of two sizes, stage by stage beside the forecast.

    python perf/plan.py --limits 40 120 --json results/performance/plan.json

The embedded student runs on the CPU, so seconds are processor seconds: what other processes do meanwhile does not count.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from drp.forecasting.hardware import hardware_of
from drp.planning import forecast_run
from drp.probing import probe_run, timed_run
from drp.recipe import load_recipe
from drp.runs.stage import NoProgress

BENCHMARKS = "evaluate.benchmarks=[{benchmark: mini-gsm, count: 60}, {benchmark: mini-amc, count: 30}]"


def main() -> None:
    """Measure, and write after every part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="recipes/demo.yaml")
    parser.add_argument("--limits", type=int, nargs="+", default=[40, 120])
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    recipe, cpu = load_recipe(Path(options.recipe), [BENCHMARKS]), hardware_of("cpu")
    started, used = time.monotonic(), time.process_time()
    found, speeds = probe_run(recipe, cpu, NoProgress(), print)
    result: dict[str, object] = {
        "recipe": options.recipe,
        "changes": BENCHMARKS,
        "probe": {
            "seconds": round(time.monotonic() - started, 1),
            "processor_seconds": round(time.process_time() - used, 1),
            "longer": round(found.longer, 3),
            "accepted": found.accepted,
            "kept": found.kept,
            "factor": speeds.factor,
            "starting_s": speeds.starting_s,
        },
    }
    for limit in options.limits:
        probed, tables = (
            forecast_run(recipe, Path("none"), cpu, limit=limit, found=found, speeds=speeds),
            forecast_run(recipe, Path("none"), cpu, limit=limit),
        )
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            _, seconds = timed_run(recipe, Path(folder) / "run", limit, NoProgress())
            passed = time.monotonic() - started
        by_table = {stage.stage: stage.hours for stage in tables.stages}
        rows = {
            stage.stage: {
                "probe": round((stage.hours or 0) * 3600, 1),
                "tables": round((by_table[stage.stage] or 0) * 3600, 1),
                "measured": round(seconds[stage.stage], 1),
                "probe/measured": round((stage.hours or 0) * 3600 / seconds[stage.stage], 2),
            }
            for stage in probed.stages
        }
        total = sum(seconds.values())
        result[f"limit {limit}"] = {
            "stages": rows,
            "probe": round(probed.hours * 3600, 1),
            "tables": round(tables.hours * 3600, 1),
            "measured": round(total, 1),
            "probe/measured": round(probed.hours * 3600 / total, 2),
            "tables/measured": round(tables.hours * 3600 / total, 2),
            "seconds that passed": round(passed, 1),
            "load": os.getloadavg()[0],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(result[f"limit {limit}"], indent=1), flush=True)


if __name__ == "__main__":
    main()
