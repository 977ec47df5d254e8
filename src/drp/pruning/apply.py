"""Applying an edit script: a pure function from units and script to the pruned thinking."""

from collections.abc import Sequence
from dataclasses import dataclass

from drp.errors import EditScriptError
from drp.records import Edit, EditScript


@dataclass(frozen=True)
class Piece:
    """A stretch of the pruned thinking and the edit it came from."""

    text: str
    edit: Edit


def _new_text(edit: Edit, units: Sequence[str]) -> str:
    """Return a rewrite's text with the white space that stood around the units it replaces."""
    first, last = units[edit.first], units[edit.last]
    lead = first[: len(first) - len(first.lstrip())]
    trail = last[len(last.rstrip()) :]
    return lead + (edit.text or "").strip() + trail


def pieces(units: Sequence[str], script: EditScript) -> list[Piece]:
    """Return the pieces of the pruned thinking in order; joined, they are the pruned thinking.

    ``keep`` copies bytes exactly. Where a deletion would glue two pieces together, the paragraph
    break that was deleted, or else one space, is put between them.

    Raises:
        EditScriptError: The script is for another number of units.
    """
    if script.units != len(units):
        raise EditScriptError(
            f"the edit script covers {script.units} units but the trace has {len(units)}; "
            "was the script made with other segmentation settings?"
        )
    result: list[Piece] = []
    lost_break = ""
    for edit in script.edits:
        if edit.action == "delete":
            unit = units[edit.last]
            trail = unit[len(unit.rstrip()) :]
            if "\n" in trail and len(trail) > len(lost_break):
                lost_break = trail
            continue
        copied = edit.action == "keep"
        text = "".join(units[edit.first : edit.last + 1]) if copied else _new_text(edit, units)
        if result and result[-1].text[-1:].strip() and text[:1].strip():
            result[-1] = Piece(result[-1].text + (lost_break or " "), result[-1].edit)
        result.append(Piece(text, edit))
        lost_break = ""
    return result


def apply_script(units: Sequence[str], script: EditScript) -> str:
    """Return the pruned thinking: the same script on the same units always gives the same text."""
    return "".join(piece.text for piece in pieces(units, script)).strip()
