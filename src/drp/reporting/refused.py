"""What the checks and the teacher refused: a table of reasons, and examples as text with the seams marked."""

from collections.abc import Iterable, Iterator, Sequence

from drp.errors import UNUSABLE
from drp.pruning.show import Refusals, marked, refusals
from drp.records import Failure, PrunedTrace
from drp.reporting import text
from drp.reporting.text import Table
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.text.units import split_units

MOST = 3
"""Examples of each reason."""


def unusable(run: RunReader) -> list[Failure]:
    """Return the traces of a run's last command that its teacher would not have anybody learn from."""
    return [f for f in run.stage(layout.PRUNE).wanted_failures() if f.kind == UNUSABLE]


def refused(pruned: Iterable[PrunedTrace], called_unusable: Sequence[Failure] = ()) -> Table | None:
    """Return how many traces failed which check first, with an example of what was found; ``None`` if none was refused."""
    return _table(refusals(pruned, 1), called_unusable)


def refused_table(run: RunReader) -> Table | None:
    """Return the same of what the last command of a run wanted."""
    return refused(wanted_traces(run), unusable(run))


def wanted_traces(run: RunReader) -> Iterator[PrunedTrace]:
    """Yield the pruned traces that the last command wanted, one in memory at a time."""
    wanted = run.wanted(layout.PRUNE)
    among = None if wanted is None else set(wanted)
    return (p for p in run.records(layout.PRUNE, PrunedTrace) if among is None or p.id in among)


def refused_page(pruned: Iterable[PrunedTrace], called_unusable: Sequence[Failure] = ()) -> str | None:
    """Return the same as Markdown, followed by examples in full; ``None`` if none was refused."""
    found = refusals(pruned, MOST)
    table = _table(found, called_unusable)
    if table is None:
        return None
    parts = ["# What the checks refused", text.markdown(table)]
    for reason in found:
        parts.append(f"## {reason.check}")
        parts += [_example(trace) for trace in reason.examples]
    if called_unusable:
        parts.append(f"## {UNUSABLE}")
        parts += [f"`{failure.id}`: {failure.message}" for failure in called_unusable[:MOST]]
    return "\n\n".join(parts) + "\n"


def _table(found: list[Refusals], called_unusable: Sequence[Failure]) -> Table | None:
    if not found and not called_unusable:
        return None
    rows = [(r.check, str(r.count), _finding(r.examples[0])) for r in found]
    if called_unusable:
        rows.append((UNUSABLE, str(len(called_unusable)), called_unusable[0].message[:160]))
    note = "Each trace stands by the check that it failed first."
    return Table("Refused by the checks", ("check", "traces", "such as"), tuple(rows), note)


def _finding(trace: PrunedTrace) -> str:
    """Return what the first failed check found: its words, or else its figures."""
    check = next(check for check in trace.checks if check.name == trace.failed[0])
    figures = ", ".join(f"{name} {value:g}" for name, value in check.figures.items())
    return (check.detail or figures)[:160]


def _example(trace: PrunedTrace) -> str:
    shown = marked(split_units(trace.original_thinking), trace.script)
    fence = "`" * max(3, _longest_run(shown) + 1)  # a trace may hold a fence of its own
    return f"`{trace.id}`: {_finding(trace)}\n\n{fence}\n{shown}\n{fence}"


def _longest_run(shown: str) -> int:
    longest = run = 0
    for sign in shown:
        run = run + 1 if sign == "`" else 0
        longest = max(longest, run)
    return longest
