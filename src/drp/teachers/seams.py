"""What every seam of a pruned trace costs in likelihood, whoever pruned it: two texts are read, each once.

A *seam* is a place where units were deleted or written anew. What the student wrote behind it stays, and *falls* by so many
nats: its log-probability in the original less that in the pruned text. A step that went although it was needed shows
there, since what rests on it has become a surprise. Unlike the support that :mod:`drp.teachers.walk` measures, all deletions
are gone at once, and each stretch between two seams is put down to the seam before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drp.engines.scoring import Scorer, Spelling
from drp.pruning.apply import around
from drp.records import EditScript, Trace
from drp.teachers.by_student import continued
from drp.teachers.counting import Counts
from drp.teachers.walk import Text


@dataclass(frozen=True)
class Seam:
    """A place where units went, and the fall of what stays behind it, up to the next such place."""

    first: int
    """Its first unit (0-based) …"""
    last: int
    """… and its last."""
    support: float
    """By how many nats the mathematics behind it falls."""
    coherence: float
    """By how many nats everything behind it falls."""
    worst: int
    """The unit behind it whose fall is greatest; the number of units stands for the answer part."""
    worst_fall: float
    """That fall in nats, over the tokens of the unit."""


@dataclass(frozen=True)
class Likelihoods:
    """What a pruned trace is to the student, beside its original."""

    original: float
    """NLL per token of the original response, in nats."""
    pruned: float
    """NLL per token of the pruned one."""
    answer_alone: float
    """NLL per token of the answer part without any thinking."""
    seams: tuple[Seam, ...]
    """Those with anything behind them that both texts have."""

    @property
    def rise(self) -> float:
        """By how many nats per token the pruned response is less likely than the original."""
        return self.pruned - self.original


async def measure(
    scorer: Scorer,
    spelling: Spelling,
    counts: Counts,
    trace: Trace,
    units: Sequence[str],
    script: EditScript,
    answer: str,
) -> Likelihoods:
    """Read a trace and what a script makes of it, and compare what both have.

    Args:
        scorer: Scores with the student's weights.
        spelling: How the student spells.
        counts: Which tokens carry mathematics.
        trace: The trace.
        units: Its units.
        script: What is done to them.
        answer: The answer part of the pruned trace.
    """
    prompt = spelling.prompt(trace.question, trace.task)
    written, keep, own = _written(units, script)
    before = Text(spelling, units, prompt, trace.answer, [True] * len(units))
    after = Text(spelling, written, prompt, answer, keep)
    alone = Text(spelling, (), prompt, trace.answer, ())
    async with scorer.open(before.ids) as passage:
        old = passage.logprobs
        new = await continued(scorer, passage, after.ids)
        direct = await continued(scorer, passage, alone.ids)
    same = {place: index for index, place in own.items()}
    if answer == trace.answer:
        same[len(units)] = len(written)

    def fall(index: int) -> tuple[float, float]:
        a, b = before.place(index), after.place(same[index])
        return (
            float(old[a] @ counts(before.ids[a]) - new[b] @ counts(after.ids[b])),
            float(old[a].sum() - new[b].sum()),
        )

    begin = len(prompt)
    return Likelihoods(
        original=-float(old[begin:].mean()),
        pruned=-float(new[begin:].mean()),
        answer_alone=-float(direct[begin:].mean()),
        seams=tuple(_seams({index: fall(index) for index in sorted(same)})),
    )


def _written(units: Sequence[str], script: EditScript) -> tuple[list[str], list[bool], dict[int, int]]:
    """Return the units that a script leaves or takes, which of them stand, and where the student's own ones have come from.

    What is written anew is one unit, between the white space that stood around those in its place.
    """
    written, keep, own = list[str](), list[bool](), dict[int, int]()
    for edit in script.edits:
        span = units[edit.first : edit.last + 1]
        if edit.action == "keep":
            own |= {len(written) + n: edit.first + n for n in range(len(span))}
        if edit.text is not None:
            lead, trail = around("".join(span))
            span = [f"{lead}{edit.text.strip()}{trail}"]
        written += span
        keep += [edit.action != "delete"] * len(span)
    return written, keep, own


def _seams(falls: Mapping[int, tuple[float, float]]) -> Iterator[Seam]:
    """Yield the places where units went that have something behind them, each with what falls up to the next."""
    standing = sorted(falls)
    for n, index in enumerate(standing):
        first = standing[n - 1] + 1 if n else 0
        if first == index:
            continue
        ends = (m for m in range(n + 1, len(standing)) if standing[m] != standing[m - 1] + 1)
        behind = standing[n : next(ends, len(standing))]
        worst = max(behind, key=lambda unit: falls[unit][1])
        support, coherence = (sum(falls[unit][k] for unit in behind) for k in (0, 1))
        yield Seam(first, index - 1, support, coherence, worst, falls[worst][1])
