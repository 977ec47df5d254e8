"""Prunings of traces with a planted slip, of which the correction goes or stays."""

import random
from fractions import Fraction

from drp.text.equations import find_equations
from drp.text.numbers import numbers_in
from plants.base import Pruning, Source, edited, until


def _slipped(s: Source, rng: random.Random) -> tuple[tuple[str, ...], int] | None:
    """Return the trace with a slip and its correction planted where it first computes something, and the place of the slip."""
    for at in range(1, len(s.units) - 1):
        equations = [
            e
            for e in find_equations(s.units[at])
            if e.holds and e.value and e.value.denominator == 1 and e.value > 9
        ]
        if equations and s.units[at].rstrip().endswith("."):
            e, unit = equations[-1], s.units[at]
            wrong = str(e.value + rng.choice([-2, 3, 10]))
            body, sign, _ = unit[e.start : e.end].rpartition("=")
            trail = unit[len(unit.rstrip()) :]
            slip = f"{unit[: e.start]}{body}{sign} {wrong}."
            denial = rng.choice(
                [" Wait, no, that's not right.", " No, wait, I made a mistake.", " Hmm, no, that's wrong."]
            )
            redo = f" {body.strip()} = {e.right}.{trail}"
            return (*s.units[:at], slip, denial, redo, *s.units[at + 1 :]), at
    return None


def correction_deleted(s: Source, rng: random.Random) -> Pruning | None:
    """Keep a planted slip and delete its correction, and the equation wherever it comes again."""
    made = _slipped(s, rng)
    if made is None:
        return None
    units, at = made
    again = {e.left for e in find_equations(units[at + 2])}
    gone = {i for i in range(at + 2, len(units)) if again & {e.left for e in find_equations(units[i])}}
    return Pruning("a correction deleted", False, edited(units, gone | {at + 1, at + 2}), units)


def wrong_step_kept(s: Source, _: random.Random) -> Pruning | None:
    """Keep a step that is true as arithmetic and wrong for the question, and delete how it is taken back."""
    for at in range(1, len(s.units) - 1):
        found = [
            e
            for e in find_equations(s.units[at])
            if e.holds and e.value and e.value.denominator == 1 and e.value > 9
        ]
        if found and s.units[at].rstrip().endswith("."):
            a, b = (int(found[0].value or 0), 7)
            units = (
                *s.units[: at + 1],
                f" Then {a} + {b} = {a + b}.",
                " Wait, no, it says fewer, not more.",
                f" So {a} - {b} = {a - b}.",
                *s.units[at + 1 :],
            )
            if any(Fraction(a + b) in numbers_in(u) for u in s.units):
                continue
            return Pruning("a step taken back kept", False, edited(units, {at + 2, at + 3}), units)
    return None


def slip_and_correction_kept(s: Source, rng: random.Random) -> Pruning | None:
    """Keep a planted slip with its correction."""
    made = _slipped(s, rng)
    return made and Pruning(
        "slip and correction kept", True, edited(made[0], until(len(made[0]) - 3, made[0])), made[0]
    )


def slip_deleted(s: Source, rng: random.Random) -> Pruning | None:
    """Delete a planted slip and the denial, keep the right equation; every second one is written anew in its place."""
    made = _slipped(s, rng)
    if made is None:
        return None
    units, at = made
    if rng.random() < 0.5:
        return Pruning("slip deleted", True, edited(units, {at, at + 1}), units)
    right = units[at].rsplit("=", 1)[0] + "=" + units[at + 2].rsplit("=", 1)[1]
    return Pruning("slip written anew", True, edited(units, {at + 1, at + 2}, {at: right}), units)


def idle_doubt_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete a doubt that came to the same value again: "Wait, no, let me recompute: … = 72. Yes"."""
    for at in range(1, len(s.units) - 1):
        found = [e for e in find_equations(s.units[at]) if e.holds and e.value]
        if found and s.units[at].rstrip().endswith("."):
            doubt = (
                " Wait, no, is that wrong?",
                f" Let me redo it: {s.units[at][found[0].start : found[0].end]}.",
                " Okay, so it was right.",
            )
            units = (*s.units[: at + 1], *doubt, *s.units[at + 1 :])
            return Pruning("idle doubt deleted", True, edited(units, {at + 1, at + 2, at + 3}), units)
    return None
