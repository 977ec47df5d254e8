"""Several runs against one base: tables for people, and every figure in columns for programs."""

from collections.abc import Iterator, Sequence

from drp.evaluation.comparison import Comparison
from drp.evaluation.metrics import Metrics
from drp.reporting.pairing import ComparedRuns
from drp.reporting.summary import benchmark_order
from drp.reporting.text import VERDICT, VERDICT_NOTE, Table, bracket, p_value, verdict

COMPARED_NOTE = (
    "Accuracy is Pass@1 over the runs of a problem. Differences are paired by problem, with intervals that also hold "
    "where few problems differ; p is of a paired permutation test; tokens are means, and their change has its interval too."
)
NOT_ONE = "NOT ONE PROTOCOL, or not known to be one: what differs below may be why the figures differ, too."


def _lines(found: ComparedRuns) -> Iterator[tuple[str, str, Metrics, Comparison | None]]:
    """Yield benchmark, run, figures and comparison: the base first, and again where a run shares other problems."""
    benchmarks = sorted(
        {result.benchmark for run in found.runs for result in run.benchmarks}, key=benchmark_order
    )
    for benchmark in benchmarks:
        shown: Metrics | None = None
        for run in found.runs:
            for result in run.benchmarks:
                if result.benchmark != benchmark or result.after is None:
                    continue
                if result.base != shown:
                    shown = result.base
                    yield benchmark, found.base, shown, None
                yield benchmark, run.name, result.after, result.comparison


def _count(m: Metrics) -> str:
    return f"{m.problems} × {m.runs}" if m.runs > 1 else str(m.problems)


def compared(found: ComparedRuns) -> Table:
    """Return accuracy and tokens of every run beside the base's, with paired differences, intervals and protocols."""
    rows: list[tuple[str, ...]] = []
    for benchmark, name, m, c in _lines(found):
        head = (benchmark, name, _count(m), f"{100 * m.accuracy:.1f}")
        tokens = f"{m.tokens_mean:.0f}" if m.tokens_mean else "–"
        if c is None:
            rows.append((*head, "", "", "", tokens, ""))
            continue
        change = "–"
        if c.tokens_ratio is not None and c.tokens_ratio_interval:
            low, high = (
                100 * (end - 1) for end in (c.tokens_ratio_interval.low, c.tokens_ratio_interval.high)
            )
            change = f"{100 * (c.tokens_ratio - 1):+.0f} [{low:+.0f}, {high:+.0f}]"
        interval = bracket(c.accuracy_difference_interval, 100)
        points = f"{100 * c.accuracy_difference:+.1f}"
        rows.append((*head, points, interval, p_value(c.accuracy_p), tokens, change))
    protocols = [f"{', '.join(who)}: {protocol}" for protocol, who in found.protocols.items()]
    notes = [COMPARED_NOTE, *([] if found.one_protocol else [NOT_ONE]), *protocols]
    return Table(
        f"Compared with {found.base}",
        ("benchmark", "run", "n", "acc., %", "diff.", "95 % CI", "p", "tokens", "change, %"),
        tuple(rows),
        "\n".join(notes),
    )


def tested(found: ComparedRuns) -> Table:
    """Return whether each run is shown not to be less accurate than the base, and what so many problems can tell."""
    rows = [(benchmark, name, _count(m), *verdict(c)) for benchmark, name, m, c in _lines(found) if c]
    title = f"Not less accurate than {found.base}, by {100 * found.margin:g} point(s)?"
    return Table(title, ("benchmark", "run", "n", *VERDICT), tuple(rows), VERDICT_NOTE)


FIGURES = ("accuracy", "tokens_mean", "tokens_median", "tokens_p95", "tokens_p99", "thinking_mean", "truncated",
           "unclosed", "looping", "pass_at_runs", "majority", "tokens_per_correct")  # fmt: skip
COMPARED = (
    "accuracy_difference",
    "accuracy_p",
    "mcnemar_p",
    "tokens_ratio",
    "tokens_p",
    "smallest_difference",
)


def figures(rows: Sequence[tuple[str, str, Metrics, Comparison | None]]) -> Table:
    """Return every figure in a column of its own, shares as shares; empty where there is none."""
    head = [
        "benchmark",
        "run",
        "problems",
        "runs",
        *FIGURES,
        "accuracy_low",
        "accuracy_high",
        "tokens_low",
        "tokens_high",
    ]
    with_base = any(c for *_, c in rows)
    if with_base:
        head += [
            *COMPARED,
            "difference_low",
            "difference_high",
            "ratio_low",
            "ratio_high",
            "margin",
            "bound",
            "not_inferior",
        ]
    table: list[tuple[str, ...]] = []
    for benchmark, name, m, c in rows:
        values: list[float | None] = [getattr(m, figure) for figure in FIGURES]
        values += [
            m.accuracy_interval.low,
            m.accuracy_interval.high,
            m.tokens_interval.low,
            m.tokens_interval.high,
        ]
        if c:
            gain, ratio, test = c.accuracy_difference_interval, c.tokens_ratio_interval, c.non_inferiority
            values += [getattr(c, figure) for figure in COMPARED]
            values += [gain.low, gain.high, ratio and ratio.low, ratio and ratio.high]
            values += [test.margin, test.lower_bound, float(test.shown)]
        cells = [
            benchmark,
            name,
            str(m.problems),
            str(m.runs),
            *("" if v is None else f"{v:.6g}" for v in values),
        ]
        table.append((*cells, *[""] * (len(head) - len(cells))))
    return Table("Figures", tuple(head), tuple(table))


def compared_figures(found: ComparedRuns) -> Table:
    """Return every figure of the base and the runs, one line each."""
    return figures(list(_lines(found)))
