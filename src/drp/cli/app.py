"""The command line. Every command imports what it needs when it runs, so that help is instant."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from drp.cli.options import Counter, Limit, Out, Overrides, Partial, RecipePath, Teacher, named, recipe_of
from drp.cli.view import view

if TYPE_CHECKING:
    from drp.cli.tables import Format
    from drp.records import PrunedTrace
    from drp.runs.stage import Progress, Say


class _Commands(TyperGroup):
    """The commands; Ctrl-C is answered here, before typer calls it an abort."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.secho("stopped; the same command continues where this one left off", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="drp",
    cls=_Commands,
    help="Make a reasoning model think shorter without getting worse: prune its own traces step by step, "
    "fine-tune it on them, and measure what that did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@contextmanager
def _terminal() -> "Generator[tuple[Progress, Say]]":
    """Provide a view of progress and what prints a line."""
    from rich.console import Console
    from rich.text import Text

    from drp.cli.progress import TerminalProgress

    console = Console()
    progress = TerminalProgress(console)
    try:
        yield progress, lambda line: console.print(Text(line))
    finally:
        progress.close()


@app.command()
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
    from drp import api

    recipe, changes = recipe_of(recipe, overrides, out)
    if dry_run:
        for line in api.plan(recipe, changes, out=out, limit=limit):
            typer.echo(line)
        return
    from drp.cli.tables import print_report

    with _terminal() as (progress, say):
        summary = api.run(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)
    print_report(summary)


@app.command()
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
    with _terminal() as (progress, say):
        api.generate(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)


@app.command()
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
    with _terminal() as (progress, say):
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
    pruned: list[PrunedTrace] = []
    with _terminal() as (progress, say):
        try:
            pruned = api.prune(loaded, traces=traces, out=out, limit=limit, progress=progress, say=say)
        except IncompleteError as error:  # what did work is shown first
            owed = error
    print_refused(pruned, out)
    print_pruning(read_summary(out), f"{traces.name} (tokens by {loaded.prune.tokenizer or 'mini'})")
    if owed:
        raise owed


@app.command()
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
) -> None:
    """Say what a language-model teacher will cost, before anything is spent."""
    from rich.console import Console

    from drp import api
    from drp.cli.tables import cost_table
    from drp.recipe import load_recipe
    from drp.reporting.terminal import print_table

    loaded = load_recipe(*named(recipe, overrides, teacher))
    with _terminal() as (_, say):
        found = api.estimate(
            loaded, traces=traces, trace_tokens=trace_tokens, probe=probe, out=out, limit=limit, say=say
        )
    print_table(Console(), cost_table(found, loaded.prune))


@app.command()
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
    with _terminal() as (progress, say):
        api.train(recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say)


@app.command()
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


@app.command()
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
    with _terminal() as (progress, say):
        summary = api.evaluate(
            recipe, changes, out=out, limit=limit, partial=partial, progress=progress, say=say
        )
    print_report(summary)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Write report.md and report.html of a run folder, and print its tables."""
    from drp import api
    from drp.cli.tables import print_report

    print_report(api.report(run))


app.command()(view)


@app.command()
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


@app.command()
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


@app.command()
def tasks() -> None:
    """Print the folder of our tasks for lm-eval, for its option --include_path."""
    typer.echo(Path(__file__).parent.parent / "evaluation" / "lm_eval")


def _form(name: str) -> "Format":
    if name not in ("table", "markdown", "csv", "latex"):
        raise typer.BadParameter(f"no such format: {name}; choose table, markdown, csv or latex")
    return name


def _show(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the place in the code that gave it."""
    typer.secho(f"note: {message}", fg="yellow", err=True)


def main() -> None:
    """Entry point: errors of ours are one message, not a traceback."""
    import warnings

    from drp.errors import DrpError, out_of_memory

    # The training libraries warn their own developers of coming changes; users can do nothing about it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.showwarning = _show
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no arrow there: a question mark, not a traceback
            stream.reconfigure(errors="replace")
    try:
        app()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.filename is not None or error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.secho(
            f"error: cannot print the result ({error.strerror}); what was written to files stays",
            fg="red",
            err=True,
        )
        sys.exit(1)
    except DrpError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["out of memory"])[0]
        if not out_of_memory(error):
            raise
        typer.secho(
            f"error: {reason}\nWhat was finished is on file. Lower what goes through the model at once "
            "(generate.engine.batch_size, evaluate.engine.batch_size, train.device_batch, method.device_batch) or train.max_length, and "
            "run the same command again.",
            fg="red",
            err=True,
        )
        sys.exit(1)
