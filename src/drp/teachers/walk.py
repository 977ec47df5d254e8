"""One walk through a trace, from its last unit to its first: what goes, measured by the student's own likelihood.

At every unit two texts are compared. Both begin as the trace does and end in what has been kept so far of the rest;
one has a stretch of units in between, the other has not. What follows the stretch *falls* by so many nats without it.
The fall over the tokens that carry mathematics is the stretch's *support*, over all tokens its *coherence*. A stretch
goes if neither exceeds its limit. This is the elimination of dead code, with likelihood as the test of use.

The text with the stretch never needs scoring: it is the trace itself, or a text that was scored when the last stretch
went.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from drp.engines.scoring import Bound, Continuation, Floats, Passage, Scorer, Spelling
from drp.pruning.apply import apply_script
from drp.records import Edit, EditScript
from drp.teachers.counting import Counts
from drp.teachers.spans import Spans


@dataclass(frozen=True)
class Limits:
    """What a stretch may cost, in nats."""

    support: float
    coherence: float
    slack: float
    """A stretch is given up once it is so much further behind; what follows may yet make up for less."""
    window: int = 0
    """So many tokens of what follows are looked at, whole units; 0: all of them."""


@dataclass(frozen=True)
class Fall:
    """By how many nats what follows falls without a stretch; where it was given up early, by at least so many."""

    support: float
    coherence: float
    complete: bool

    @property
    def measured(self) -> bool:
        """Whether the student was asked; what may not go for other reasons has no figures."""
        return self.support != float("inf")

    @property
    def rank(self) -> tuple[float, ...]:
        """Support first."""
        return self.support, self.coherence

    def __str__(self) -> str:
        """Say what was measured: "support 0.12, coherence 3.4 nats"."""
        least = "" if self.complete else "at least "
        return f"support {least}{self.support:.2f}, coherence {least}{self.coherence:.1f} nats"

    def within(self, limits: Limits) -> bool:
        """Return whether the stretch may go."""
        return self.complete and self.support <= limits.support and self.coherence <= limits.coherence


@dataclass(frozen=True)
class _Piece:
    """A part of what follows a stretch, as it would read without it."""

    ids: tuple[int, ...]
    weights: Floats
    """Of each id: whether it carries mathematics."""
    sums: tuple[float, float]
    """Log-probability with the stretch before it: of the mathematics, of everything."""


@dataclass(frozen=True)
class _Kept:
    """A unit that stays, or the answer part behind the last one, as it follows what stands before it now."""

    index: int
    trail: str
    ids: tuple[int, ...]
    logprobs: Floats
    weights: Floats

    @cached_property
    def piece(self) -> _Piece:
        """The unit as it is: asked for once for each, not once for each stretch before it."""
        return _Piece(self.ids, self.weights, _sums(self.logprobs, self.weights))


@dataclass
class Outcome:
    """What one walk decided."""

    keep: list[bool]
    falls: list[Fall | None]
    """Of each unit: what its stretch costs if it went, else what the unit alone would."""
    logprobs: Floats
    """Of every token of the pruned response."""
    ids: list[int]
    """The pruned response."""
    nll_before: float
    """NLL per token of the response before, in nats."""


@dataclass
class _Trial:
    """A stretch whose loss is being measured."""

    left: int
    lead: str
    start: int
    pieces: list[_Piece]
    """The rest of the left unit and everything kept that is looked at."""
    logprobs: Floats = field(default_factory=lambda: np.zeros(0))


class Text:
    """A trace as it will be trained on, its units spelled one by one; some may be gone already.

    Args:
        spelling: How the student spells.
        units: All units of the trace.
        prompt: Ids of the prompt.
        answer: The answer part.
        keep: Which units stand in the text.
    """

    def __init__(
        self,
        spelling: Spelling,
        units: Sequence[str],
        prompt: Sequence[int],
        answer: str,
        keep: Sequence[bool],
    ) -> None:
        self.spelling, self.units, self.prompt, self.answer = spelling, units, prompt, answer
        self.standing = [i for i, kept in enumerate(keep) if kept]
        self.closing = tuple(spelling.closing(answer))
        self._blank: dict[tuple[int, int], tuple[str, str]] = {}
        self.ids = list(prompt)
        self.starts: dict[int, int] = {}
        self.leads: dict[int, str] = {}
        before = -1
        for index, after in zip(self.standing, [*self.standing[1:], len(units)], strict=False):
            self.starts[index], self.leads[index] = len(self.ids), self.blank(before, index)[1]
            self.ids += self.spell(index, self.leads[index], self.blank(index, after)[0])
            before = index
        self.starts[len(units)] = len(self.ids)
        self.ids += self.closing

    def place(self, index: int) -> slice:
        """Return which tokens are a unit that stands, or what closes the text (the number of units), white space included."""
        places = [*self.standing, len(self.units)]
        after = places.index(index) + 1
        end = self.starts[places[after]] if after < len(places) else len(self.ids)
        return slice(self.starts[index], end)

    def logprob(self, logprobs: Floats, index: int) -> float:
        """Return the log-probability of a unit that stands, or of what closes the text, of those of all tokens."""
        return float(logprobs[self.place(index)].sum())

    def spell(self, index: int, lead: str, trail: str) -> tuple[int, ...]:
        """Return the ids of a unit between given white space."""
        return self.spelling.piece(lead + self.units[index].strip() + trail)

    def blank(self, left: int, right: int) -> tuple[str, str]:
        """Return the white space that trails unit ``left`` and leads unit ``right`` once they stand side by side.

        -1 is the prompt, behind which nothing leads; one more than the last unit is the closing tag, which a line
        break precedes.
        """
        if left < 0 or right >= len(self.units):
            return ("", "") if left < 0 else ("\n", "")
        if (left, right) not in self._blank:
            space = _space(self.units, left, right)
            cut = space.rfind("\n") + 1
            self._blank[left, right] = space[:cut], space[cut:]
        return self._blank[left, right]


def _space(units: Sequence[str], left: int, right: int) -> str:
    """Return the white space between two units when all between them are deleted."""
    part = units[left : right + 1]
    keep = Edit(first=0, last=0, action="keep", skills=("other",))
    edits = [keep, keep.model_copy(update={"first": len(part) - 1, "last": len(part) - 1})]
    if len(part) > 2:
        gone = Edit(first=1, last=len(part) - 2, action="delete", skills=("other",), reason="seam")
        edits.insert(1, gone)
    joined = apply_script(part, EditScript(units=len(part), edits=tuple(edits)))
    return joined[len(part[0].strip()) : len(joined) - len(part[-1].strip())]


class Walk:
    """Walks through one text.

    Args:
        text: The text.
        passage: The same, read by the scorer.
        scorer: What scores.
        counts: Which tokens carry mathematics.
        limits: What a stretch may cost.
        spans: The shape of the trace.
    """

    def __init__(
        self, text: Text, passage: Passage, scorer: Scorer, counts: Counts, limits: Limits, spans: Spans
    ) -> None:
        self.text, self.passage, self.scorer = text, passage, scorer
        self.counts, self.limits, self.spans = counts, limits, spans
        count = len(text.units)
        self.gone = [index not in text.starts for index in range(count)]
        self.falls: list[Fall | None] = [None] * count
        start = text.starts[count]
        self.kept = [_Kept(count, "", text.closing, passage.logprobs[start:], counts(text.closing))]
        self.tail: tuple[int, tuple[int, ...], Floats] | None = None
        """How the unit before the kept ones ends, where something behind it went: from which token, ids, log-probabilities."""

    async def run(self) -> Outcome:
        """Decide about every unit."""
        at = len(self.text.standing) - 1
        while at >= 0:
            gone = await self._step(at)
            if not gone:
                self._keep(self.text.standing[at])
            at -= max(1, gone)
        start = self.text.starts[min(self.text.standing, default=len(self.text.units))]
        return Outcome(
            keep=[not gone for gone in self.gone],
            falls=self.falls,
            logprobs=np.concatenate([kept.logprobs for kept in self.kept]),
            ids=[i for kept in self.kept for i in kept.ids],
            nll_before=-float(self.passage.logprobs[start:].mean()),
        )

    async def _step(self, at: int) -> int:
        """Delete a stretch that ends at the ``at``-th unit that stands; return of how many units, 0 if none may go."""
        standing = self.text.standing
        last = standing[at]
        tried: set[int] = set()
        for first in self.spans.ending(last, self.kept[0].index):
            begin = next(n for n, index in enumerate(standing) if index >= first)
            if begin < at and begin not in tried:
                tried.add(begin)
                if (await self._try(begin, at)).within(self.limits):
                    return at - begin + 1
        alone = await self._try(at, at)
        if alone.within(self.limits):
            return 1
        if alone.support <= self.limits.support:  # it is only missed: what it answers or opens may go with it
            for begin in (at - 2, at - 1):
                if begin >= 0 and begin not in tried and (await self._try(begin, at)).within(self.limits):
                    return at - begin + 1
        if self.falls[last] is None:
            self.falls[last] = alone
        return 0

    async def _try(self, begin: int, at: int) -> Fall:
        """Measure what a stretch costs, and delete it if it may go."""
        standing = self.text.standing
        first, last = standing[begin], standing[at]
        nothing_left = begin == 0 and len(self.kept) == 1
        unfit = self.spans.orphans(first, last, self.gone) or self.spans.by_chance(first, last, self.gone)
        if nothing_left or unfit:
            return Fall(np.inf, np.inf, complete=False)
        trial = self._trial(standing[begin - 1] if begin else -1)
        ids = [i for piece in trial.pieces for i in piece.ids]
        bounds, totals = self._bounds(trial)
        trial.logprobs = await self.scorer.score(self.passage, Continuation(trial.start, ids, bounds))
        known = len(trial.logprobs)
        if known < len(ids):
            support, coherence = (
                float(
                    np.max((bound.floors[:known] + slack) - np.cumsum(trial.logprobs * bound.weights[:known]))
                )
                for bound, slack in zip(bounds, self._allowed(), strict=True)
            )
            return Fall(max(0.0, support), max(0.0, coherence), complete=False)
        support, coherence = (
            total - float(np.sum(trial.logprobs * bound.weights))
            for total, bound in zip(totals, bounds, strict=True)
        )
        fall = Fall(support, coherence, complete=True)
        if fall.within(self.limits):
            self._delete(begin, at, trial, fall)
        return fall

    def _allowed(self) -> tuple[float, float]:
        slack = self.limits.slack
        return self.limits.support + slack, self.limits.coherence + slack

    def _trial(self, left: int) -> _Trial:
        """Return what would follow unit ``left`` if everything up to the kept units went."""
        text, kept = self.text, self.kept
        trail, lead = text.blank(left, kept[0].index)
        start, pieces = text.starts[min(text.standing)], list[_Piece]()
        if left >= 0:
            begin, end = text.starts[left], self._end(left)
            before, after = tuple(text.ids[begin:end]), text.spell(left, text.leads[left], trail)
            same = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
            same = min(len(before), len(after)) if same is None else same
            start = begin + same
            sums = _sums(self.passage.logprobs[start:end], self.counts(before[same:]))
            pieces.append(_Piece(after[same:], self.counts(after[same:]), sums))
        first = kept[0].piece
        if kept[0].index != len(text.units):
            ids = text.spell(kept[0].index, lead, kept[0].trail)
            first = first if ids == first.ids else _Piece(ids, self.counts(ids), first.sums)
        pieces.append(first)
        seen, window = sum(len(piece.ids) for piece in pieces), self.limits.window
        for one in kept[1:]:
            if window and seen >= window:
                break
            pieces.append(one.piece)
            seen += len(one.ids)
        return _Trial(left, lead, start, pieces)

    def _end(self, index: int) -> int:
        standing = self.text.standing
        place = standing.index(index) + 1
        return self.text.starts[standing[place] if place < len(standing) else len(self.text.units)]

    def _bounds(self, trial: _Trial) -> tuple[tuple[Bound, Bound], tuple[float, float]]:
        """Return the bounds for support and coherence, and the sums they are measured from.

        What each piece falls is looked at where the piece ends, and what follows has until then to make up for it.
        """
        lengths = [len(piece.ids) for piece in trial.pieces]
        weights = np.concatenate([piece.weights for piece in trial.pieces])
        reached = np.cumsum([piece.sums for piece in trial.pieces], axis=0)
        support, coherence = (
            np.repeat(sums - allowed, lengths)
            for sums, allowed in zip(reached.T, self._allowed(), strict=True)
        )
        bounds = Bound(weights, support), Bound(np.ones(len(weights)), coherence)
        return bounds, (float(reached[-1, 0]), float(reached[-1, 1]))

    def _delete(self, begin: int, at: int, trial: _Trial, fall: Fall) -> None:
        lengths = [len(piece.ids) for piece in trial.pieces]
        parts = np.split(trial.logprobs, np.cumsum(lengths)[:-1])
        pieces = list(zip(trial.pieces, parts, strict=True))
        self.tail = None
        if trial.left >= 0:
            piece, logprobs = pieces.pop(0)
            self.tail = trial.start, piece.ids, logprobs
        self.kept = [
            *(
                _Kept(one.index, one.trail, piece.ids, logprobs, piece.weights)
                for one, (piece, logprobs) in zip(self.kept, pieces, strict=False)
            ),
            *self.kept[len(pieces) :],  # beyond the window: as they were
        ]
        for index in self.text.standing[begin : at + 1]:
            self.gone[index], self.falls[index] = True, fall

    def _keep(self, index: int) -> None:
        begin, end = self.text.starts[index], self._end(index)
        ids, logprobs = tuple(self.text.ids[begin:end]), self.passage.logprobs[begin:end]
        if self.tail is not None:
            start, new, scored = self.tail
            ids = (*ids[: start - begin], *new)
            logprobs = np.concatenate([logprobs[: start - begin], scored])
        trail = self.text.blank(index, self.kept[0].index)[0]
        self.kept.insert(0, _Kept(index, trail, ids, logprobs, self.counts(ids)))
        self.tail = None


def _sums(logprobs: Floats, weights: Floats) -> tuple[float, float]:
    return float((logprobs * weights).sum()), float(logprobs.sum())
