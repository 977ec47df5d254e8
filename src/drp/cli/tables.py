"""Tables on the terminal."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from drp.benchmarks.completions import read_completions
from drp.engines.identity import resolve_model
from drp.errors import RunFolderError
from drp.grading import VERSION
from drp.grading.grader import Grader
from drp.recipe import PruneSettings
from drp.records import Trace, Usage
from drp.report.comparison import compared, compared_figures, tested
from drp.report.standing import evaluated, superseded
from drp.report.summary import RunSummary, TierSummary, by_benchmark, summarise_tier, tier_order
from drp.report.text import Table, as_csv, before_after, latex, markdown, pruning, training
from drp.report.write import protocol_line, protocol_of
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.stages.estimate import Estimate
from drp.stages.sampling import graded_again
from drp.text.answers import final_answer
from drp.text.thinking import join_thinking
from drp.text.tokens import FileTokenCounter

NOT_ONE = "NOT ONE PROTOCOL, or not known to be one: what differs below may be why the figures differ, too."


def print_table(console: Console, table: Table) -> None:
    """Print one table; numbers to the right."""
    shown = RichTable(
        title=Text(table.title), title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD,
        padding=(0, 1), collapse_padding=True, pad_edge=False,
    )  # fmt: skip
    for number, name in enumerate(table.head):
        left = number == 0 or name == "run" or table.head == ("figure", "value")
        wraps = table.head == ("figure", "value") or (number == 0 and name == "file")
        shown.add_column(
            Text(name),
            justify="left" if left else "right",
            no_wrap=not wraps,
            overflow="fold",
            min_width=12 if wraps else max(len(name), *(len(row[number]) for row in table.rows), 0),
        )
    for row in table.rows:
        shown.add_row(*map(Text, row))  # never markup: a template or a failure may hold "[/INST]"
    # A narrow terminal may break lines, but no figure may lose a digit.
    needed = console.measure(shown, options=console.options.update(max_width=1000)).minimum
    wide = console if needed <= console.width else Console(width=needed, file=console.file)
    wide.print(shown)
    if table.note:
        console.print(Text(table.note), style="dim")


def print_report(run: Path) -> None:
    """Print the tables of a written report and where its page is."""
    summary = RunSummary.model_validate_json((run / layout.REPORT / layout.SUMMARY).read_bytes())
    console = Console()
    if summary.prune:
        print_table(console, pruning(summary.prune))
    trained = training(summary)
    if trained:
        print_table(console, trained)
    if summary.tiers:
        print_table(console, before_after(summary))
    console.print(Text(protocol_line(summary)), style="dim")
    for note in summary.notes:
        console.print(Text(f"note: {note}"), style="yellow")
    console.print(Text(f"report: {run / layout.REPORT / layout.REPORT_HTML}"), soft_wrap=True)


def cost_table(found: Sequence[Estimate], settings: PruneSettings) -> Table:
    """Return estimates side by side; the recipe's own protocol is marked."""
    llm, price = settings.llm, settings.known_price
    chosen = "none" if llm.segmentation == "none" and settings.teacher != "direct" else settings.teacher
    rows = [
        (
            ("→ " if e.protocol == chosen else "") + ("no division" if e.protocol == "none" else e.protocol),
            f"{e.requests:,.0f}", _millions(e.usage.prompt_tokens), _millions(e.usage.completion_tokens),
            _dollars(e.online_usd), _dollars(e.batch_usd), f"{e.hours:.1f}",
        )
        for e in found
    ]  # fmt: skip
    notes = [f"{found[0].traces:,} traces, {llm.model}, {settings.candidates} candidate(s) a trace."]
    if price:
        notes.append(
            f"Prices: ${price.input:g} in, ${price.output:g} out per million tokens"
            + (f", list price of {price.on}" if price.on else "") + "; prune.price overrides."
        )  # fmt: skip
    else:
        notes.append("No price known: set prune.price={input: …, output: …}.")
    probed = "probed" in found[0].protocol
    notes.append(
        "Measured on the probe, scaled up." if probed
        else "Expect ± 30 %; --probe 20 measures. Repairs are taken as 10 %."
    )  # fmt: skip
    budget, own = settings.budget_usd, next((e for e in found if e.protocol == chosen or probed), None)
    cost = own and (own.batch_usd if settings.endpoint.batch else own.online_usd)
    if budget is not None and cost is not None and cost > budget:
        notes.append(f"That is more than prune.budget_usd={budget:g}: the run would stop there.")
    head = ("protocol", "requests", "tokens in", "out", "$ online", "$ batch", "hours")
    return Table("What the teacher will cost", head, tuple(rows), " ".join(notes))


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:,.2f} M" if tokens >= 1e5 else f"{tokens:,}"


def _dollars(amount: float | None) -> str:
    return "–" if amount is None else f"{amount:,.2f}"


