"""Steps by rule: runs of units with one purpose, and whether that is to get on or to look back."""

from collections.abc import Sequence
from dataclasses import dataclass

from drp.pruning.skills import ALTERNATIVE, DOUBT, VERIFICATION
from drp.teachers.spans import read_spans

_LOOKS_BACK = (VERIFICATION, ALTERNATIVE, DOUBT)


@dataclass(frozen=True)
class Step:
    """A run of units."""

    first: int
    last: int
    functional: bool
    """Whether it verifies, tries another way or corrects (LIMOPro's functional steps), and does not carry the solution on."""

    @property
    def span(self) -> slice:
        """Its units."""
        return slice(self.first, self.last + 1)


def read_steps(units: Sequence[str]) -> list[Step]:
    """Return the steps of a trace: its paragraphs, divided where one begins to verify, to doubt or to try another way."""
    paragraph = read_spans(units).paragraph
    back = [any(cue.search(unit) for cue in _LOOKS_BACK) for unit in units]
    starts = [i for i in range(len(units)) if paragraph[i] == i or (back[i] and not back[i - 1])]
    return [
        Step(first, after - 1, back[first])
        for first, after in zip(starts, [*starts[1:], len(units)], strict=False)
    ]
