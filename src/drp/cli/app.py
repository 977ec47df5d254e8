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

if TYPE_CHECKING:
    from drp.cli.tables import Format
    from drp.pipeline import Pipeline
    from drp.recipe import Recipe


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

RecipePath = Annotated[
    str | None,
    typer.Argument(
        help="Recipe (YAML), such as recipes/mini.yaml, or a run folder, for its own. Left out: that of --out.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe: section.field=value …", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Run folder; default runs/<recipe name>.", show_default=False)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="At most this many problems per problem set.", show_default=False),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Go on without the items of a stage that failed and are still owed.")
]
Counter = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", help="Folder or hub id: counts tokens where a file has no counts.", show_default=False
    ),
]


def _recipe_and_folder(
    recipe: str | None, overrides: list[str] | None, out: Path | None
) -> "tuple[Recipe, Path]":
    """Return the recipe that was named, a run folder's own if none was, and the run folder."""
    from drp.recipe import load_recipe
    from drp.runs import layout

    changes = list(overrides or [])
    if recipe is not None and "=" in recipe:  # no recipe was named, only changes
        changes, recipe = [recipe, *changes], None
    if recipe is None and (out is None or not (out / layout.RECIPE).exists()):
        raise typer.BadParameter("name a recipe, or give --out a run folder that has one (recipe.json)")
    named = Path(recipe) if recipe else out
    loaded = load_recipe(named, changes)
    if out is None:
        out = named if named and named.is_dir() else Path("runs") / loaded.name
    return loaded, out


@contextmanager
def _pipeline(
    recipe: str | None,
    overrides: list[str] | None,
    out: Path | None,
    limit: int | None,
    partial: bool,
) -> "Generator[Pipeline]":
    from rich.console import Console
    from rich.text import Text

    from drp.cli.progress import TerminalProgress
    from drp.pipeline import Pipeline
    from drp.runs.folder import RunFolder

    loaded, folder = _recipe_and_folder(recipe, overrides, out)
    console = Console()
    progress = TerminalProgress(console)
    with RunFolder(folder, lambda text: console.print(Text(f"note: {text}"))) as run:
        try:
            yield Pipeline(
                loaded, run, progress, lambda line: console.print(Text(line)), limit, partial=partial
            )
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
    if dry_run:
        from drp.planning import plan

        loaded, folder = _recipe_and_folder(recipe, overrides, out)
        for line in plan(loaded, folder, limit):
            typer.echo(line)
        return
    from drp.cli.tables import print_report

    with _pipeline(recipe, overrides, out, limit, partial) as pipeline:
        pipeline.run()
        print_report(pipeline.run_folder.path)


