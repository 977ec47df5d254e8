"""The plots of the page: token histograms, accuracy against tokens, training curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from drp.evaluation.metrics import Metrics, completion_tokens
from drp.records import Trace
from drp.reporting.page.paper import PUBLISHED, Published, published
from drp.reporting.page.svg import Axis, Frame, path, said, tag
from drp.runs import layout

BINS = 32


def histogram(benchmark: str, before: Sequence[Trace], after: Sequence[Trace], outcome: str) -> Markup:
    """Return how long both models' completions of a benchmark are: the share of completions by tokens."""
    longest = max((completion_tokens(t) for t in (*before, *after)), default=0) or 1
    shares = {
        name: _shares([completion_tokens(t) for t in traces], longest)
        for name, traces in ((layout.BASE, before), (outcome, after))
        if traces
    }
    most = max((max(share) for share in shares.values()), default=1.0)
    frame = Frame.around(
        benchmark, (0, longest), (0, most * 1.05), ("tokens a completion", "% of completions")
    )
    marks = [
        _bars(frame, share, longest, "base" if name == layout.BASE else "after")
        for name, share in shares.items()
    ]
    said_of = [
        f"{name}: {len(traces)} completions"
        for name, traces in ((layout.BASE, before), (outcome, after))
        if traces
    ]
    return frame.drawn("; ".join(said_of), *marks)


def _shares(lengths: Sequence[int], longest: int) -> list[float]:
    counts = [0] * BINS
    for length in lengths:
        counts[min(BINS - 1, length * BINS // longest)] += 1
    return [100 * count / max(1, len(lengths)) for count in counts]


def _bars(frame: Frame, shares: Sequence[float], longest: int, kind: str) -> Markup:
    edges = [frame.x(longest * n / BINS) for n in range(BINS + 1)]
    points = [(edges[0], frame.y(0))]
    for number, share in enumerate(shares):
        points += [(edges[number], frame.y(share)), (edges[number + 1], frame.y(share))]
    points.append((edges[-1], frame.y(0)))
    return tag("path", d=path(points), class_=f"bars {kind}")


@dataclass(frozen=True)
class Measured:
    """A model's figures on one benchmark, and which model it is."""

    run: str
    model: str
    metrics: Metrics


def frontiers(measured: Sequence[Measured]) -> list[Markup]:
    """Return accuracy against tokens, a panel a benchmark: every model measured, and the paper's points as theirs."""
    benchmarks = dict.fromkeys(m.metrics.benchmark for m in measured if m.metrics.tokens_mean)
    return [_frontier(b, [m for m in measured if m.metrics.benchmark == b], published(b)) for b in benchmarks]


def papers_frontiers() -> list[Markup]:
    """Return the paper's own points, a panel a benchmark."""
    return [_frontier(b, [], published(b)) for b in dict.fromkeys(point.benchmark for point in PUBLISHED)]


def _frontier(benchmark: str, measured: Sequence[Measured], theirs: Sequence[Published]) -> Markup:
    lows = [100 * m.metrics.accuracy_interval.low for m in measured] + [p.accuracy for p in theirs]
    highs = [100 * m.metrics.accuracy_interval.high for m in measured] + [p.accuracy for p in theirs]
    longest = max([m.metrics.tokens_interval.high for m in measured] + [float(p.tokens) for p in theirs])
    low, high = max(0.0, min(lows) - 4), min(100.0, max(highs) + 4)
    frame = Frame.around(benchmark, (0, longest * 1.08), (low, high), ("tokens, mean", "accuracy, %"), 250)
    labels = _Labels(frame.x(0.7 * frame.x.high))
    arrows = [
        _arrow(frame, one, two)
        for one, two in pairwise(measured)
        if one.run == two.run and one.model == layout.BASE
    ]
    return frame.drawn(
        f"{len(measured)} models measured here, {len(theirs)} points of the paper",
        *arrows,
        *(_point(frame, m, labels) for m in _once(measured)),
        *(_theirs(frame, point, labels) for point in theirs),
    )


def _once(measured: Sequence[Measured]) -> list[Measured]:
    """Return the models, a base that several runs share once."""
    found: list[Measured] = []
    for m in measured:
        if m.model != layout.BASE or m.metrics not in [one.metrics for one in found]:
            found.append(m)
    return found


class _Labels:
    """Names beside points, none upon another.

    Args:
        turn: Points to the right of it have their names on the left.
    """

    def __init__(self, turn: float) -> None:
        self._turn, self._taken = turn, list[tuple[bool, float, float]]()

    def beside(self, text: str, x: float, y: float) -> Markup:
        """Return the name of a point, as near to it as others leave room."""
        right, place = x < self._turn, y - 7
        while any(right == r and abs(x - x1) < 90 and abs(place - y1) < 11 for r, x1, y1 in self._taken):
            place += 11
        self._taken.append((right, x, place))
        side = "" if right else " end"
        return tag(
            "text", escape(text[:28]), x=x + (8 if right else -8), y=place, class_=f"point-label{side}"
        )


def _point(frame: Frame, m: Measured, labels: _Labels) -> Markup:
    x, y, figures = frame.x(m.metrics.tokens_mean), frame.y(100 * m.metrics.accuracy), m.metrics
    kind = "base" if m.model == layout.BASE else "after"
    accuracy, tokens = figures.accuracy_interval, figures.tokens_interval
    cross = path([(x, frame.y(100 * accuracy.low)), (x, frame.y(100 * accuracy.high))])
    cross += path([(frame.x(tokens.low), y), (frame.x(tokens.high), y)])
    words = (
        f"{m.run}, {m.model}: {100 * figures.accuracy:.1f} % [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}] at "
        f"{figures.tokens_mean:,.0f} tokens [{tokens.low:,.0f}, {tokens.high:,.0f}], n = {figures.problems}"
    )
    return tag(
        "g",
        tag("title", escape(words)),
        tag("path", d=cross, class_="whisker"),
        tag("circle", cx=x, cy=y, r=5.0),
        labels.beside(m.model if m.model == layout.BASE else m.run, x, y),
        class_=f"point {kind}",
    )


def _arrow(frame: Frame, one: Measured, two: Measured) -> Markup:
    (x1, y1), (x2, y2) = (
        (frame.x(m.metrics.tokens_mean), frame.y(100 * m.metrics.accuracy)) for m in (one, two)
    )
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="arrow")


def _theirs(frame: Frame, point: Published, labels: _Labels) -> Markup:
    x, y = frame.x(point.tokens), frame.y(point.accuracy)
    diamond = path([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)]) + "Z"
    words = f"The paper, {point.student} {point.method}: {point.accuracy:.1f} % at {point.tokens:,} tokens"
    label = labels.beside(f"{point.method} {point.student}", x, y)
    return tag("g", tag("title", escape(words)), tag("path", d=diamond), label, class_="point paper")


