"""Checks: the properties a pruned trace must have, each named, each with the figures behind it."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from drp.pruning.skills import reflection_count
from drp.pruning.statistics import kept_bytes, own_bytes
from drp.records import Check, EditScript, Record
from drp.text.answers import normalise
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in, parse_number
from drp.text.thinking import THINK, Tags

Grader = Callable[[str, str], bool]
"""Whether an answer text states the gold answer: ``grader(answer, gold)``."""


class CheckLimits(Record):
    """Limits of the checks that compare a figure with a bound."""

    max_length_ratio: float = Field(default=1.0, gt=0, le=1)
    """Pruned characters over original characters must be below this (1: merely shorter)."""
    min_length_ratio: float = Field(default=0.0, ge=0, lt=1)
    """… and at least this, so that the student's voice is not cut away."""
    min_own_share: float = Field(default=0.5, ge=0, le=1)
    """Least share of the pruned thinking that is the student's own: kept units, and its words in new text."""
    min_reflection_ratio: float = Field(default=0.1, ge=0, le=1)
    """Least reflection words per word of the pruned thinking over that of the original."""


CHECK_MEANING = {
    "answer_kept": "the final answer must still be stated",
    "well_formed": "the text must be non-empty, with balanced formulas and no special tags",
    "numbers_grounded": "new text must not introduce numbers",
    "equations": "no false equation may be added",
    "shorter": "the result must be shorter than the original, but not too short",
    "own_share": "more of the result must be the student's own words, in their order",
    "reflection": "some of the student's moments of doubt or checking must stay",
    "learnable": "the text must sound like the student's own, which is measured by its likelihood under it",
}
"""What each check asks for, in words a teacher understands."""


@dataclass(frozen=True)
class Candidate:
    """A trace next to its proposed pruned form."""

    question: str
    gold: str
    units: Sequence[str]
    original_answer: str
    script: EditScript
    thinking: str
    answer: str
    tags: Tags = THINK
    """What the student writes around its thinking, and nowhere else."""

    @property
    def original(self) -> str:
        """The original thinking."""
        return "".join(self.units)


def states(text: str, gold: str) -> bool:
    """Return whether ``text`` holds the gold answer, as a number by value or else as a spelling."""
    spelled = normalise(gold)
    value = parse_number(spelled)
    if value is not None and "/" not in spelled:
        return abs(value) in numbers_in(text)
    if value is not None and any(equation.value == value for equation in find_equations(text)):
        return True
    return bool(spelled) and spelled in normalise(text)


def _answer_kept(c: Candidate, grade: Grader) -> Check:
    in_answer = grade(c.answer, c.gold)
    before, after = states(c.original, c.gold), states(c.thinking, c.gold)
    passed = in_answer and (after or not before)
    return Check(
        name="answer_kept",
        passed=passed,
        figures={
            "answer_right": in_answer,
            "original_thinking_states_gold": before,
            "pruned_thinking_states_gold": after,
        },
        detail="" if passed else f"gold {c.gold!r} is not kept",
    )


_PAIRS = ((r"\[", r"\]"), (r"\(", r"\)"))
_ENVIRONMENT = re.compile(r"\\(begin|end)\{")
_TAG = re.compile(
    r"</?think>|<[|｜][^|｜<>\n]{1,40}[|｜]>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|</?tool_(?:call|response)>"
)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_DISPLAY = re.compile(r"\$\$")
_INLINE = re.compile(r"\$(?=[^\s$])[^$\n]{0,300}?(?<=\S)\$(?!\d)|\$ ?\d|\d\$(?![\w\\({])")
r"""A formula between single dollars (``$x = 5$``), or money (``$15``, ``200$``), which stands alone by right."""


def _unmatched(text: str, opening: str, closing: str) -> int:
    """Return how many of the brackets in ``text`` have no partner; one scan."""
    open_, lone = 0, 0
    for match in re.finditer(f"({re.escape(opening)})|{re.escape(closing)}", text):
        if match[1]:
            open_ += 1
        elif open_:
            open_ -= 1
        else:
            lone += 1
    return open_ + lone


