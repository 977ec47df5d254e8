"""Figures of edit scripts: what was done to how much of a trace."""

from collections import Counter
from collections.abc import Iterable, Sequence

from drp.records import EditScript


def action_counts(scripts: Iterable[EditScript]) -> Counter[str]:
    """Return the number of edits per action."""
    return Counter(edit.action for script in scripts for edit in script.edits)


def skill_counts(scripts: Iterable[EditScript]) -> Counter[str]:
    """Return the number of steps per skill."""
    return Counter(s for script in scripts for edit in script.edits for s in edit.skills)


def kept_bytes(units: Sequence[str], script: EditScript) -> int:
    """Return how many bytes of the thinking were copied unchanged."""
    return sum(
        len("".join(units[edit.first : edit.last + 1]).encode())
        for edit in script.edits
        if edit.action == "keep"
    )
