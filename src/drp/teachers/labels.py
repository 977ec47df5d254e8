"""The skills that a teacher names, held against those it may name."""

from collections.abc import Sequence

from rapidfuzz import fuzz, process

from drp.pruning.skills import classify
from drp.records import Edit

ALIKE = 85.0
"""Least likeness of two spellings of one skill, of 100: "Arithmetics" is arithmetic, "counting" is nothing on the list."""
OTHER = "other"


def listed(skill: str, allowed: Sequence[str] | None) -> str | None:
    """Return a skill as the list spells it, ``None`` where it is not there; without a list, any skill as it is."""
    if allowed is None or skill in allowed:
        return skill
    spelled = {name.casefold(): name for name in allowed}
    found = process.extractOne(skill.casefold(), list(spelled), scorer=fuzz.ratio, score_cutoff=ALIKE)
    return spelled[found[0]] if found else None


def relabelled(
    edits: Sequence[Edit], units: Sequence[str], allowed: Sequence[str] | None
) -> tuple[list[Edit], float]:
    """Return edits with skills of the list alone, and the share of those named that were not on it.

    What is deleted need not be named: it gets the skill that its own cues point to.
    """
    found: list[Edit] = []
    named = strange = 0
    for edit in edits:
        skills = [listed(skill, allowed) for skill in edit.skills]
        named, strange = named + len(skills), strange + skills.count(None)
        if edit.action == "delete" and skills[0] in (None, OTHER):
            skills = [listed(_by_cues(units[edit.first : edit.last + 1]), allowed)]
        found.append(edit.model_copy(update={"skills": tuple(skill or OTHER for skill in skills)}))
    return found, strange / max(1, named)


def _by_cues(units: Sequence[str]) -> str:
    """Return the skill of the first unit that has cues of one."""
    return next((skill for unit in units if (skill := classify(unit)) != OTHER), OTHER)
