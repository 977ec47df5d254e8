"""Parts of a trace: a long one goes in several requests, each knowing what stands before it and what comes behind.

No part but the last is the end of the trace, and none is told to conclude that does not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from drp.pruning.apply import apply_script
from drp.records import Edit, EditScript, Trace
from drp.teachers.base import Complaint
from drp.teachers.line_protocol import harmless

CARRIED = 800
"""Characters of the edited trace before a part that its request shows."""
FOLLOWING, FOLLOWING_CHARS = 4, 500
"""Units behind a part that its request shows, and their most characters."""
Span = tuple[int, int]
"""Units ``first..last``, 0-based, both included."""

# White space at the end of a unit that holds an empty line: there a paragraph ends.
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*$")


def spans(units: Sequence[str], most: int, most_chars: int) -> list[Span]:
    """Cut units into runs of about the same size, at the ends of paragraphs.

    Of 170 units with at most 160 in a run, the first run ends with the paragraph nearest to unit 85. Where no paragraph
    ends in the second half of what a run may hold, it ends with a line, or else with any unit.

    Args:
        units: The units of a trace.
        most: Most units in a run.
        most_chars: Most characters in a run, unless one unit alone has more.
    """
    found: list[Span] = []
    start = 0
    while start < len(units):
        last = _furthest(units, start, most, most_chars)
        if last < len(units) - 1:
            left, size = len(units) - start, sum(map(len, units[start:]))
            runs = max(-(-left // most), -(-size // most_chars))
            last = _border(units, start, min(last, start + left // runs), last)
        found.append((start, last))
        start = last + 1
    return found


def _furthest(units: Sequence[str], start: int, most: int, most_chars: int) -> int:
    """Return the last unit that a run from ``start`` on may hold."""
    size, last = len(units[start]), start
    while last + 1 < min(len(units), start + most) and size + len(units[last + 1]) <= most_chars:
        last += 1
        size += len(units[last])
    return last


def _border(units: Sequence[str], start: int, wanted: int, furthest: int) -> int:
    """Return where a run that may end anywhere up to ``furthest`` ends best."""
    places = range(start + (wanted - start) // 2, furthest + 1)
    paragraphs = [i for i in places if _PARAGRAPH.search(units[i])]
    lines = [i for i in places if "\n" in units[i][len(units[i].rstrip()) :]]
    return min(paragraphs or lines or [wanted], key=lambda i: abs(i - wanted))


@dataclass(frozen=True)
class Part:
    """A run of a trace's units that is edited by itself."""

    trace: Trace
    units: Sequence[str]
    """The units of the whole trace."""
    first: int
    last: int
    before: tuple[Edit, ...] = ()
    """What was decided about the units before it."""
    earlier: tuple[Edit, ...] = ()
    """An earlier version of its edits, which did not pass; empty: there is none."""
    complaints: tuple[str, ...] = ()
    """What was wrong with them."""

    @property
    def own(self) -> Sequence[str]:
        """Its units."""
        return self.units[self.first : self.last + 1]

    @property
    def text(self) -> str:
        """Its text."""
        return "".join(self.own)

    @property
    def whole(self) -> bool:
        """Whether it is the whole trace."""
        return self.first == 0 and self.ends

    @property
    def ends(self) -> bool:
        """Whether the trace ends with it."""
        return self.last == len(self.units) - 1

    @property
    def place(self) -> str:
        """What is to be said about where it stands in the trace; empty for the whole one."""
        if self.whole:
            return ""
        if self.ends:
            return "This is the last part of a longer trace: what is kept of it must end on the final answer."
        return (
            "This is a part of a longer trace, which goes on behind it as <what_follows> shows. Edit this part only; do not "
            "conclude, and state no final answer where it states none."
        )

    @property
    def follows(self) -> str:
        """The first units behind it."""
        return cut("".join(self.units[self.last + 1 : self.last + 1 + FOLLOWING]).strip(), FOLLOWING_CHARS)

    def from_unit(self, first: int) -> "Part":
        """Return what is left of it from a unit on, which is counted from its own first."""
        return replace(self, first=self.first + first)

    def so_far(self, decided: Sequence[Edit] = (), open_: Sequence[Span] = ()) -> str:
        """Return how the edited trace reads up to here, with a mark for what is still to be edited.

        Args:
            decided: Edits of its own that stand already.
            open_: Its units that no edit covers, if ``decided`` are all others.
        """
        marks = [
            Edit(first=a, last=b, action="rewrite", skills=("open",), text=f"[{named((a, b))} to be edited]")
            for a, b in open_
        ]
        edits = sorted([*self.before, *decided, *marks], key=lambda edit: edit.first)
        if not edits:
            return ""
        covered = edits[-1].last + 1
        text = apply_script(self.units[:covered], EditScript(units=covered, edits=tuple(edits))).strip()
        if not marks:
            return cut(text, -CARRIED)
        start = text.find(marks[0].text or "")
        end = text.rfind(marks[-1].text or "") + len(marks[-1].text or "")
        return cut(text[:start], -CARRIED) + text[start:end] + cut(text[end:], CARRIED // 2)


def named(span: Span) -> str:
    """Return a span as one writes it, counted from 1: ``unit 5``, ``units 5-6``."""
    first, last = span
    return f"units {first + 1}-{last + 1}" if last > first else f"unit {first + 1}"


def cut(text: str, most: int) -> str:
    """Return the first ``most`` characters, or the last ``-most``, with a mark where something is left out."""
    if len(text) <= abs(most):
        return text
    return f"{text[:most]}…" if most > 0 else f"…{text[most:]}"


def parts(
    trace: Trace,
    units: Sequence[str],
    cuts: Sequence[Span],
    earlier: EditScript | None,
    complaints: Sequence[Complaint],
) -> list[Part]:
    """Return the parts of a trace, each with what was wrong with its earlier edits."""
    return [
        Part(
            trace,
            units,
            first,
            last,
            earlier=tuple(e for e in earlier.edits if first <= e.first and e.last <= last) if earlier else (),
            complaints=tuple(c.text for c in complaints if c.at is None or first <= c.at <= last),
        )
        for first, last in cuts
    ]


def fenced(tag: str, text: str) -> str:
    """Return a text between markers that it cannot close itself."""
    return f"<{tag}>\n{harmless(text)}\n</{tag}>"


def context(part: Part, so_far: str = "") -> str:
    """Return what a teacher is told besides the units themselves."""
    parts = [fenced("question", part.trace.question), fenced("answer_part", part.trace.answer)]
    if so_far:
        parts.append("How the edited trace reads so far, not to be edited:\n" + fenced("so_far", so_far))
    return "\n\n".join(parts)


def behind(part: Part) -> str:
    """Return what a teacher is told of the trace behind a part, and where the part stands."""
    shown = "Behind it the trace goes on, not to be edited:\n" + fenced("what_follows", part.follows)
    return "\n\n".join([*([] if part.ends else [shown]), *([part.place] if part.place else [])])


def shifted(edit: Edit, by: int) -> Edit:
    """Return an edit of a part as one of the whole trace; backwards with a negative ``by``."""
    borders = tuple(border + by for border in edit.borders)
    return edit.model_copy(update={"first": edit.first + by, "last": edit.last + by, "borders": borders})


def faults(part: Part) -> str:
    """Return what a teacher is told of its earlier text for a part, and what was wrong with it; empty at first."""
    if not part.earlier:
        return ""
    inside = tuple(shifted(edit, -part.first) for edit in part.earlier)
    text = apply_script(part.own, EditScript(units=len(part.own), edits=inside))
    wrong = "\n".join(f"- {complaint}" for complaint in part.complaints)
    return f"An earlier version:\n{fenced('text', text)}\n\nIt did not pass these checks; pass them now:\n{wrong}"
