"""Tables on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.text import Text

from drp.evaluation.graded import Graded
from drp.recipe import PruneSettings
from drp.records import PrunedTrace
from drp.reporting.comparison import compared, compared_figures, figures, tested
from drp.reporting.pairing import ComparedRuns
from drp.reporting.refused import refused, unusable
from drp.reporting.summary import RunSummary
from drp.reporting.terminal import print_table
from drp.reporting.text import Table, as_csv, before_after, latex, markdown, measured, pruning, training
from drp.reporting.write import protocol_line
from drp.runs.reader import RunReader
from drp.stages.estimate import Estimate

Format = Literal["table", "markdown", "csv", "latex"]


def show(console: Console, table: Table, form: Format) -> None:
    """Print a table for people, or as text for a document."""
    if form == "table":
        print_table(console, table)
    else:
        typer.echo({"markdown": markdown, "csv": as_csv, "latex": latex}[form](table), nl=form == "markdown")


def print_refused(pruned: Sequence[PrunedTrace], run: Path | None = None) -> None:
    """Print which checks refused how many traces, and what the teacher called unusable in a run, if anything was refused."""
    if table := refused(pruned, unusable(RunReader(run)) if run else ()):
        print_table(Console(), table)


def print_pruning(summary: RunSummary, title: str) -> None:
    """Print what became of a file of traces and where the page is."""
    console = Console()
    if summary.prune:
        print_table(console, pruning(summary.prune, title))
    console.print(Text(f"report: {summary.page}"), soft_wrap=True)


def print_report(summary: RunSummary) -> None:
    """Print the tables of a written report and where its page is."""
    console = Console()
    if summary.prune:
        print_table(console, pruning(summary.prune))
    trained = training(summary)
    if trained:
        print_table(console, trained)
    if summary.benchmarks:
        print_table(console, before_after(summary))
    console.print(Text(protocol_line(summary)), style="dim")
    for note in summary.notes:
        console.print(Text(f"note: {note}"), style="yellow")
    console.print(Text(f"report: {summary.page}"), soft_wrap=True)


def cost_table(found: Sequence[Estimate], settings: PruneSettings) -> Table:
    """Return estimates side by side; the recipe's own protocol is marked."""
    price, probed = settings.known_price, "probed" in found[0].protocol
    rows = [
        (
            ("→ " if e.chosen and not probed else "")
            + ("no division" if e.protocol == "none" else e.protocol),
            "–" if e.gpu else f"{e.requests:,.0f}",
            "–" if e.gpu else _millions(e.usage.prompt_tokens),
            "–" if e.gpu else _millions(e.usage.completion_tokens),
            _dollars(e.online_usd),
            _dollars(e.batch_usd),
            f"{e.hours:.1f}",
        )
        for e in found
    ]
    notes = [f"{found[0].traces:,} traces, {found[0].model}, {settings.candidates} candidate(s) a trace."]
    if student := next((e for e in found if e.gpu), None):
        notes.append(
            f"Student: {student.model} itself, no key; forecast for one {student.gpu}, as drp plan does."
        )
    if price:
        notes.append(
            f"Prices: ${price.input:g} in, ${price.output:g} out per million tokens"
            + (f", list price of {price.on}" if price.on else "")
            + "; prune.price overrides."
        )
    elif settings.teacher.asked():
        notes.append("No price known: set prune.price={input: …, output: …}.")
    notes.append(
        "Measured on the probe, scaled up."
        if probed
        else "Expect ± 30 %; --probe 20 measures. Repairs are taken as 10 %."
    )
    budget, own = settings.budget_usd, next((e for e in found if e.chosen), None)
    cost = own and (own.batch_usd if own.batch else own.online_usd)
    if budget is not None and cost is not None and cost > budget:
        notes.append(f"That is more than prune.budget_usd={budget:g}: the run would stop there.")
    head = ("protocol", "requests", "tokens in", "out", "$ online", "$ batch", "hours")
    return Table("What the teacher will cost", head, tuple(rows), " ".join(notes))


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:,.2f} M" if tokens >= 1e5 else f"{tokens:,}"


def _dollars(amount: float | None) -> str:
    return "–" if amount is None else f"{amount:,.2f}"


def print_graded(graded: Graded, form: Format, price: float | None) -> None:
    """Print the figures of graded files; ``price`` in dollars per million generated tokens."""
    note = "\n".join(graded.notes)
    if note and form in ("csv", "latex"):  # which have no place for it
        typer.echo(note, err=True)
    if form == "csv":
        show(Console(), figures([(f.metrics.benchmark, f.name, f.metrics, None) for f in graded.files]), form)
    else:
        rows = [(f.name, f.metrics) for f in graded.files]
        show(Console(), measured(rows, "Graded completions", price, note.strip()), form)


def print_comparison(found: ComparedRuns, form: Format) -> None:
    """Print runs or files of completions against the first of them, with their protocols."""
    console = Console()
    if form == "csv":
        show(console, compared_figures(found), form)
        return
    show(console, compared(found), form)
    show(console, tested(found), form)
