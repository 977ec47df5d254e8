"""A diagnosis as tables, narrow enough for a terminal of 80 columns; its HTML page shows the same."""

from drp.diagnosis.figures import Figure
from drp.diagnosis.records import Diagnosis, Group
from drp.reporting.text import Table, bracket

SMALL = 0.005
"""Skills that take less than this are one line together."""
NONE = "–"


def percent(figure: Figure | None, digits: int = 0) -> str:
    """Return a share in percent with its interval: "43 [40, 46]"."""
    if figure is None:
        return NONE
    return f"{100 * figure.value:.{digits}f} {bracket(figure.interval, 100, digits)}"


def number(figure: Figure | None) -> str:
    """Return a number of tokens with its interval: "1,204 [1,100, 1,310]"."""
    if figure is None:
        return NONE
    low, high = figure.interval.low, figure.interval.high
    return f"{figure.value:,.0f} [{low:,.0f}, {high:,.0f}]"


def tables(found: Diagnosis) -> tuple[Table, ...]:
    """Return all tables in their order."""
    return tuple(
        table
        for table in (overall(found), by_skill(found), by_group(found), by_remedy(found))
        if table is not None and table.rows
    )


def overall(found: Diagnosis) -> Table:
    """Return the figures of all completions."""
    c, s = found.conclusion, found.saving
    rows: list[tuple[str, str]] = [
        ("completions, problems", f"{found.completions:,}, {found.problems:,}"),
        ("right, %", percent(found.accuracy, 1)),
        ("tokens of thinking", number(found.thinking)),
        ("tokens of the answer", number(found.answer)),
        ("thinking of all tokens, %", percent(found.thinking_share)),
        ("thinking: median, 95th percentile", f"{found.median:,.0f}, {found.p95:,.0f}"),
        ("never closed, %", percent(found.unclosed, 1)),
        ("cut off by the token limit, %", percent(found.cut, 1)),
        ("end in a loop, %", percent(found.looping, 1)),
        ("reach their answer in the thinking, %", percent(c.found)),
        ("thinking after it is reached, %", percent(c.after)),
        ("… after it is settled, %", percent(c.after_settled)),
        ("wrong, though the right answer was reached, %", percent(c.lost)),
    ]
    if s:
        rows += [
            (f"pruned by rules and accepted, % of {s.tried}", percent(s.accepted)),
            ("tokens that go from those, %", percent(s.deleted)),
            ("… from all that were tried, %", percent(s.overall)),
        ]
    note = (
        f"Means over problems; shares are of all tokens. In brackets: 95 % intervals over problems. Tokens: {found.counted}. "
        "Reached: the first sentence that arrives at the answer the completion ends on; settled: the first that concludes, with only checks behind it."
    )
    return Table(_title(found), ("figure", "value"), tuple(rows), note)


def _title(found: Diagnosis) -> str:
    return f"{found.source}: {found.model}" if found.model and found.model != found.source else found.source


def by_skill(found: Diagnosis) -> Table:
    """Return where the tokens of the thinking go."""
    rows: list[tuple[str, ...]] = []
    rest = [0.0, 0.0, 0.0]
    for s in found.skills:
        shares = (s.share, s.before, s.after)
        if s.share.value < SMALL:
            rest = [total + (f.value if f else 0.0) for total, f in zip(rest, shares, strict=True)]
        else:
            rows.append((s.skill, *(percent(f) for f in shares)))
    if any(rest):
        rows.append(("all others", *(f"{100 * value:.1f}" for value in rest)))
    note = "Percent of the tokens of each column. Skills are told by the cues of each sentence, without a model: a sketch, not a judgement."
    return Table(
        "Where the thinking goes", ("skill", "all", "until the answer", "after it"), tuple(rows), note
    )


def by_group(found: Diagnosis) -> Table | None:
    """Return the completions by correctness and difficulty."""
    if len(found.groups) < 2:
        return None
    rows = tuple(_group(group) for group in found.groups)
    by = {group.by for group in found.groups}
    note = (
        "Length is that of the thinking up to its answer, since what follows makes no problem hard."
        if "length" in by
        else ""
    )
    return Table(
        "By correctness and difficulty",
        ("part", "n", "right, %", "thinking", "after, %", "open, %", "loop, %"),
        rows,
        note,
    )


def _group(group: Group) -> tuple[str, ...]:
    def plain(figure: Figure | None) -> str:
        return NONE if figure is None else f"{100 * figure.value:.0f}"

    accuracy = NONE if group.by == "correctness" else plain(group.accuracy)
    thinking = NONE if group.thinking is None else f"{group.thinking.value:,.0f}"
    return (
        f"level {group.name}" if group.by == "level" and len(group.name) < 3 else group.name,
        f"{group.completions:,}",
        accuracy,
        thinking,
        percent(group.after),
        plain(group.unclosed),
        plain(group.looping),
    )


def by_remedy(found: Diagnosis) -> Table:
    """Return what needs no training, beside what pruning saves."""
    rows: list[tuple[str, ...]] = []
    for r in found.remedies:
        if r.saved is None:
            rows.append((r.name, "--model", NONE, NONE))
            continue
        change = NONE if r.change is None else f"{100 * r.change.value:+.1f}"
        if r.change is not None and r.change.interval.low < r.change.interval.high:
            change += f" {bracket(r.change.interval, 100)}"
        rows.append((r.name, r.kind, percent(r.saved), change))
    note = (
        "Run: the model was made to answer there, greedily. Assumed: read off the completions. --model: needs the model. Cutting leaves the answers as they are and "
        "needs to know when; under a budget, what has not reached its answer counts as wrong."
    )
    return Table("Without training", ("remedy", "how", "saved, %", "points"), tuple(rows), note)
