"""A Slurm script of a run: one job a stage, each after the one before it, with the memory and hours that were forecast.

Only training shares its work among GPUs (``train.processes``). Drawing and scoring run in one process on one GPU, so a job
array would make its tasks do the same work; the script asks for one GPU there.
"""

import math
import shlex
from pathlib import Path

from drp.errors import RecipeError
from drp.forecasting.forecast import Forecast, StageForecast
from drp.runs import layout

MARGIN = 2.0
"""Hours asked for, as a multiple of those forecast: what runs into its time limit continues only when it is sent again."""
LEAST_MINUTES = 30


def sbatch(found: Forecast, arguments: list[str], folder: Path, limit: int | None = None) -> str:
    """Return the script; run with ``bash``, it sends one job a stage, each of which waits for the one before.

    Args:
        found: The forecast.
        arguments: The recipe and its changes, as they were given.
        folder: The run folder.
        limit: As given.

    Raises:
        RecipeError: A stage does not fit in memory, or is none that a command of its own runs.
    """
    broken = [stage.stage for stage in found.stages if not stage.fits]
    if broken:
        raise RecipeError(
            f"no Slurm script is written, since {', '.join(broken)} would not fit: {'; '.join(found.advice)}"
        )
    if any(stage.stage == layout.EXPLORE for stage in found.stages):
        raise RecipeError(
            "no Slurm script is written: stage explore has no command of its own; send one job of `drp run`"
        )
    lines = [
        "#!/bin/bash",
        f"# Recipe {found.recipe}, forecast on {found.hardware.name}: bash this file on a login node.",
        "# One job a stage; each starts when the one before has ended well. What runs out of time continues when sent again.",
        "# Add your cluster's --partition and --account to OPTIONS.",
        "set -euo pipefail",
        'OPTIONS="${OPTIONS:-}"',
        "after=",
    ]
    for verb, stages in _verbs(found):
        lines += _job(verb, stages, found, arguments, folder, limit)
    return "\n".join([*lines, 'echo "sent; the last job is $job"', ""])


def _verbs(found: Forecast) -> list[tuple[str, list[StageForecast]]]:
    """Return the command of each stage; both evaluations are one."""
    verbs: dict[str, list[StageForecast]] = {}
    for stage in found.stages:
        verbs.setdefault(stage.stage.split("/")[0], []).append(stage)
    return list(verbs.items())


def _job(
    verb: str,
    stages: list[StageForecast],
    found: Forecast,
    arguments: list[str],
    folder: Path,
    limit: int | None,
) -> list[str]:
    hours = sum(stage.hours or 0.0 for stage in stages) if all(s.hours is not None for s in stages) else 24.0
    minutes = max(LEAST_MINUTES, math.ceil(hours * MARGIN * 60))
    gpus = max(stage.gpus for stage in stages)
    command = ["drp", verb, *arguments, "--out", str(folder), *(["--limit", str(limit)] if limit else [])]
    asked = [
        f"--job-name={shlex.quote(f'{found.recipe}-{verb}')}",
        "--nodes=1 --ntasks=1",
        f"--cpus-per-task={max(4, 4 * gpus)} --mem={max(16, 32 * gpus)}G",
        f"--time={minutes // 60:02d}:{minutes % 60:02d}:00",
        *([f"--gres=gpu:{gpus}"] if gpus else []),
    ]
    memory = max((stage.memory_gib or 0.0 for stage in stages), default=0.0)
    needs = f", {memory:.0f} GiB a GPU" if gpus else ", no GPU"
    return [
        "",
        f"# {verb}: {hours:.1f} hours forecast{needs}",
        f"job=$(sbatch --parsable $OPTIONS ${{after:+--dependency=afterok:$after}} {' '.join(asked)} \\",
        f"  --wrap={shlex.quote(shlex.join(command))})",
        'after="${job%%;*}"',
    ]
