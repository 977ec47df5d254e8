"""Verbs that say what a job would do and cost, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.errors import RecipeError
from drp.jobs import job
from drp.recipe import RecipeSource, load_recipe
from drp.runs.stage import NoProgress, Progress, Say, silent

if TYPE_CHECKING:
    from drp.forecasting.forecast import Forecast
    from drp.stages.estimate import Estimate


def plan(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
) -> list[str]:
    """Return what :func:`run` would do, one line a step, and what it lacks; runs and fetches nothing.

    Arguments and errors are those of :func:`run`.

    Examples:
        >>> lines = drp.plan("recipes/mini.yaml", ["evaluate.runs=5"], limit=40)
        >>> lines[2]
        'generate: 40 problems × 1, at most 1,200 tokens each, by transformers'
    """
    from drp.planning import plan as planned

    loaded, folder = job(recipe, overrides, out)
    return planned(loaded, folder, limit)


def estimate(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    traces: str | Path | None = None,
    trace_tokens: int | None = None,
    probe: int = 0,
    out: str | Path | None = None,
    limit: int | None = None,
    gpu: str = "h100",
    price_per_hour: float | None = None,
    say: Say = silent,
) -> list[Estimate]:
    """Return what a teacher will cost, before anything is spent: each protocol of a language model, and the student itself.

    Args:
        recipe: The recipe; left out: the defaults.
        overrides: As for :func:`run`.
        traces: Measure the traces of this file instead of the run's.
        trace_tokens: Tokens a trace, where none is on file.
        probe: Prune this many traces for real and scale up; costs money.
        out: As for :func:`run`.
        limit: At most this many traces, or problems per problem set.
        gpu: On which the student would prune by itself; see :func:`forecast`.
        price_per_hour: Dollars for an hour of it.
        say: Told where the lengths come from.

    Raises:
        DrpError: The teacher costs nothing, or there is nothing to probe.

    Examples:
        >>> estimates = drp.estimate(overrides=["prune.teacher=edit_script"], trace_tokens=1500, limit=100)
        >>> [e.protocol for e in estimates], estimates[0].traces
        (['edit_script', 'edit_script/json', 'two_stage', 'direct', 'none', 'student'], 100)
    """
    from drp.forecasting.hardware import hardware_of
    from drp.planning import estimate_costs

    loaded = load_recipe(recipe, overrides)
    file = Path(traces) if traces else None
    folder = Path(out or Path("runs") / (file.stem if file else loaded.name))
    return estimate_costs(
        loaded,
        folder,
        file,
        say,
        limit=limit,
        trace_tokens=trace_tokens,
        probe_traces=probe,
        hardware=hardware_of(gpu, price_per_hour),
    )


def forecast(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    gpu: str = "h100",
    gpus: int = 1,
    price_per_hour: float | None = None,
    probe: bool = False,
    slurm: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    say: Say = silent,
) -> Forecast:
    """Return what :func:`run` will take: GPU memory, hours and dollars of each stage, before anything runs.

    Args:
        recipe: As for :func:`run`.
        overrides: As for :func:`run`.
        gpu: One of the table (``h100``, ``a100-80``, ``rtx4090`` …), ``cpu``, or ``memory=GIB,bandwidth=TB_PER_S,flops=TFLOPS``.
        gpus: How many of them there are.
        price_per_hour: Dollars for an hour of one, instead of the table's.
        probe: Run the job on a few problems first, on this machine, and put the forecast right by that; ``gpu`` must name
            what this machine has.
        slurm: Write a Slurm script of the run to this file.
        out: As for :func:`run`; traces on file there are measured.
        limit: At most this many problems per problem set.
        progress: Where stages of the probe report how far they are.
        say: Told what the probe does.

    Raises:
        DrpError: The GPU, the student's shape or the number of problems is not known, or the probe cannot run.

    Examples:
        >>> found = drp.forecast("recipes/r1_qwen_1.5b.yaml", gpu="rtx4090")
        >>> [stage.stage for stage in found.stages], found.hours > 1, all(stage.fits for stage in found.stages)
        (['generate', 'prune', 'train', 'evaluate/base', 'evaluate/distilled'], True, True)
    """
    from drp.forecasting.hardware import hardware_of
    from drp.forecasting.slurm import sbatch
    from drp.planning import forecast_run

    loaded, folder = job(recipe, overrides, out)
    hardware = hardware_of(gpu, price_per_hour)
    measured = speeds = None
    if probe:
        from drp.probing import probe_run

        measured, speeds = probe_run(loaded, hardware, progress or NoProgress(), say)
    found = forecast_run(loaded, folder, hardware, gpus=gpus, limit=limit, found=measured, speeds=speeds)
    if slurm is not None:
        if not isinstance(recipe, str | Path | None):
            raise RecipeError(
                "a Slurm script names the recipe's file or run folder: give one, not a recipe in memory"
            )
        arguments = [str(folder if recipe is None else recipe), *overrides]
        Path(slurm).write_text(sbatch(found, arguments, folder, limit), encoding="utf-8")
    return found
