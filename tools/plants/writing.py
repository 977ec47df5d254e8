"""Prunings that write anew: broken formulas, false or invented numbers, another style; and checks kept or not."""

import random
import re
from collections.abc import Sequence

from drp.pruning.skills import is_filler
from drp.text.equations import find_equations
from plants.base import CHECKS, PARAGRAPH, Pruning, Source, concludes, edited, rewritten, until


def formula_opened(s: Source, rng: random.Random) -> Pruning | None:
    """Write a formula anew without its end, or the student's stop token into the text."""
    at = next((i for i, u in enumerate(s.units) if "=" in u and i > 1), None)
    if at is None:
        return None
    text = s.units[at].strip()
    broken = rng.choice(
        [f"\\[ {text}", f"\\frac{{1}}{{2 {text}", f"{text} </think>", f"$$ {text}", f"\\( {text}"]
    )
    return Pruning("a formula left open, a tag", False, edited(s.units, until(at + 4, s.units), {at: broken}))


# --- what new text says


def _equation_unit(s: Source) -> tuple[int, int, int, int] | None:
    for at, unit in enumerate(s.units):
        for e in find_equations(unit):
            match = re.fullmatch(r"(\d{1,4})\*(\d{1,3})", e.left)
            if match and e.holds and e.value:
                return at, int(match[1]), int(match[2]), int(e.value)
    return None


def number_invented(s: Source, rng: random.Random) -> Pruning | None:
    """Write a step anew with a number from nowhere."""
    found = _equation_unit(s)
    if found is None:
        return None
    at, a, b, c = found
    new = rng.choice(
        [
            f"So that's {a} and {c + 10007} of them.",
            f"There are {c * 31 + 7919} of these, so we go on.",
            f"\\( {a} \\times {b} = {c + 10007} \\)",
        ]
    )
    return Pruning("a number from nowhere", False, edited(s.units, set(), {at: new}))


def typeset(s: Source, rng: random.Random) -> Pruning | None:
    """Write a step anew in LaTeX, with results of its own that follow."""
    found = _equation_unit(s)
    if found is None:
        return None
    at, a, b, c = found
    new = rng.choice([
        f"\\( {a} \\times {b} = {c} \\)", f"\\[ {c} \\times \\frac{{1}}{{{b}}} = {a} \\]", f"$\\frac{{{c}}}{{{a}}} = {b}$",
        f"So ({a} + {b})/2 = {(a + b) / 2:g}.", f"{a} boxes × {b} = {c}",
    ])  # fmt: skip
    return Pruning("typeset arithmetic", True, edited(s.units, set(), {at: new}))


def falsified(s: Source, rng: random.Random) -> Pruning | None:
    """Write a step anew with a false result."""
    found = _equation_unit(s)
    if found is None:
        return None
    at, a, b, c = found
    return Pruning(
        "a false result", False, edited(s.units, set(), {at: f"So {a} * {b} = {c + rng.choice([1, 3, 10])}."})
    )


def true_again(s: Source, rng: random.Random) -> Pruning | None:
    """Write a step anew with its true result."""
    found = _equation_unit(s)
    if found is None:
        return None
    at, a, b, c = found
    new = rng.choice(
        [f"So {a} * {b} = {c}.", f"So {b} × {a} = {c}.", f"So {a} times {b} is {c}, and {c} / {b} = {a}."]
    )
    return Pruning("a true result", True, edited(s.units, set(), {at: new}))


# --- style


def textbook(s: Source, _: random.Random) -> Pruning | None:
    """Write the whole trace anew as the human solution."""
    return (
        Pruning("the human solution", False, rewritten(s.units, s.solution))
        if len(s.solution.split()) > 25
        else None
    )


def answer_as_thinking(s: Source, _: random.Random) -> Pruning | None:
    """Write the whole trace anew as a list in textbook style of what it computes."""
    found = [e for u in s.units for e in find_equations(u) if e.holds]
    if len(found) < 3:
        return None
    lines = "\n".join(
        f"Step {i}. Performing the operation, one obtains ${e.left} = {e.right}$."
        for i, e in enumerate(found[:6], 1)
    )
    return Pruning(
        "a list of equations", False, rewritten(s.units, f"{lines}\nHence, the final result is {s.gold}.")
    )


_LOOSE = re.compile(r"\b(?:just|actually|basically|really|simply|okay|alright|well|hmm|wait),? ", re.I)


def tightened(s: Source, _: random.Random) -> Pruning | None:
    """Write up to the conclusion anew in the student's own sentences, without its filler words."""
    at = concludes(s)
    if at is None:
        return None
    own = "".join(_LOOSE.sub("", u) for u in s.units[: at + 1] if not is_filler(u))
    return Pruning("own sentences, tightened", True, rewritten(s.units, own.strip()))


# --- reflection


def _checking(units: Sequence[str]) -> list[range]:
    """Return the paragraphs that open with checking or another way, and compute something."""
    starts = [0, *(i + 1 for i, u in enumerate(units[:-1]) if PARAGRAPH.search(u))]
    runs = [range(a, b) for a, b in zip(starts, [*starts[1:], len(units)], strict=True)]
    return [
        run
        for run in runs
        if CHECKS.search(units[run[0]]) and re.search(r"\d", "".join(units[i] for i in run[1:]))
    ]


def checks_deleted(s: Source, rng: random.Random) -> Pruning | None:
    """Delete every sentence of checking, and leave at most an idle doubt."""
    if len(_checking(s.units)) < 4:
        return None
    end = concludes(s) or len(s.units) - 1
    look = re.compile(
        CHECKS.pattern
        + r"|\b(?:make sense|makes sense|match|matches|same|consistent|add up|works|right|correct|back|again|says|thorough|recap|recount|once more|other ways?|another|or maybe|maybe i|re-?examine|consider|let me see if|recalculat\w+|sure)\b|\?",
        re.I,
    )
    gone = {i for i, u in enumerate(s.units) if look.search(u)} | until(end, s.units)
    orphan = rng.choice(
        ["Hmm, maybe I misinterpreted the problem.", "Wait, perhaps.", "Let me double-check."]
    )
    return Pruning(
        "no check kept, an idle doubt",
        False,
        edited(s.units, gone - {0}, {0: f"{s.units[0].strip()} {orphan}"}),
    )


def one_check_kept(s: Source, rng: random.Random) -> Pruning | None:
    """Keep up to the conclusion without checking, and one whole paragraph of checking behind it."""
    at, runs = concludes(s), _checking(s.units)
    if at is None or len(runs) < 4:
        return None
    behind = [run for run in runs if run[0] > at]
    if not behind:
        return None
    kept = rng.choice(behind)
    gone = set(range(at + 1, len(s.units))) - set(kept) | {i for run in runs for i in run if i < at}
    return Pruning("one check kept whole", True, edited(s.units, gone - {at}))
