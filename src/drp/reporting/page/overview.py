"""What the page says of a run before any trace: figures, plots, failures, where it all comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from markupsafe import Markup

from drp.reporting import text
from drp.reporting.page import plots
from drp.reporting.page.plots import Measured
from drp.reporting.page.provenance import (
    FailureKind,
    TrainingStep,
    failure_kinds,
    money,
    origin,
    recipe_text,
    training_steps,
)
from drp.reporting.page.skills import SkillFigures, SkillTable
from drp.reporting.refused import refused_table
from drp.reporting.standing import evaluated
from drp.reporting.summary import BenchmarkSummary, RunSummary, benchmark_order, by_benchmark
from drp.reporting.text import Table
from drp.runs import layout
from drp.runs.reader import RunReader


@dataclass(frozen=True)
class PageRun:
    """A run to show."""

    reader: RunReader
    summary: RunSummary
    protocol: str
    """How it was evaluated, in one line."""
    name: str
    """What the page calls it; of several runs, no two alike."""


@dataclass(frozen=True)
class Card:
    """Before and after on one benchmark, at a glance."""

    result: BenchmarkSummary
    picture: Markup
    difference: str = ""
    """Of the accuracies, in points; empty where there is nothing to compare with."""
    difference_interval: str = ""
    tokens: str = ""
    """Their change, in per cent; empty likewise."""
    tokens_interval: str = ""


@dataclass(frozen=True)
class Overview:
    """All that a run's first view shows."""

    run: PageRun
    cards: tuple[Card, ...]
    tables: tuple[Table, ...]
    """Of the summary, then the refusals, the money and the provenance, as far as there are any."""
    histograms: tuple[Markup, ...]
    curves: tuple[Markup, ...]
    failures: tuple[FailureKind, ...]
    skills: tuple[tuple[str, SkillFigures], ...]
    recipe: str | None
    first_example: str | None
    """The first training example as it was written before training."""


def overview(run: PageRun, skills: SkillTable) -> Overview:
    """Return what the first view of a run shows."""
    reader, summary = run.reader, run.summary
    before, after = (by_benchmark(evaluated(reader, which)) for which in (layout.BASE, summary.outcome))
    benchmarks = sorted({*before, *after}, key=benchmark_order)
    more = (refused_table(reader), money(summary), origin(reader, summary))
    example = reader.path / layout.TRAIN / layout.FIRST_EXAMPLE
    return Overview(
        run=run,
        cards=tuple(map(_card, summary.benchmarks)),
        tables=(*text.tables(summary), *(table for table in more if table)),
        histograms=tuple(
            plots.histogram(b, before.get(b, []), after.get(b, []), summary.outcome) for b in benchmarks
        ),
        curves=tuple(_curves(training_steps(reader))),
        failures=tuple(failure_kinds(reader)),
        skills=tuple(skills.ranked()),
        recipe=recipe_text(reader),
        first_example=example.read_text(encoding="utf-8") if example.is_file() else None,
    )


def measured_models(run: PageRun) -> list[Measured]:
    """Return the models that a run evaluated, the base before what came of it, benchmark by benchmark."""
    return [
        Measured(run.name, model, metrics)
        for result in run.summary.benchmarks
        for model, metrics in ((layout.BASE, result.base), (run.summary.outcome, result.after))
        if metrics
    ]


def _card(result: BenchmarkSummary) -> Card:
    card, c = Card(result, plots.intervals(result.base, result.after)), result.comparison
    if c is None:
        return card
    interval, ratio, spread = c.accuracy_difference_interval, c.tokens_ratio, c.tokens_ratio_interval
    return replace(
        card,
        difference=_signed(100 * c.accuracy_difference, 1),
        difference_interval=f"[{_signed(100 * interval.low, 1)}, {_signed(100 * interval.high, 1)}]",
        tokens="" if ratio is None else f"{_signed(100 * (ratio - 1), 0)} %",
        tokens_interval=f"[{_signed(100 * (spread.low - 1), 0)}, {_signed(100 * (spread.high - 1), 0)}]"
        if spread
        else "",
    )


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, a minus as wide as a plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _curves(steps: list[TrainingStep]) -> list[Markup]:
    figures: tuple[tuple[str, str, Callable[[TrainingStep], float | None]], ...] = (
        ("Loss", "loss", lambda step: step.loss),
        ("Reward", "reward", lambda step: step.reward),
        ("Tokens drawn, mean", "tokens", lambda step: step.tokens),
    )
    found: list[Markup] = []
    for title, kind, figure in figures:
        known = [(step.step, value) for step in steps if (value := figure(step)) is not None]
        if len(known) > 1:
            found.append(plots.curve(title, [step for step, _ in known], [value for _, value in known], kind))
    return found