def _defects(text: str, tags: Tags) -> Counter[str]:
    """Count what is wrong with the form of a text, by what it is."""
    found = Counter(f"tag {match.group()}" for match in _TAG.finditer(text))
    found.update({f"tag {tag}": text.count(tag) for tag in tags if not _TAG.fullmatch(tag)})
    lines = text.replace("\\\\", "")  # a line break in LaTeX may stand before a bracket: \\[2pt]
    for opening, closing in _PAIRS:
        found[f"unbalanced {opening}"] = _unmatched(lines, opening, closing)
    sides = Counter(match[1] for match in _ENVIRONMENT.finditer(lines))
    found[r"unbalanced \begin{"] = abs(sides["begin"] - sides["end"])
    found["unclosed code block"] = text.count("```") % 2
    plain = _ESCAPED.sub("", text)
    found["unbalanced {"] = _unmatched(plain, "{", "}")
    found["unbalanced $$"] = len(_DISPLAY.findall(plain)) % 2
    found["unbalanced $"] = _INLINE.sub("", _DISPLAY.sub("", plain)).count("$")
    return +found


def _well_formed(c: Candidate) -> Check:
    """Refuse tags, empty texts, and defects of form that the original does not have as often."""
    added = _defects(c.thinking, c.tags) - Counter(
        {name: n for name, n in _defects(c.original, c.tags).items() if not name.startswith("tag ")}
    )
    found = [f"{name} ({n} times)" if n > 1 else name for name, n in added.items()]
    found += [f"{name} is empty" for name in ("thinking", "answer") if not getattr(c, name).strip()]
    found += [f"{name} in the answer" for name in _defects(c.answer, c.tags) if name.startswith("tag ")]
    return Check(
        name="well_formed", passed=not found, figures={"defects": len(found)}, detail="; ".join(found)
    )


def _new_texts(c: Candidate) -> list[str]:
    return [edit.text for edit in c.script.edits if edit.text is not None]


def _numbers_grounded(c: Candidate) -> Check:
    known = set(numbers_in(c.question)) | set(numbers_in(c.original))
    strange: list[str] = []
    total = 0
    for text in _new_texts(c):
        computed = {equation.value for equation in find_equations(text) if equation.holds}
        for number in numbers_in(text):
            total += 1
            if number not in known and number not in computed:
                strange.append(str(number))
    return Check(
        name="numbers_grounded",
        passed=not strange,
        figures={"numbers": total, "ungrounded": len(strange)},
        detail=f"from nowhere: {', '.join(strange[:8])}" if strange else "",
    )


def _equations(c: Candidate) -> Check:
    before, after = find_equations(c.original), find_equations(c.thinking)
    old = {equation.key for equation in before}
    added = [equation.key for equation in after if not equation.holds and equation.key not in old]
    true_before = {equation.left for equation in before if equation.holds}
    falsified = [e.key for e in after if not e.holds and e.left in true_before and e.key not in old]
    return Check(
        name="equations",
        passed=not added,
        figures={
            "true_before": sum(e.holds for e in before),
            "false_before": sum(not e.holds for e in before),
            "true_after": sum(e.holds for e in after),
            "false_after": sum(not e.holds for e in after),
            "false_added": len(added),
            "falsified": len(falsified),
        },
        detail=f"false: {', '.join(added[:5])}" if added else "",
    )


def _length(c: Candidate, limits: CheckLimits) -> Check:
    before, after = len(c.original) + len(c.original_answer), len(c.thinking) + len(c.answer)
    ratio = after / max(1, before)
    return Check(
        name="shorter",
        passed=limits.min_length_ratio <= ratio < limits.max_length_ratio,
        figures={"before": before, "after": after, "ratio": round(ratio, 4)},
    )


def _own_share(c: Candidate, limits: CheckLimits) -> Check:
    share = min(1.0, own_bytes(c.units, c.script) / max(1, len(c.thinking.encode())))
    kept = kept_bytes(c.units, c.script)
    return Check(
        name="own_share",
        passed=share >= limits.min_own_share,
        figures={
            "share_of_pruned": round(share, 4),
            "share_of_original": round(kept / max(1, len(c.original.encode())), 4),
        },
    )


def _reflection(c: Candidate, limits: CheckLimits) -> Check:
    before, after = reflection_count(c.original), reflection_count(c.thinking)
    density_before = before / max(1, len(c.original.split()))
    density_after = after / max(1, len(c.thinking.split()))
    few = before < 3  # a trace that hardly reflects has no habit to keep
    ratio = density_after / density_before if density_before else 1.0
    return Check(
        name="reflection",
        passed=few or ratio >= limits.min_reflection_ratio,
        figures={"before": before, "after": after, "density_ratio": round(ratio, 4)},
    )


def run_checks(candidate: Candidate, grade: Grader, limits: CheckLimits) -> tuple[Check, ...]:
    """Run every check; none stops the others."""
    return (
        _answer_kept(candidate, grade),
        _well_formed(candidate),
        _numbers_grounded(candidate),
        _equations(candidate),
        _length(candidate, limits),
        _own_share(candidate, limits),
        _reflection(candidate, limits),
    )
