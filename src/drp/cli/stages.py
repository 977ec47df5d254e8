"""The commands that run stages of a recipe, and what a teacher will cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drp.cli.options import (
    Gpu,
    Limit,
    Out,
    Overrides,
    Partial,
    PricePerHour,
    RecipePath,
    Teacher,
    named,
    recipe_of,
)
from drp.cli.terminal import terminal

if TYPE_CHECKING:
    from drp.records import PrunedTrace


def run(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done and what is missing; asks no hub.")
    ] = False,
) -> None:
    """Run the whole job: generate, prune, train, evaluate, report. The same command again continues."""
    recipe, changes = recipe_of(recipe, overrides, out)
    if dry_run:
        from drp import api

        for line in api.plan(recipe, changes, out=out, limit=limit):
            typer.echo(line)
        return
    with terminal() as (progress, say):  # before any import, which may take seconds
        from drp import api

        summary = api.run(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)
    from drp.cli.tables import print_report

    print_report(summary)


def rounds(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many rounds.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the rounds' run folders; default runs/<recipe name>.", show_default=False
        ),
    ] = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Run a recipe several times, each round on the model of the round before. The same command again continues."""
    if recipe is None and out is not None:
        recipe = str(out / "student")
    recipe, changes = recipe_of(recipe, overrides, out)
    with terminal() as (progress, say):
        from drp import api

        found = api.rounds(
            recipe, changes, count=count, out=out, limit=limit, partial=partial, progress=progress, say=say
        )
    from drp.cli.tables import print_comparison

    print_comparison(found, "table")


def generate(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Draw the student's own traces of the training problems."""
    from drp import api

    recipe, changes = recipe_of(recipe, overrides, out)
    with terminal() as (progress, say):
        api.generate(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)


def prune(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    traces: Annotated[
        Path | None, typer.Option("--traces", help="Prune traces of this JSONL file instead of a run's own.")
    ] = None,
    teacher: Teacher = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Folder or hub id of the tokenizer that counts tokens.")
    ] = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Let the teacher prune traces: a run's own, or with --traces those of any JSONL file."""
    recipe, changes = named(recipe, overrides, teacher)
    changes += [f"prune.tokenizer={tokenizer}"] if tokenizer else []
    if traces is not None:
        _prune_file(traces, recipe, changes, out or Path("runs") / traces.stem, limit)
        return
    from drp import api
    from drp.cli.tables import print_refused

    recipe, changes = recipe_of(recipe, changes, out)
    with terminal() as (progress, say):
        pruned = api.prune(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)
    print_refused(pruned, out)


def _prune_file(traces: Path, recipe: str | None, changes: list[str], out: Path, limit: int | None) -> None:
    from drp import api
    from drp.cli.tables import print_pruning, print_refused
    from drp.errors import IncompleteError
    from drp.recipe import load_recipe
    from drp.reporting.write import read_summary

    loaded = load_recipe(recipe, changes)
    owed: IncompleteError | None = None
    pruned: Sequence[PrunedTrace] = []
    with terminal() as (progress, say):
        try:
            pruned = api.prune(loaded, traces=traces, out=out, limit=limit, progress=progress, say=say)
        except IncompleteError as error:  # what did work is shown first
            owed = error
    print_refused(pruned, out)
    print_pruning(read_summary(out), f"{traces.name} (tokens by {loaded.prune.tokenizer or 'mini'})")
    if owed:
        raise owed


def estimate(
    recipe: Annotated[str | None, typer.Argument(help="Recipe (YAML).", show_default=False)] = None,
    overrides: Overrides = None,
    traces: Annotated[
        Path | None,
        typer.Option("--traces", help="Measure the traces of this JSONL file.", show_default=False),
    ] = None,
    trace_tokens: Annotated[
        int | None,
        typer.Option(
            "--trace-tokens", min=1, help="Tokens a trace, where none is on file.", show_default=False
        ),
    ] = None,
    probe: Annotated[
        int, typer.Option("--probe", min=0, help="Prune this many traces for real and scale up; costs money.")
    ] = 0,
    teacher: Teacher = None,
    out: Out = None,
    limit: Limit = None,
    gpu: Gpu = "h100",
    price_per_hour: PricePerHour = None,
) -> None:
    """Say what a teacher will cost, before anything is spent: a language model, and the student itself."""
    from rich.console import Console

    from drp import api
    from drp.cli.tables import cost_table
    from drp.recipe import load_recipe
    from drp.reporting.terminal import print_table

    loaded = load_recipe(*named(recipe, overrides, teacher))
    with terminal() as (_, say):
        found = api.estimate(
            loaded,
            traces=traces,
            trace_tokens=trace_tokens,
            probe=probe,
            out=out,
            limit=limit,
            gpu=gpu,
            price_per_hour=price_per_hour,
            say=say,
        )
    print_table(Console(), cost_table(found, loaded.prune))


def train(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Fine-tune the student on the accepted pruned traces of the run."""
    from drp import api

    recipe, changes = recipe_of(recipe, overrides, out)
    with terminal() as (progress, say):
        api.train(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)


def evaluate(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Run the student before and after on the same problems, and report."""
    from drp import api
    from drp.cli.tables import print_report

    recipe, changes = recipe_of(recipe, overrides, out)
    with terminal() as (progress, say):
        summary = api.evaluate(
            recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say
        )
    print_report(summary)


def merge(
    run: Annotated[Path, typer.Argument(help="Run folder with a trained adapter.")],
    adapter_scale: Annotated[
        float,
        typer.Option(
            min=0.0, help="Scale of the adapter: 0 is the student, 1 as trained, above 1 beyond it."
        ),
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the model; default RUN/train/model-SCALE.", show_default=False),
    ] = None,
) -> None:
    """Merge a run's adapter into the student at another scale: length against accuracy, without training."""
    from drp import api

    typer.echo(f"model: {api.merge(run, adapter_scale, out)}")