@app.command()
def generate(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Draw the student's own traces of the training problems."""
    with _pipeline(recipe, overrides, out, limit, partial) as pipeline:
        pipeline.run("generate")


@app.command()
def prune(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    traces: Annotated[
        Path | None, typer.Option("--traces", help="Prune traces of this JSONL file instead of a run's own.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Teacher, instead of the recipe's.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Folder or hub id of the tokenizer that counts tokens.")
    ] = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Let the teacher prune traces: a run's own, or with --traces those of any JSONL file."""
    changes = list(overrides or [])
    changes += [f"prune.teacher={teacher}"] if teacher else []
    changes += [f"prune.tokenizer={tokenizer}"] if tokenizer else []
    if traces is None:
        with _pipeline(recipe, changes, out, limit, partial) as pipeline:
            pipeline.run("prune")
        return
    if recipe is not None and "=" in recipe:  # no recipe was named, only changes
        changes, recipe = [recipe, *changes], None
    from drp.recipe import load_recipe

    _prune_file(
        traces,
        load_recipe(Path(recipe) if recipe else None, changes),
        out or Path("runs") / traces.stem,
        limit,
    )


def _prune_file(traces: Path, recipe: "Recipe", out: Path, limit: int | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from drp.cli.progress import TerminalProgress
    from drp.cli.tables import print_table
    from drp.errors import IncompleteError
    from drp.pipeline import prune_file
    from drp.report.summary import summarise_prune
    from drp.report.text import pruning
    from drp.report.write import write_report
    from drp.runs import layout
    from drp.runs.folder import RunFolder

    console = Console()
    progress = TerminalProgress(console)
    with RunFolder(out) as run:
        try:
            prune_file(traces, run, recipe, progress, limit, lambda line: console.print(Text(line)))
        finally:
            progress.close()
        summary = summarise_prune(run.stage(layout.PRUNE))
        page = write_report(run.path, f"{traces.name}, pruned by {recipe.prune.teacher}")
        pending = run.stage(layout.PRUNE).pending()
    if summary:
        print_table(
            console, pruning(summary, f"{traces.name} (tokens by {recipe.prune.tokenizer or 'mini'})")
        )
    console.print(Text(f"report: {page}"), soft_wrap=True)
    if pending:
        raise IncompleteError(f"{pending}. The same command tries them again")


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
    out: Out = None,
    limit: Limit = None,
) -> None:
    """Say what a language-model teacher will cost, before anything is spent."""
    from rich.console import Console
    from rich.text import Text

    from drp.cli.tables import cost_table, print_table
    from drp.planning import estimate_costs
    from drp.recipe import load_recipe

    changes = list(overrides or [])
    if recipe is not None and "=" in recipe:  # no recipe was named, only changes
        changes, recipe = [recipe, *changes], None
    loaded = load_recipe(Path(recipe) if recipe else None, changes)
    folder = out or Path("runs") / (traces.stem if traces else loaded.name)
    console = Console()
    found = estimate_costs(
        loaded, folder, traces, lambda line: console.print(Text(line)),
        limit=limit, trace_tokens=trace_tokens, probe_traces=probe,
    )  # fmt: skip
    print_table(console, cost_table(found, loaded.prune))


@app.command()
def train(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Fine-tune the student on the accepted pruned traces of the run."""
    with _pipeline(recipe, overrides, out, limit, partial) as pipeline:
        pipeline.run("train")


@app.command()
def merge(
    run: Annotated[Path, typer.Argument(help="Run folder with a trained adapter.")],
    strength: Annotated[
        float,
        typer.Option(
            min=0.0, help="Scale of the adapter: 0 is the student, 1 as trained, above 1 beyond it."
        ),
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the model; default RUN/train/model-STRENGTH.", show_default=False
        ),
    ] = None,
) -> None:
    """Merge a run's adapter into the student at another strength: length against accuracy, without training."""
    from drp.stages.train import merge_at

    typer.echo(f"model: {merge_at(run, strength, out or run / 'train' / f'model-{strength:g}')}")


@app.command()
def evaluate(
    recipe: RecipePath = None,
    overrides: Overrides = None,
    out: Out = None,
    limit: Limit = None,
    partial: Partial = False,
) -> None:
    """Run the student before and after on the same problems, and report."""
    from drp.cli.tables import print_report

    with _pipeline(recipe, overrides, out, limit, partial) as pipeline:
        pipeline.run("evaluate", "report")
        print_report(pipeline.run_folder.path)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Write report.md and report.html of a run folder, and print its tables."""
    from drp.cli.tables import print_report
    from drp.errors import RunFolderError
    from drp.report.write import write_report
    from drp.runs.reader import RunReader

    reader = RunReader(run)
    if not reader.began:
        what = "no stage has run there" if run.is_dir() else "there is no such folder"
        raise RunFolderError(
            f"{run} is not a run folder: {what}. Name one, or make it with `drp run RECIPE --out {run}`"
        )
    write_report(run, reader.recipe_name or run.name)
    print_report(run)


@app.command()
def grade(
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
    from rich.console import Console

    from drp.benchmarks.completions import Fields, read_completions
    from drp.cli.tables import counted, file_title, grade_traces, show
    from drp.evaluation.metrics import measure
    from drp.report.comparison import figures
    from drp.report.text import measured
    from drp.runs.journal import write_atomically

    if out and not out.parent.is_dir():
        raise typer.BadParameter(f"--out {out}: there is no folder {out.parent}; make it, or name another")
    fields = Fields(question=question, gold=gold, completion=completion)
    notes = [f"Tokens by the tokenizer of {tokenizer}, where none were recorded."] if tokenizer else []
    read = [read_completions(file, fields, prefilled=prefilled, say=notes.append) for file in files]
    graded = [
        counted(grade_traces(traces, from_thinking=from_thinking, strict=strict), tokenizer)
        for traces in read
    ]
    rows = [
        (file_title(file), measure(file.stem, traces)) for file, traces in zip(files, graded, strict=True)
    ]
    notes += ["Strict: only answers in a box or after #### count."] if strict else []
    note = "\n".join(notes)
    if note and form in ("csv", "latex"):  # which have no place for it
        typer.echo(note, err=True)
    if form == "csv":
        show(Console(), figures([(m.benchmark, name, m, None) for name, m in rows]), form)
    else:
        show(Console(), measured(rows, "Graded completions", price, note.strip()), _form(form))
    if out:
        lines = [t.model_dump_json() + "\n" for traces in graded for t in traces]
        write_atomically(out, "".join(lines))


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
    from drp.cli.tables import print_comparison

    if len(runs) < 2:
        raise typer.BadParameter("name two or more run folders or files")
    print_comparison(runs, _form(form), margin / 100, tokenizer)


@app.command()
def tasks() -> None:
    """Print the folder of our tasks for lm-eval, for its option --include_path."""
    typer.echo(Path(__file__).parent.parent / "evaluation" / "lm_eval")


def _form(name: str) -> "Format":
    if name not in ("table", "markdown", "csv", "latex"):
        raise typer.BadParameter(f"no such format: {name}; choose table, markdown, csv or latex")
    return name


def main() -> None:
    """Entry point: errors of ours are one message, not a traceback."""
    import warnings

    from drp.errors import DrpError, out_of_memory

    # The training libraries warn their own developers of coming changes; users can do nothing about it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, TextIOWrapper
        ):  # a terminal that knows no arrow gets a question mark, not a traceback
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
            "(generate.batch_size, evaluate.batch_size, train.device_batch, rl.device_batch) or train.max_length, and "
            "run the same command again.",
            fg="red",
            err=True,
        )
        sys.exit(1)
