"""A second set of plants for every check, of another construction than the first: checks are not mended by it."""

import random
import re
from fractions import Fraction

from drp.pruning.skills import is_filler
from drp.text.answers import normalise
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in, parse_number
from plants.base import CHECKS, PARAGRAPH, Pruning, Source, concludes, edited, rewritten, says_gold, until

_LEANS = re.compile(
    r"\W*(?:this|that|these|those|it|they|which|both|similarly|again|so|then|therefore|and|but|wait|no|yes|hmm|alternatively)\b",
    re.I,
)


def _paragraphs(s: Source) -> list[range]:
    starts = [0, *(i + 1 for i, u in enumerate(s.units[:-1]) if PARAGRAPH.search(u))]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(s.units)], strict=True)]


def _text(s: Source, units: range) -> str:
    return "".join(s.units[i] for i in units)


# --- concluded


def cut_half_way(s: Source, _: random.Random) -> Pruning | None:
    """Cut at the paragraph half way to the first that holds the gold answer."""
    runs = _paragraphs(s)
    at = next((n for n, run in enumerate(runs) if says_gold(s, _text(s, run))), 0)
    if says_gold(s, s.question) or at < 2:
        return None
    return Pruning("cut half way", False, edited(s.units, until(runs[at // 2][-1], s.units)))


def only_asked(s: Source, _: random.Random) -> Pruning | None:
    """Say the answer only as a question, and nowhere else."""
    at = concludes(s)
    if at is None or says_gold(s, s.question):
        return None
    gone = {i for i in range(at) if says_gold(s, s.units[i])} | until(at, s.units)
    return Pruning("answer only asked", False, edited(s.units, gone, {at: f"Hmm, so is it {s.gold}?"}))


def said_plainly(s: Source, rng: random.Random) -> Pruning | None:
    """Cut at the conclusion, and say it in other words."""
    at = concludes(s)
    if at is None or says_gold(s, s.question):
        return None
    words = rng.choice(
        ["So that makes {} in the end.", "Therefore it has to be {}.", "Okay, so my answer is {}."]
    )
    text = words.format(s.gold if parse_number(normalise(s.gold)) else f"\\( {s.gold} \\)")
    return Pruning("said plainly", True, edited(s.units, until(at, s.units), {at: text}))


# --- supported


def paragraph_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the whole paragraph that first computes a value with which a later one computes at once."""
    if re.search(r"\b(?:hundred|thousand|half|twice|dozen)\b", s.question):
        return None
    runs = _paragraphs(s)
    common = {Fraction(v) for v in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 24, 30, 60, 100, 365, 1000)}
    for n in range(1, len(runs) - 1):
        before = set(numbers_in(s.question + _text(s, range(runs[n][0])))) | common
        found = {e.value for i in runs[n] for e in find_equations(s.units[i]) if e.holds} - before
        for i in runs[n + 1]:
            for e in find_equations(s.units[i]):
                if set(numbers_in(e.left)) & found and e.value not in found:
                    return Pruning(
                        "a paragraph lost", False, edited(s.units, set(runs[n]) | until(i + 1, s.units))
                    )
    return None


_ADDS_THOSE = re.compile(r"\W*(?:(?:so|and|now|then)\b,? )?(?:adding|multiplying|subtracting|dividing|combining) (?:those|these|that|them)\b", re.I)  # fmt: skip


def operands_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the two sentences before "Adding those together"."""
    for at in range(3, len(s.units)):
        if _ADDS_THOSE.match(s.units[at]) and len(s.units[at - 1].split()) >= 4:
            return Pruning("operands lost", False, edited(s.units, {at - 1, at - 2} | until(at + 1, s.units)))
    return None


def later_paragraph_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete one paragraph behind the conclusion that says no new number, where the next opens on its own."""
    end = concludes(s)
    if end is None:
        return None
    for run, following in zip(runs := _paragraphs(s), runs[1:], strict=False):
        known = set(numbers_in(s.question + _text(s, range(run[0]))))
        alone = not _LEANS.match(s.units[following[0]]) and not s.units[run[0] - 1].rstrip().endswith(
            (":", "?")
        )
        if run[0] > end and alone and set(numbers_in(_text(s, run))) <= known and '"' not in _text(s, run):
            return Pruning("a later paragraph deleted", True, edited(s.units, set(run)))
    return None


# --- what is written anew


def _equation(s: Source) -> tuple[int, str, str] | None:
    """Return the first unit with a sum of two whole numbers, and its sides."""
    for at, unit in enumerate(s.units[:-1]):
        for e in find_equations(unit):
            if e.holds and re.fullmatch(r"\d{2,5}[-+]\d{1,5}", e.left) and e.right.isdigit():
                return at, e.left, e.right
    return None


def form_broken(s: Source, rng: random.Random) -> Pruning | None:
    """Write a sentence anew with half an environment, a code block without end, or a tag of another model."""
    at = next((i for i, u in enumerate(s.units) if i > 1 and numbers_in(u)), None)
    if at is None:
        return None
    text = s.units[at].strip()
    broken = rng.choice(
        [f"\\begin{{align*}} {text}", f"```\n{text}", f"{text}<|im_end|>", f"{text} \\]", f'He says "{text}']
    )
    quoted = '"' in text or "“" in text
    return (
        None
        if quoted
        else Pruning("half a form", False, edited(s.units, until(at + 4, s.units), {at: broken}))
    )


def form_whole(s: Source, rng: random.Random) -> Pruning | None:
    """Write a sum anew in display mathematics, in a quotation, or as money."""
    found = _equation(s)
    if found is None:
        return None
    at, left, right = found
    text = rng.choice(
        [
            f"\\[\n{left} = {right}\n\\]",
            f'It says "{left} is {right}", which is what I need.',
            f"So ${left} = {right}$ in all.",
        ]
    )
    return Pruning("a whole form", True, edited(s.units, set(), {at: text}))


def number_swapped(s: Source, rng: random.Random) -> Pruning | None:
    """Write a sentence that reads a number anew with another."""
    for at, unit in enumerate(s.units):
        match = re.search(r"(?<![\d.,^_{])\d{2,4}(?![\d.,]\d|\d)", unit)
        if at > 0 and match and "=" not in unit and "*" not in unit:
            other = int(match[0]) * 13 + rng.choice([1009, 4021])
            text = f"{unit[: match.start()]}{other}{unit[match.end() :]}".strip()
            return Pruning("a number swapped", False, edited(s.units, set(), {at: text}))
    return None


def sum_of_two(s: Source, rng: random.Random) -> Pruning | None:
    """Write a sum anew by words, by steps, or the other way round."""
    found = _equation(s)
    if found is None:
        return None
    at, left, right = found
    a, sign, b = re.split(r"([-+])", left)
    turned = f"{right} - {b} = {a}" if sign == "+" else f"{right} + {b} = {a}"
    text = rng.choice(
        [
            f"So {a} {sign} {b} = {right}.",
            f"So {turned}.",
            f"Then {a} {'plus' if sign == '+' else 'minus'} {b} is {right}.",
        ]
    )
    return Pruning("a sum in other words", True, edited(s.units, set(), {at: text}))


def digits_turned(s: Source, _: random.Random) -> Pruning | None:
    """Turn the first two digits of a result round, in a sentence written anew."""
    found = _equation(s)
    if found is None or len(found[2]) < 2 or found[2][0] == found[2][1] or found[2][1] == "0":
        return None
    at, left, right = found
    wrong = right[1] + right[0] + right[2:]
    return Pruning(
        "digits turned round", False, edited(s.units, set(), {at: f"Then {left} = {wrong}, okay."})
    )


# --- style


def third_person(s: Source, _: random.Random) -> Pruning | None:
    """Write the trace anew as a report about it, result by result."""
    found = [e for u in s.units for e in find_equations(u) if e.holds]
    if len(found) < 4:
        return None
    lines = " ".join(
        f"It is subsequently established that {e.left} evaluates to {e.right}." for e in found[:8]
    )
    return Pruning(
        "a report in the third person",
        False,
        rewritten(s.units, f"{lines} Consequently {s.gold} is obtained."),
    )


def joined(s: Source, _: random.Random) -> Pruning | None:
    """Write up to the conclusion anew in the student's own sentences, every fifth left out."""
    at = concludes(s)
    if at is None or at < 6:
        return None
    own = "".join(u for i, u in enumerate(s.units[: at + 1]) if i % 5 != 3 or i == at)
    return Pruning("own sentences, some left out", True, rewritten(s.units, own.strip()))


# --- reflection


def skeleton(s: Source, _: random.Random) -> Pruning | None:
    """Keep only sentences that compute before the conclusion, of paragraphs that do not check, and an idle "Wait."."""
    at, runs = concludes(s), _paragraphs(s)
    if at is None or sum(bool(CHECKS.search(s.units[run[0]])) and len(run) > 2 for run in runs) < 5:
        return None
    look = re.compile(rf"{CHECKS.pattern}|\\b(?:match|same|test|both|works|adds? up)", re.I)
    checking = {i for run in runs if look.search(_text(s, run)) for i in run}
    kept = {
        i
        for i in range(at)
        if i not in checking and re.search(r"\d", s.units[i]) and not s.units[i].rstrip().endswith("?")
    }
    gone = set(range(len(s.units))) - kept - {0, at}
    return Pruning(
        "a skeleton without checks",
        False,
        edited(s.units, gone - {0}, {0: f"{s.units[0].strip()} Wait, hmm."}),
    )


def first_checks_kept(s: Source, _: random.Random) -> Pruning | None:
    """Cut behind the second paragraph of checking that follows the conclusion."""
    at, runs = concludes(s), _paragraphs(s)
    checks = [
        r
        for r in runs
        if at is not None
        and r[0] > at
        and len(r) > 1
        and CHECKS.search(s.units[r[0]])
        and numbers_in(_text(s, r))
    ]
    if len(checks) < 3:
        return None
    return Pruning("two checks kept whole", True, edited(s.units, until(checks[1][-1], s.units)))


# --- slips


def _late(s: Source) -> tuple[tuple[str, ...], int, int] | None:
    """Return the trace with a slip of which only the next paragraph says so, where slip and correction stand."""
    found = _equation(s)
    if found is None:
        return None
    at, left, right = found
    end = next((i for i in range(at, len(s.units) - 1) if PARAGRAPH.search(s.units[i])), None)
    if (
        end is None
        or end - at > 3
        or any(left in {e.left for e in find_equations(u)} for u in s.units[at + 1 :])
    ):
        return None
    unit = s.units[at]
    trail = unit[len(unit.rstrip()) :]
    slip = f"So {left} = {int(right) + 20}.{trail}"
    mend = f"Hold on, I made a mistake above: {left} = {right}, not {int(right) + 20}.\n\n"
    return (*s.units[:at], slip, *s.units[at + 1 : end + 1], mend, *s.units[end + 1 :]), at, end + 1


def late_correction_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Keep a slip, delete the paragraph that puts it right."""
    made = _late(s)
    return made and Pruning("a late correction deleted", False, edited(made[0], {made[2]}), made[0])


def late_correction_kept(s: Source, rng: random.Random) -> Pruning | None:
    """Keep both, or put the right result in the slip's place and delete its correction."""
    made = _late(s)
    if made is None:
        return None
    units, at, mend = made
    if rng.random() < 0.5:
        return Pruning(
            "a late correction kept",
            True,
            edited(units, {i for i, u in enumerate(units) if is_filler(u)} - {at, mend}),
            units,
        )
    e = find_equations(units[mend])[0]
    return Pruning("a slip put right", True, edited(units, {mend}, {at: f"So {e.left} = {e.right}."}), units)


SECOND = {
    "concluded": (cut_half_way, only_asked, said_plainly),
    "supported": (paragraph_lost, operands_lost, later_paragraph_deleted),
    "well_formed": (form_broken, form_whole),
    "numbers_grounded": (number_swapped, sum_of_two),
    "equations": (digits_turned, sum_of_two),
    "own_share": (third_person, joined),
    "reflection": (skeleton, first_checks_kept),
    "no_slip_kept": (late_correction_deleted, late_correction_kept),
}
"""What is planted for each check."""
