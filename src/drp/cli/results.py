"""The commands that read what is on file: runs, and completions from anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drp.cli.options import Counter

if TYPE_CHECKING:
    from drp.cli.tables import Format


def report(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Write report.md and report.html of a run folder, and print its tables."""
    from drp import api
    from drp.cli.tables import print_report

    print_report(api.report(run))


def grade(  # noqa: PLR0913  options of one command, by name
    files: Annotated[
        list[Path], typer.Argument(help="JSONL or Parquet files of completions, or lm-eval samples.")
    ],
    question: Annotated[str | None, typer.Option(help="Field of the question.", show_default=False)] = None,
    gold: Annotated[str | None, typer.Option(help="Field of the gold answer.", show_default=False)] = None,
    completion: Annotated[
        str | None, typer.Option(help="Field of the completion.", show_default=False)
    ] = None,
    from_thinking: Annotated[
        bool, typer.Option("--from-thinking", help="Read the thinking where the answer part has no answer.")
    ] = False,
    prefilled: Annotated[
        bool | None,
        typer.Option(
            "--prefilled/--no-prefilled",
            help="Whether the prompts ended in <think>, so that a text without </think> is thinking that never "
            "closed. Left out: told from the file's other completions.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Accept only answers in a box or after ####, none read from prose."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the graded completions here (JSONL).", show_default=False),
    ] = None,
    tokenizer: Counter = None,
    price: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Dollars per million generated tokens: adds the cost of right answers.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or latex.")] = "table",
) -> None:
    """Grade completions from anywhere, and sum them up: accuracy, closed and looping shares, tokens."""
    from drp import api
    from drp.cli.tables import print_graded

    if out and not out.parent.is_dir():
        raise typer.BadParameter(f"--out {out}: there is no folder {out.parent}; make it, or name another")
    shown = _form(form)
    graded = api.grade(
        files, question=question, gold=gold, completion=completion, from_thinking=from_thinking,
        prefilled=prefilled, strict=strict, tokenizer=tokenizer, out=out,
    )  # fmt: skip
    print_graded(graded, shown, price)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders or files of completions; the first is the base.")
    ],
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or latex.")] = "table",
    margin: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="A loss below this many points is not less accurate.")
    ] = 1.0,
    tokenizer: Counter = None,
) -> None:
    """Compare runs, or files of completions, problem by problem with the first: accuracy, tokens, non-inferiority."""
    from drp import api
    from drp.cli.tables import print_comparison

    if len(runs) < 2:
        raise typer.BadParameter("name two or more run folders or files")
    shown = _form(form)
    print_comparison(api.compare(runs, margin=margin / 100, tokenizer=tokenizer), shown)


def tasks() -> None:
    """Print the folder of our tasks for lm-eval, for its option --include_path."""
    typer.echo(Path(__file__).parent.parent / "evaluation" / "lm_eval")


def _form(name: str) -> "Format":
    if name not in ("table", "markdown", "csv", "latex"):
        raise typer.BadParameter(f"no such format: {name}; choose table, markdown, csv or latex")
    return name
