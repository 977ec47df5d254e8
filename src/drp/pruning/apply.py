"""Applying an edit script: a pure function from units and script to the pruned thinking."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from drp.errors import EditScriptError
from drp.records import Edit, EditScript

# White space that holds an empty line, and so ends a paragraph: "\n\n", "\n  \n", " \n\n ".
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n")


@dataclass(frozen=True)
class Piece:
    """A stretch of the pruned thinking and the edit it came from."""

    text: str
    """What stands there, with the white space that follows it."""
    edit: Edit


def pieces(units: Sequence[str], script: EditScript) -> list[Piece]:
    """Return the pieces of the pruned thinking in order; joined, they are the pruned thinking.

    ``keep`` copies bytes exactly. Between two pieces stands white space of the original: what stood at their
    border, or, where units between them were deleted, the strongest break that stood there.

    Raises:
        EditScriptError: The script is for another number of units.
    """
    if script.units != len(units):
        raise EditScriptError(
            f"the edit script covers {script.units} units but the trace has {len(units)}; "
            "was the script made with other segmentation settings?"
        )
    live = [(edit, text) for edit in script.edits if (text := _text(edit, units))]
    seams = [seam(units, before.last, after.first) for (before, _), (after, _) in pairwise(live)]
    return [Piece(text + space, edit) for (edit, text), space in zip(live, [*seams, ""], strict=False)]


def apply_script(units: Sequence[str], script: EditScript) -> str:
    """Return the pruned thinking: the same script on the same units always gives the same text."""
    return "".join(piece.text for piece in pieces(units, script))


def seam(units: Sequence[str], before: int, after: int) -> str:
    r"""Return the white space between unit ``before`` and unit ``after``, where what stood between them goes.

    It is the strongest break of those that stood between them, an empty line before a line break before
    spaces, as it is written at a border of what went: first at the later one, where the indentation of
    what follows stands. Of ``One.``, `` Two.\n\n``, ``Three.``, `` Four.`` the first and the last are joined by ``\n\n``.
    """
    borders = [_trail(units[i]) + _lead(units[i + 1]) for i in range(before, after)]
    return max((borders[-1], *borders), key=_strength)


def _text(edit: Edit, units: Sequence[str]) -> str:
    """Return what an edit leaves, without the white space around it."""
    if edit.action == "delete":
        return ""
    return ("".join(units[edit.first : edit.last + 1]) if edit.text is None else edit.text).strip()


def around(text: str) -> tuple[str, str]:
    """Return the white space that leads a text and that trails it."""
    return _lead(text), _trail(text)


def _lead(unit: str) -> str:
    return unit[: len(unit) - len(unit.lstrip())]


def _trail(unit: str) -> str:
    return unit[len(unit.rstrip()) :]


def _strength(space: str) -> int:
    return 3 if _PARAGRAPH.search(space) else 2 if "\n" in space else 1 if space else 0
