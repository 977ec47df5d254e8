"""Figures of edit scripts: what was done to how much of a trace."""

from collections import Counter
from collections.abc import Iterable, Sequence

from drp.pruning.alignment import matched, words
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


def own_bytes(units: Sequence[str], script: EditScript) -> int:
    """Return how many bytes of the pruned thinking are the student's own.

    Those are bytes copied unchanged, and in new text the words that stand, in the same order, in what it
    replaces; white space counts in proportion.
    """
    own = 0.0
    for edit in script.edits:
        if edit.text is None:
            continue
        new = words(edit.text)
        found = matched(words("".join(units[edit.first : edit.last + 1])), new)
        total = sum(len(word.encode()) for word in new)
        share = sum(len(new[b].encode()) for _, b in found) / max(1, total)
        own += share * len(edit.text.encode())
    return kept_bytes(units, script) + round(own)
