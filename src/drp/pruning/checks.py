"""Checks: the properties a pruned trace must have, each named, each with the figures behind it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from pydantic import Field

from drp.pruning.arithmetic import results
from drp.pruning.conclusion import Goal, Grade, conclude, flat, otherwise
from drp.pruning.form import defects, torn
from drp.pruning.reflection import HABIT, reflective_steps
from drp.pruning.slips import kept_slips
from drp.pruning.statistics import kept_bytes, own_words
from drp.pruning.support import stated_values, unsupported
from drp.records import Check, EditScript, Record
from drp.text.answers import normalise
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in, parse_number
from drp.text.thinking import THINK, Tags
from drp.text.units import split_units

_FRACTION = re.compile(r"-?\d+/\d+")


class CheckLimits(Record):
    """Limits of the checks that compare a figure with a bound."""

    max_length_ratio: float = Field(default=1.0, gt=0, le=1)
    """Pruned characters over original characters must be below this (1: merely shorter)."""
    min_length_ratio: float = Field(default=0.0, ge=0, lt=1)
    """… and at least this, so that the student's voice is not cut away."""
    min_own_share: float = Field(default=0.5, ge=0, le=1)
    """Least share of words of the pruned thinking that are the student's own: in kept units, or in runs it has too."""
    min_reflection_ratio: float = Field(default=0.1, ge=0, le=1)
    """Least steps of checking per word of the pruned thinking over that of the original."""


CHECK_MEANING = {
    "answer_kept": "the final answer must still be stated",
    "concluded": "the thinking must end on a sentence that computes or states the final answer, with nothing left open behind it",
    "supported": "what stays must not use a number, a name or a line that only deleted text introduced, and every question, "
    "doubt or list that stays needs what follows it: keep the line it rests on, rewrite it, or delete it too",
    "no_slip_kept": "a slip must not stay without its correction: put the right value in its place, or delete both",
    "well_formed": "the text must be non-empty and of whole sentences, with balanced formulas and quotation marks and no special tags",
    "numbers_grounded": "new text must not introduce numbers",
    "equations": "no false equation may be added",
    "shorter": "the result must be shorter than the original, but not too short",
    "own_share": "more of the result must be the student's own words, several in a row as it wrote them",
    "reflection": "some of the student's steps of checking or of trying another way must stay, whole",
    "student_answers": "the student itself, going on after the thinking, must still give the answer",
    "seams": "what stays behind a deletion must not become a surprise to the student without it: keep the line that it rests on",
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
    if _FRACTION.fullmatch(plain := flat(gold)):  # 2/9 and \\dfrac{2}{9} are one, but 12/9 is another
        return re.search(rf"(?<![\d./]){re.escape(plain)}(?![\d/]|\.\d)", flat(text)) is not None
    return bool(spelled) and spelled in normalise(text)


def _answer_kept(c: Candidate, grade: Grade) -> Check:
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


def _concluded(c: Candidate, grade: Grade) -> Check:
    goal = Goal(c.question, c.gold, c.original_answer, grade)
    verdict = conclude(split_units(c.thinking), goal)
    before = conclude(c.units, goal) if verdict.fault else verdict
    reason = verdict.fault
    if verdict.fault and before.fault:
        other = otherwise(c.units, goal)
        said = "concludes otherwise than the answer part" if other else "never concludes"
        reason = f"the original thinking {said}: {verdict.fault}"
    return Check(
        name="concluded",
        passed=not verdict.fault,
        figures={
            "arrives": verdict.at is not None,
            "original_concludes": not before.fault,
        },
        detail=reason,
    )


def _supported(c: Candidate) -> Check:
    """Measure by the text; what a student's likelihood says of the same units is the check ``seams``."""
    found = unsupported(c.question, c.units, c.script)
    kinds = Counter(finding.kind for finding in found)
    return Check(
        name="supported",
        passed=not found,
        figures={"findings": len(found), **kinds},
        detail="; ".join(map(str, found[:5])),
    )


def _no_slip_kept(c: Candidate) -> Check:
    found = kept_slips(c.units, c.script)
    return Check(
        name="no_slip_kept", passed=not found, figures={"slips": len(found)}, detail="; ".join(found[:5])
    )


def _well_formed(c: Candidate) -> Check:
    """Refuse tags, empty texts, and defects of form that the original does not have as often."""
    added = defects(c.thinking, c.tags) - Counter(
        {name: n for name, n in defects(c.original, c.tags).items() if not name.startswith("tag ")}
    )
    found = [f"{name} ({n} times)" if n > 1 else name for name, n in added.items()]
    found += torn(c.units, c.script)
    found += [f"{name} is empty" for name in ("thinking", "answer") if not getattr(c, name).strip()]
    found += [f"{name} in the answer" for name in defects(c.answer, c.tags) if name.startswith("tag ")]
    return Check(
        name="well_formed", passed=not found, figures={"defects": len(found)}, detail="; ".join(found)
    )


def _new_texts(c: Candidate) -> list[str]:
    return [edit.text for edit in c.script.edits if edit.text is not None]


def _numbers_grounded(c: Candidate) -> Check:
    known = stated_values(c.question) | stated_values(c.original) | {Fraction(1)}
    strange: list[str] = []
    total = 0
    for text in _new_texts(c):
        computed = results(text)
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
    own, total = own_words(c.question, c.units, c.script)
    share = own / total if total else 1.0  # formulas alone are in nobody's words
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
    before = len(reflective_steps(c.question, c.units))
    after = len(reflective_steps(c.question, split_units(c.thinking)))
    density_before = before / max(1, len(c.original.split()))
    density_after = after / max(1, len(c.thinking.split()))
    few = before < HABIT  # a trace that hardly checks has no habit to keep
    ratio = density_after / density_before if density_before else 1.0
    return Check(
        name="reflection",
        passed=few or ratio >= limits.min_reflection_ratio,
        figures={"before": before, "after": after, "density_ratio": round(ratio, 4)},
    )


def run_checks(candidate: Candidate, grade: Grade, limits: CheckLimits) -> tuple[Check, ...]:
    """Run every check; none stops the others."""
    return (
        _answer_kept(candidate, grade),
        _concluded(candidate, grade),
        _supported(candidate),
        _no_slip_kept(candidate),
        _well_formed(candidate),
        _numbers_grounded(candidate),
        _equations(candidate),
        _length(candidate, limits),
        _own_share(candidate, limits),
        _reflection(candidate, limits),
    )