def curve(title: str, steps: Sequence[int], values: Sequence[float], kind: str) -> Markup:
    """Return a figure over optimizer steps: each value as it is, and the mean of those around it as a line."""
    low, high = min(values), max(values)
    slack = (high - low or abs(high) or 1) * 0.06
    bottom = 0.0 if 0 <= low < 0.3 * high else low - slack
    frame = Frame.around(
        title, (steps[0], max(steps[-1], steps[0] + 1)), (bottom, high + slack), ("optimizer step", "")
    )
    each = path([(frame.x(step), frame.y(value)) for step, value in zip(steps, values, strict=True)])
    line = path([(frame.x(step), frame.y(v)) for step, v in zip(steps, smoothed(values), strict=True)])
    words = f"From {said(round(values[0], 4))} to {said(round(values[-1], 4))} over {len(steps)} steps"
    return frame.drawn(
        words, tag("path", d=each, class_=f"each {kind}"), tag("path", d=line, class_=f"line {kind}")
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running mean over a twelfth of the values, on both sides alike."""
    reach = max(1, len(values) // 24)
    windows = (values[max(0, n - reach) : n + reach + 1] for n in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def intervals(before: Metrics, after: Metrics | None) -> Markup:
    """Return a small picture of both accuracies with their intervals, on a scale from 0 to 100 %."""
    axis = Axis(0, 100, 6, 234)
    rows = [("base", before, 12)] + ([("after", after, 30)] if after else [])
    marks: list[Markup] = [
        tag("line", x1=axis(v), x2=axis(v), y1=2, y2=40, class_="grid") for v in (0, 25, 50, 75, 100)
    ]
    for kind, m, y in rows:
        low, high = (axis(100 * end) for end in (m.accuracy_interval.low, m.accuracy_interval.high))
        marks.append(
            tag("g", tag("line", x1=low, x2=high, y1=y, y2=y, class_="whisker"),
                tag("circle", cx=axis(100 * m.accuracy), cy=y, r=4.5), class_=f"point {kind}")
        )  # fmt: skip
    marks += [
        tag("text", f"{v} %" if v else "0", x=axis(v), y=54, class_="tick " + at)
        for v, at in ((0, ""), (100, "end"))
    ]
    said_of = "; ".join(
        f"{kind} {100 * m.accuracy:.1f} % [{100 * m.accuracy_interval.low:.1f}, {100 * m.accuracy_interval.high:.1f}]"
        for kind, m, _ in rows
    )
    return tag(
        "svg",
        tag("title", f"Accuracy: {said_of}"),
        *marks,
        class_="plot small",
        role="img",
        viewBox="0 0 240 58",
    )
