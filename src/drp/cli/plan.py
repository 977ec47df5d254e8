"""``drp plan``: GPU memory, hours and cost of every stage, before anything runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drp.cli.options import Gpu, Limit, Out, Overrides, PricePerHour, RecipePath, recipe_of
from drp.cli.terminal import terminal

if TYPE_CHECKING:
    from drp.forecasting.forecast import Forecast
    from drp.reporting.text import Table


def plan(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    gpu: Gpu = "h100",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="How many of them.")] = 1,
    price_per_hour: PricePerHour = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Run the job on a few problems here first, and scale what that took; --gpu names what is here.",
        ),
    ] = False,
    slurm: Annotated[
        Path | None,
        typer.Option(
            "--slurm", help="Write a Slurm script to this file, one job a stage.", show_default=False
        ),
    ] = None,
    out: Out = None,
    limit: Limit = None,
) -> None:
    """Say which GPU memory, hours and dollars every stage will take, before anything runs."""
    from rich.console import Console
    from rich.text import Text

    from drp import api
    from drp.reporting.terminal import print_table

    recipe, changes = recipe_of(recipe, overrides, out)
    with terminal() as (progress, say):
        found = api.forecast(
            recipe,
            changes,
            gpu=gpu,
            gpus=gpus,
            price_per_hour=price_per_hour,
            probe=probe,
            slurm=slurm,
            out=out,
            limit=limit,
            progress=progress,
            say=say,
        )
    console = Console()
    print_table(console, _table(found))
    for stage in found.stages:
        console.print(Text(f"{stage.stage}: {stage.detail}"), style="dim")
    for line in found.sources:
        console.print(Text(f"lengths: {line}"), style="dim")
    for line in found.advice:
        console.print(Text(line), style="yellow")
    if slurm is not None:
        console.print(Text(f"Slurm script: {slurm} (send it with: bash {slurm})"), soft_wrap=True)


def _table(found: "Forecast") -> "Table":
    from drp.reporting.text import Table

    rows = [
        (
            stage.stage,
            _time(stage.hours),
            str(stage.gpus) if stage.gpus else "–",
            f"{stage.memory_gib:.1f}{'' if stage.fits else ' TOO MUCH'}" if stage.memory_gib else "–",
            f"{stage.tokens / 1e6:,.2f} M" if stage.tokens else "–",
            f"{100 * stage.share:.0f} %" if stage.share else "–",
            f"{stage.gpu_usd:,.2f}" if stage.gpus else "–",
            f"{stage.teacher_usd:,.2f}" if stage.teacher_usd is not None else "–",
        )
        for stage in found.stages
    ]
    teacher = sum(stage.teacher_usd or 0.0 for stage in found.stages)
    unknown = any(stage.hours is None for stage in found.stages)
    total = (
        "all",
        ("more than " if unknown else "") + _time(found.hours),
        "",
        "",
        "",
        "",
        f"{found.usd - teacher:,.2f}",
        f"{teacher:,.2f}",
    )
    hardware = found.hardware
    note = (
        f"{found.gpus} × {hardware.name} ({hardware.memory:g} GiB, {hardware.bandwidth:g} TB/s, {hardware.flops:g} TFLOP/s) "
        f"at ${hardware.price:g} an hour, each held only while its stage uses it. "
        + (
            "Scaled by a probe of this machine."
            if found.probed
            else "A forecast from tables, not a measurement: expect it within a factor of 2; --probe measures here."
        )
    )
    head = ("stage", "time", "GPUs", "GiB", "tokens", "of limit", "$ GPU", "$ teacher")
    return Table(f"What {found.recipe} will take", head, (*rows, total), note)


def _time(hours: float | None) -> str:
    """Return hours as people say them: 42 s, 12 min, 3.4 h."""
    if hours is None:
        return "not known"
    seconds = hours * 3600
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6_000
        else f"{hours:.1f} h"
    )