Format = Literal["table", "markdown", "csv", "latex"]


def show(console: Console, table: Table, form: Format) -> None:
    """Print a table for people, or as text for a document."""
    if form == "table":
        print_table(console, table)
    else:
        typer.echo({"markdown": markdown, "csv": as_csv, "latex": latex}[form](table), nl=form == "markdown")


def grade_traces(
    traces: Sequence[Trace], *, from_thinking: bool = False, strict: bool = False
) -> list[Trace]:
    """Grade what is not graded yet; from the thinking only where asked, and the answer part has no answer."""
    graded: list[Trace] = []
    with Grader(strict=strict) as grader:
        for trace in traces:
            if trace.correct is None:
                text = trace.answer
                if from_thinking and final_answer(text) is None:
                    text = trace.thinking
                trace = trace.model_copy(update={"correct": grader.is_correct(text, trace.gold)})
            graded.append(trace)
    return graded


def file_title(path: Path) -> str:
    """Return a file's name without what lm-eval puts around it."""
    return re.sub(r"^samples_|_\d{4}-\d\d-\d\dT[\d.-]+$", "", path.stem)


def counted(traces: Sequence[Trace], tokenizer: str | None) -> list[Trace]:
    """Count the tokens of completions that come without a count, if a tokenizer is named."""
    if tokenizer is None:
        return list(traces)
    counter = FileTokenCounter(resolve_model(tokenizer))
    found: list[Trace] = []
    for trace in traces:
        if trace.usage is None:
            thought = join_thinking(trace.thinking, trace.answer) if trace.thinking and trace.closed else ""
            text = thought or trace.thinking + trace.answer
            trace = trace.model_copy(update={"usage": Usage(completion_tokens=counter(text))})
        found.append(trace)
    return found


def evaluated_at(path: Path) -> tuple[list[Trace], str]:
    """Return the graded traces of a run folder's last model, or of a file of completions, and their protocol.

    Raises:
        RunFolderError: The folder has no evaluation, or one of a model that is not there any more.
    """
    if path.is_file():
        return grade_traces(read_completions(path)), "protocol: as it was made elsewhere"
    newer: list[str] = []
    run = RunReader(path, newer.append)
    if said := superseded(run):
        raise RunFolderError(f"{path}: {said}")
    for which in (layout.DISTILLED, layout.BASE):
        traces, manifest = evaluated(run, which), run.manifest(layout.evaluation(which))
        if traces and manifest:
            runs = 1 + max(t.sample for t in traces)
            protocol = f"{which}. {protocol_of(manifest.settings, runs)}"
            if manifest.graded_by != VERSION:
                with Grader() as grader:
                    traces = graded_again(traces, grader)
                protocol += " Graded here by this version; the folder's own verdicts are an earlier one's."
            return traces, " ".join([protocol, *newer])
    if not path.exists():
        raise RunFolderError(f"{path} does not exist; name a run folder or a file of completions")
    raise RunFolderError(f"{path} has no evaluation; run `drp evaluate` on its recipe first")


def print_comparison(
    paths: Sequence[Path], form: Format, margin: float, tokenizer: str | None = None
) -> None:
    """Print runs or files of completions against the first of them, with their protocols.

    Raises:
        RunFolderError: One has no evaluation, or shares no benchmark with the first.
    """
    protocols: dict[str, list[str]] = {}
    names = [path.stem if path.is_file() else path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]

    def load(path: Path, name: str) -> dict[str, list[Trace]]:
        traces, protocol = evaluated_at(path)
        protocols.setdefault(protocol, []).append(name)
        return by_benchmark(counted(traces, tokenizer))

    first, base = paths[0], load(paths[0], names[0])
    runs: list[tuple[str, list[TierSummary]]] = []
    for path, name in zip(paths[1:], names[1:], strict=True):
        found = load(path, name)
        if len(base) == len(found) == 1 and first.is_file() and path.is_file():
            found = dict(zip(base, found.values(), strict=True))  # files are named as they like
        shared = sorted(set(base) & set(found), key=tier_order)
        if not shared:
            raise RunFolderError(f"{first} and {path} were evaluated on no common benchmark")
        runs.append((name, [summarise_tier(b, base[b], found[b], margin) for b in shared]))
    console = Console()
    if form == "csv":
        show(console, compared_figures(names[0], runs), form)
        return
    table = compared(names[0], runs)
    apart = {re.sub(r"^(base|distilled)\. ", "", protocol) for protocol in protocols}
    notes = [
        table.note,
        *([NOT_ONE] if len(apart) > 1 else []),
        *(f"{', '.join(who)}: {protocol}" for protocol, who in protocols.items()),
    ]
    show(console, replace(table, note="\n".join(notes)), form)
    show(console, tested(names[0], runs, margin), form)
