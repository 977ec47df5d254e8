"""What each skill took before pruning and after, and which actions its steps got."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from drp.records import Edit, PrunedTrace


@dataclass
class SkillFigures:
    """Figures of one skill over accepted traces."""

    steps: int = 0
    before: float = 0.0
    """Tokens before pruning."""
    after: float = 0.0
    """Tokens after."""
    actions: Counter[str] = field(default_factory=Counter[str])
    """Steps by action."""


class SkillTable:
    """Counts the tokens of skills: a trace's tokens, shared out over its text by characters."""

    def __init__(self) -> None:
        self._by_skill: defaultdict[str, SkillFigures] = defaultdict(SkillFigures)

    def count(self, trace: PrunedTrace, units: Sequence[str]) -> None:
        """Add a trace whose script is of these units."""
        before = trace.tokens_before / max(1, len(trace.original_thinking) + len(trace.original_answer))
        after = trace.tokens_after / max(1, len(trace.thinking) + len(trace.answer))
        for edit in trace.script.edits:
            left = _left(edit, units) * after
            for skill, (first, last) in zip(edit.skills, _spans(edit), strict=False):
                figures = self._by_skill[skill]
                figures.steps += 1
                figures.actions[edit.action] += 1
                figures.before += sum(len(unit) for unit in units[first : last + 1]) * before
                figures.after += left / len(edit.skills)

    def ranked(self) -> list[tuple[str, SkillFigures]]:
        """Return skills with their figures, those that took most before pruning first."""
        return sorted(self._by_skill.items(), key=lambda item: -item[1].before)


def _left(edit: Edit, units: Sequence[str]) -> int:
    """Return how many characters an edit leaves."""
    if edit.action == "delete":
        return 0
    return sum(map(len, units[edit.first : edit.last + 1])) if edit.text is None else len(edit.text)


def _spans(edit: Edit) -> list[tuple[int, int]]:
    """Return the units of each step of an edit: of a merge as far as its borders are known, else all to the first."""
    if len(edit.skills) == len(edit.borders) + 1:
        starts = (edit.first, *edit.borders)
        return list(zip(starts, (*(border - 1 for border in edit.borders), edit.last), strict=True))
    return [(edit.first, edit.last), *[(edit.last + 1, edit.last)] * (len(edit.skills) - 1)]
