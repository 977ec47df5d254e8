"""What pruning could save: the rules teacher's scripts on a sample of these very completions, checked as in a run."""

import hashlib
from collections.abc import Sequence

from drp.diagnosis.completion import Taken
from drp.diagnosis.figures import mean_of, share_of
from drp.diagnosis.records import Saving
from drp.grading.grader import Grader
from drp.pruning.checks import CheckLimits
from drp.stages.checking import check_script
from drp.teachers.rules import RulesTeacher
from drp.text.tokens import TokenCounter


def sampled(taken: Sequence[Taken], most: int) -> list[Taken]:
    """Return at most so many completions, the same ones each time: those whose ids hash lowest."""
    if len(taken) <= most:
        return list(taken)
    return sorted(taken, key=lambda t: hashlib.sha256(t.trace.id.encode()).digest())[:most]


def saving(taken: Sequence[Taken], count: TokenCounter, most: int) -> Saving | None:
    """Prune right, closed completions by rules and see what passes the checks; ``None`` where there is none.

    Args:
        taken: Completions.
        count: Counts tokens.
        most: At most so many are pruned.
    """
    fit = [t for t in taken if t.trace.correct and t.trace.closed and t.parts]
    tried = sampled(fit, most)
    if not tried:
        return None
    teacher, limits = RulesTeacher(), CheckLimits()
    passed: list[bool] = []
    gone: list[float] = []
    whole: list[float] = []
    with Grader() as grader:
        for t in tried:
            units = [part.text for part in t.parts]
            script = teacher.script(t.trace.question, t.trace.answer, units)
            checked = check_script(t.trace, units, script, t.trace.answer, limits, grader, count)
            ok = all(check.passed for check in checked.checks if check.required)
            passed.append(ok)
            whole.append(float(checked.tokens_before))
            gone.append(float(checked.tokens_before - checked.tokens_after) if ok else 0.0)
    problems = [t.problem for t in tried]
    kept = [n for n, ok in enumerate(passed) if ok]
    return Saving(
        method="rules teacher, every check of `drp prune`",
        tried=len(tried),
        accepted=mean_of(problems, [float(ok) for ok in passed]),
        deleted=share_of([problems[n] for n in kept], [gone[n] for n in kept], [whole[n] for n in kept]),
        overall=share_of(problems, gone, whole),
    )
