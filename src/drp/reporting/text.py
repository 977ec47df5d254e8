"""Numbers and tables as text, shared by the terminal, Markdown and HTML."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from drp.evaluation.comparison import Comparison
from drp.evaluation.metrics import Metrics
from drp.evaluation.statistics import Interval
from drp.reporting.summary import PruneSummary, RunSummary
from drp.runs import layout
from drp.text.answers import Reading


@dataclass(frozen=True)
class Table:
    """A table of plain strings."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def percent(value: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * value:.{digits}f} %"


def bracket(interval: Interval, scale: float = 1.0, digits: int = 1) -> str:
    """Return an interval as ``[low, high]``."""
    return f"[{scale * interval.low:.{digits}f}, {scale * interval.high:.{digits}f}]"


def p_value(value: float) -> str:
    """Return a p value as text."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _pair(before: str, after: str | None) -> str:
    return f"{before} → {after}" if after is not None else before


def before_after(summary: RunSummary) -> Table:
    """Return accuracy and tokens per benchmark before and after, with paired differences.

    Narrow enough for a terminal of 80 columns.
    """
    rows: list[tuple[str, ...]] = []
    for result in summary.benchmarks:
        base, after, c = result.base, result.after, result.comparison
        accuracy = _pair(f"{100 * base.accuracy:.1f}", f"{100 * after.accuracy:.1f}" if after else None)
        tokens = _pair(f"{base.tokens_mean:.0f}", f"{after.tokens_mean:.0f}" if after else None)
        tokens = tokens if base.tokens_mean else "–"
        row = (result.benchmark, str(base.problems), accuracy)
        if c is None:
            rows.append((*row, "–", "–", "–", tokens, "–"))
            continue
        points, interval = f"{100 * c.accuracy_difference:+.1f}", bracket(c.accuracy_difference_interval, 100)
        change = "–" if c.tokens_ratio is None else f"{100 * (c.tokens_ratio - 1):+.0f} %"
        rows.append((*row, points, interval, p_value(c.accuracy_p), tokens, change))
    return Table(
        "Before and after",
        ("benchmark", "n", "accuracy, %", "diff.", "95 % CI", "p", "tokens", "change"),
        tuple(rows),
        "Accuracy is Pass@1 over the runs; its difference is paired by problem, in points, with an "
        "interval that also holds where few problems differ; p is of a paired permutation test.",
    )


VERDICT = ("bound", "p", "shown", "McNemar p", "n can tell")
VERDICT_NOTE = (
    "Bound: one-sided 95 % lower bound of the difference in points; shown if it lies above minus the margin. The last "
    "column is the smallest true difference, in points, that so many problems tell from none (power 80 %)."
)


def verdict(c: Comparison) -> tuple[str, ...]:
    """Return the cells under :data:`VERDICT`: whether the second model is shown not to be less accurate."""
    test = c.non_inferiority
    return (
        f"{100 * test.lower_bound:+.1f}",
        p_value(test.p),
        "yes" if test.shown else "not shown",
        "–" if c.mcnemar_p is None else p_value(c.mcnemar_p),
        f"{100 * c.smallest_difference:.1f}",
    )


def not_inferior(summary: RunSummary) -> Table:
    """Return, per benchmark, whether the second model is shown not to be less accurate, and what n can tell."""
    compared = [(result.benchmark, result.comparison) for result in summary.benchmarks if result.comparison]
    margin = compared[0][1].non_inferiority.margin if compared else 0.0
    return Table(
        f"Not less accurate, by {100 * margin:g} point(s)?",
        ("benchmark", "n", *VERDICT),
        tuple((benchmark, str(c.problems), *verdict(c)) for benchmark, c in compared),
        VERDICT_NOTE,
    )


def _row(benchmark: str, name: str, m: Metrics) -> tuple[str, ...]:
    thinking = f"{m.thinking_mean:.0f}" if m.thinking_mean is not None else "–"
    return (
        benchmark, name, f"{percent(m.accuracy)} {bracket(m.accuracy_interval, 100)}",
        f"{m.tokens_mean:.0f} {bracket(m.tokens_interval, digits=0)}", thinking,
        f"{m.tokens_median:.0f}", f"{m.tokens_p95:.0f}", f"{m.tokens_p99:.0f}",
        percent(m.truncated), percent(m.unclosed), percent(m.looping),
    )  # fmt: skip


def readings(metrics: Iterable[Metrics | None]) -> str:
    """Return by what the answers of some models were known: "Answers read from: box 480, last number 5."; or nothing."""
    total = sum((Counter(m.readings) for m in metrics if m), Counter[str]())
    found = [
        f"{name.replace('_', ' ')} {total[name]}" for name in (*get_args(Reading), "none") if total[name]
    ]
    return f"Answers read from: {', '.join(found)}." if found else ""


def details(summary: RunSummary) -> Table:
    """Return all figures of each model on each benchmark."""
    rows = [
        _row(result.benchmark, name, metrics)
        for result in summary.benchmarks
        for name, metrics in ((layout.BASE, result.base), (summary.outcome, result.after))
        if metrics
    ]
    return Table(
        "Tokens, tails and failures",
        ("benchmark", "model", "accuracy", "tokens, mean", "thinking", "median", "p95", "p99",
         "truncated", "unclosed", "looping"),
        tuple(rows),
        "Tokens are counted from generated ids. Truncated completions count at full length and, unless "
        f"answered before, as wrong. {readings(m for result in summary.benchmarks for m in (result.base, result.after))}".strip(),
    )  # fmt: skip


def measured(
    rows: Sequence[tuple[str, Metrics]], title: str, price: float | None = None, note: str = ""
) -> Table:
    """Return the figures of single models, one a row; ``price`` in dollars per million generated tokens."""

    def cost(m: Metrics) -> str:
        each = m.tokens_per_correct if m.tokens_mean else None
        if each is None:
            return "–"
        return f"{each:,.0f}" if price is None else f"{1000 * each * price / 1e6:.3f}"

    cells = [
        (
            name,
            f"{m.problems} × {m.runs}" if m.runs > 1 else str(m.problems),
            f"{100 * m.accuracy:.1f}",
            f"{100 * m.accuracy_interval.low:.1f}–{100 * m.accuracy_interval.high:.1f}",
            f"{m.tokens_mean:.0f}" if m.tokens_mean else "–",
            *(f"{100 * share:.1f}" for share in (m.unclosed, m.truncated, m.looping)),
            cost(m),
        )
        for name, m in rows
    ]
    head = (
        "file",
        "n",
        "pass@1",
        "95 % CI",
        "tokens",
        "open",
        "cut",
        "loops",
        "per right" if price is None else "$ / 1,000",
    )
    explained = (
        "n: problems × runs. Answers are read from the answer part only; unclosed thinking counts as wrong. Open, cut, loops: percent of "
        "completions whose thinking never closed, that were cut off at the token limit (as far as recorded), that end on "
        "repeating themselves. "
    )
    explained += "Per right: tokens for each right answer." if price is None else "$ for 1,000 right answers."
    said = " ".join(filter(None, (explained, readings(m for _, m in rows), note)))
    return Table(title, head, tuple(cells), said)


def costs(summary: RunSummary) -> Table | None:
    """Return tokens and seconds for each right answer, over all benchmarks, or ``None``."""
    rows: list[tuple[str, ...]] = []
    for name in (layout.BASE, summary.outcome):
        found = [m for t in summary.benchmarks if (m := t.base if name == layout.BASE else t.after)]
        right = sum(m.accuracy * m.problems * m.runs for m in found)
        if not found or not right:
            continue
        tokens = sum(m.tokens_mean * m.problems * m.runs for m in found)
        seconds = summary.seconds.get(layout.evaluation(name))
        each = "–" if seconds is None else f"{seconds / right:.3f}"
        rows.append((name, f"{right:.0f}", f"{tokens / right:,.0f}", each))
    note = (
        "Seconds of the whole stage, as it was run: one process, batched, loading and grading included; none where "
        "the stage also holds completions that are not counted here."
    )
    return (
        Table(
            "What a right answer costs", ("model", "right", "tokens each", "seconds each"), tuple(rows), note
        )
        if rows
        else None
    )


def over_runs(summary: RunSummary) -> Table | None:
    """Return pass@n and maj@n where problems were run more than once, else ``None``."""
    rows = [
        (
            result.benchmark,
            name,
            str(m.runs),
            percent(m.accuracy),
            percent(m.pass_at_runs),
            percent(m.majority or 0.0),
        )
        for result in summary.benchmarks
        for name, m in ((layout.BASE, result.base), (summary.outcome, result.after))
        if m and m.pass_at_runs is not None
    ]
    head = ("benchmark", "model", "runs", "pass@1", "pass@n", "maj@n")
    return Table("Over the runs of a problem", head, tuple(rows)) if rows else None


def pruning(summary: PruneSummary, title: str = "Pruning") -> Table:
    """Return the figures of a prune stage, one a row."""
    change = summary.tokens_after / summary.tokens_before - 1 if summary.tokens_before else 0.0
    no_share = "– (not asked of this teacher)" if "own_share" in summary.waived else "–"
    shares = (summary.own_share, summary.kept_share)
    of_pruned, of_original = (no_share if share is None else percent(share) for share in shares)
    rows = [
        ("traces", str(summary.traces)),
        ("accepted", f"{summary.accepted} ({percent(summary.accepted / max(1, summary.traces))})"),
        *([("accepted after repair", str(summary.repaired))] if summary.repaired else []),
        *([("polished", str(summary.polished))] if summary.polished else []),
        ("left out before pruning", _counts(summary.excluded, "excluded_")),
        *([("failed at the teacher", _counts(summary.failed))] if summary.failed else []),
        *([("failed, to be tried again", _counts(summary.pending))] if summary.pending else []),
        ("dropped by a check", _counts(summary.dropped)),
        *([("not required, and not passed by", _counts(summary.waived))] if summary.waived else []),
        ("tokens, mean of accepted", f"{summary.tokens_before:.0f} → {summary.tokens_after:.0f} ({100 * change:+.0f} %)"),
        ("own bytes in the pruned thinking", of_pruned),
        ("own bytes kept of the original", of_original),
        ("actions", _counts(summary.actions)),
        ("steps a trace", f"{summary.steps_per_trace:.1f}"),
        *([("of the teacher's protocol, mean", _means(summary.protocol))] if summary.protocol else []),
        *([("NLL per token under the student, mean", _means(summary.learnable))] if summary.learnable else []),
    ]  # fmt: skip
    spent = [f"{summary.spend.requests} replies, {summary.spend}"] if summary.spend else []
    if said := "; ".join([*summary.teachers, *spent]):
        rows.append(("teacher", said))
    return Table(title, ("figure", "value"), tuple(rows))


def _means(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())


def training(summary: RunSummary) -> Table | None:
    """Return the figures of training, or ``None`` where there was none."""
    if not summary.train_counts:
        return None
    counts = summary.train_counts
    what = "problems" if "problems" in counts else "examples"
    rows = [(what, str(counts.get(what, 0))), ("optimizer steps", str(counts.get("steps", 0)))]
    if "sampled_tokens" in counts:
        rows.append(("tokens sampled", f"{counts['sampled_tokens']:,}"))
    if counts.get("over_length"):
        rows.append(("left out, over the length limit", str(counts["over_length"])))
    rows.append(("seconds", f"{summary.seconds.get('train', 0):.0f}"))
    if summary.learnability:
        figures = summary.learnability
        rows.append(
            (
                "learnability: NLL per token under the base, own trace → pruned",
                f"{figures['own_trace']:.3f} → {figures['pruned']:.3f} nats (n = {figures['examples']:.0f})",
            )
        )
    return Table("Training", ("figure", "value"), tuple(rows))


def tables(summary: RunSummary) -> list[Table]:
    """Return all tables a run has figures for."""
    found: list[Table] = []
    if summary.benchmarks:
        found += [before_after(summary), details(summary)]
        if any(result.comparison for result in summary.benchmarks):
            found.append(not_inferior(summary))
        if several := over_runs(summary):
            found.append(several)
        if spent := costs(summary):
            found.append(spent)
    if summary.prune:
        found.append(pruning(summary.prune))
    trained = training(summary)
    return [*found, trained] if trained else found


def markdown(table: Table) -> str:
    """Return a table as GitHub Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    body = [line(table.head), line(["---"] * len(table.head)), *map(line, table.rows)]
    note = f"\n\n{table.note}" if table.note else ""
    return f"## {table.title}\n\n" + "\n".join(body) + note


def as_csv(table: Table) -> str:
    """Return a table as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.head, *table.rows])
    return out.getvalue()


_LATEX = str.maketrans(
    {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "→": r"$\to$", "–": "--", "×": r"$\times$"}
)


def latex(table: Table) -> str:
    """Return a table as a LaTeX tabular with booktabs rules."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    columns = "l" + "r" * (len(table.head) - 1)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(table.head), r"\midrule"]
    return "\n".join([*body, *map(line, table.rows), r"\bottomrule", r"\end{tabular}"]) + "\n"


def _counts(counts: dict[str, int], strip: str = "") -> str:
    if not counts:
        return "none"
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name.removeprefix(strip)} {count}" for name, count in ranked)
