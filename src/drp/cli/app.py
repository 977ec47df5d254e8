"""The command line. Every command imports what it needs when it runs, so that help is instant."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from drp.cli.diagnose import diagnose
from drp.cli.export import export
from drp.cli.first_minutes import doctor, init, recipes
from drp.cli.plan import plan
from drp.cli.push import push
from drp.cli.results import compare, grade, report, tasks
from drp.cli.stages import estimate, evaluate, generate, merge, prune, rounds, run, train
from drp.cli.view import view


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
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        import drp

        typer.echo(f"drp {drp.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what stands before a command."""


VERBS = (
    init, doctor, recipes, diagnose, plan, run, rounds, generate, prune, estimate, train, merge, evaluate, report, view, grade, compare, export, push, tasks,
)  # fmt: skip
for command in VERBS:
    app.command()(command)


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
        if out_of_memory(error):
            _no_memory(error)
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
        if not out_of_memory(error):
            raise
        _no_memory(error)


def _no_memory(error: Exception) -> NoReturn:
    reason = (str(error).splitlines() or ["out of memory"])[0]
    typer.secho(
        f"error: {reason}\nWhat was finished is on file. Lower what goes through the model at once (generate.engine.batch_size, "
        "evaluate.engine.batch_size, train.device_batch, train.device_tokens, method.device_batch) or train.max_length, and run the "
        "same command again.",
        fg="red",
        err=True,
    )
    sys.exit(1)
