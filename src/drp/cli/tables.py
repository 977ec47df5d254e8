"""Tables on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from drp.errors import RunFolderError
from drp.recipe import PruneSettings
from drp.records import Trace
from drp.report.summary import RunSummary, by_benchmark, summarise_tier, tier_order
from drp.report.text import Table, before_after, pruning, training
from drp.report.write import protocol_line
from drp.runs.folder import StageFolder
from drp.stages.estimate import Estimate


def print_table(console: Console, table: Table) -> None:
    """Print one table; numbers to the right."""
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD,
        padding=(0, 1), collapse_padding=True, pad_edge=False,
    )  # fmt: skip
    for number, name in enumerate(table.head):
        left = number == 0 or table.head == ("figure", "value")
        shown.add_column(name, justify="left" if left else "right", no_wrap=table.head != ("figure", "value"))
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)
    if table.note:
        console.print(table.note, style="dim", highlight=False)


def print_report(run: Path) -> None:
    """Print the tables of a written report and where its page is."""
    summary = RunSummary.model_validate_json((run / "report" / "summary.json").read_bytes())
    console = Console()
    if summary.prune:
        print_table(console, pruning(summary.prune))
    trained = training(summary)
    if trained:
        print_table(console, trained)
    if summary.tiers:
        print_table(console, before_after(summary))
        console.print(protocol_line(summary), style="dim", highlight=False)
    console.print(f"report: {run / 'report' / 'report.html'}", highlight=False, soft_wrap=True)


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


def _evaluated(run: Path) -> dict[str, list[Trace]]:
    for name in ("evaluate/distilled", "evaluate/base"):
        traces = StageFolder(run / name, name).records(Trace)
        if traces:
            return by_benchmark(traces)
    raise RunFolderError(f"{run} has no evaluation; run `drp evaluate` on its recipe first")


def print_comparison(first: Path, second: Path) -> None:
    """Print two runs' distilled students side by side.

    Raises:
        RunFolderError: One of them has no evaluation, or they share no benchmark.
    """
    one, two = _evaluated(first), _evaluated(second)
    shared = sorted(set(one) & set(two), key=tier_order)
    if not shared:
        raise RunFolderError(f"{first} and {second} were evaluated on no common benchmark")
    tiers = [summarise_tier(benchmark, one[benchmark], two[benchmark]) for benchmark in shared]
    table = before_after(RunSummary(name="comparison", tiers=tuple(tiers)))
    named = Table(f"{first} → {second}", table.head, table.rows, table.note)
    print_table(Console(), named)
