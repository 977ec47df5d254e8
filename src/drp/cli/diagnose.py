"""``drp diagnose``: what completions say before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer

from drp.cli.options import Counter


def diagnose(  # noqa: PLR0913  options of one command, by name
    source: Annotated[
        str,
        typer.Argument(
            help="A file of completions, a run folder, or a model, which answers some problems first."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="How a model is run: section.field=value …", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model that wrote the file, run for the remedies that need it.", show_default=False
        ),
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Whose problems a model answers.")] = "mini-gsm",
    limit: Annotated[
        int,
        typer.Option(min=1, help="How many problems; at most so many completions are tried with the model."),
    ] = 40,
    pruned: Annotated[
        int,
        typer.Option(min=0, help="At most so many completions are pruned by rules to see what that saves."),
    ] = 100,
    question: Annotated[str | None, typer.Option(help="Field of the question.", show_default=False)] = None,
    gold: Annotated[str | None, typer.Option(help="Field of the gold answer.", show_default=False)] = None,
    completion: Annotated[
        str | None, typer.Option(help="Field of the completion.", show_default=False)
    ] = None,
    prefilled: Annotated[
        bool | None,
        typer.Option(
            "--prefilled/--no-prefilled", help="Whether prompts ended in <think>.", show_default=False
        ),
    ] = None,
    tokenizer: Counter = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of diagnosis.html and .json; default runs/diagnose-NAME.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say where the tokens of completions go, what comes after the answer, and what might be saved; trains nothing."""
    from rich.console import Console

    from drp import api
    from drp.cli.terminal import terminal
    from drp.diagnosis.terminal import print_diagnosis

    folder = (
        out or Path("runs") / f"diagnose-{Path(source).stem if Path(source).is_file() else Path(source).name}"
    )
    with terminal() as (progress, say):
        found = api.diagnose(
            source, model=model, benchmark=benchmark, limit=limit, overrides=overrides or [], question=question,
            gold=gold, completion=completion, prefilled=prefilled, tokenizer=tokenizer, pruned=pruned, out=folder,
            progress=progress, say=say,
        )  # fmt: skip
    print_diagnosis(Console(), found)
    typer.echo(f"page: {folder / 'diagnosis.html'}")
