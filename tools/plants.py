"""Prunings of real traces with a planted fault, and sound ones: each plant takes a trace and returns one of either, or nothing.

A plant knows what it breaks from how it is made (the sentence that first names a number is deleted), not from the check.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from drp.pruning.skills import is_filler
from drp.records import Edit, EditScript
from drp.text.answers import normalise
from drp.text.equations import find_equations
from drp.text.numbers import numbers_in, parse_number

SAYS_ANSWER = re.compile(r"\b(?:the|final|my) answer (?:is|should be|must be)\b|\\boxed", re.I)
CHECKS = re.compile(
    r"\b(?:check|verify|confirm|make sure|alternatively|another way|different (?:way|approach|method)|double)\b|^\W*wait\b|^\W*hmm",
    re.I,
)
TAKES_BACK = re.compile(
    r"^\W*(?:wait,? no\b|no,? wait|no, that'?s (?:not|wrong)|wait,? that(?:'s| is) (?:not|wrong)|oops)", re.I
)
PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*$")


@dataclass(frozen=True)
class Source:
    """A real trace, and a human's solution of its question, empty where there is none."""

    id: str
    question: str
    gold: str
    units: tuple[str, ...]
    answer: str
    solution: str


@dataclass(frozen=True)
class Pruning:
    """One way to prune a trace."""

    kind: str
    sound: bool
    script: EditScript
    units: tuple[str, ...] | None = None
    """The units it is for, where the fault needed a change of the trace itself."""
    answer: str | None = None


Plant = Callable[[Source, random.Random], Pruning | None]


def edited(units: Sequence[str], gone: set[int], texts: dict[int, str] | None = None) -> EditScript:
    """Return a script of one edit a unit: deleted, written anew, or kept."""
    texts = texts or {}

    def edit(i: int) -> Edit:
        if i in texts:
            return Edit(first=i, last=i, action="rewrite", skills=("other",), text=texts[i])
        if i in gone:
            return Edit(first=i, last=i, action="delete", skills=("other",), reason="planted")
        return Edit(first=i, last=i, action="keep", skills=("other",))

    return EditScript(units=len(units), edits=tuple(edit(i) for i in range(len(units))))


def rewritten(units: Sequence[str], text: str) -> EditScript:
    """Return a script that writes the whole trace anew."""
    whole = Edit(first=0, last=len(units) - 1, action="rewrite", skills=("whole",), text=text)
    return EditScript(units=len(units), edits=(whole,))


# --- what is where in a trace


def says_gold(s: Source, unit: str) -> bool:
    """Return whether a unit holds the gold answer, by value or spelling."""
    value = parse_number(normalise(s.gold))
    if value is not None:
        return abs(value) in numbers_in(unit)
    gold, text = normalise(s.gold), normalise(unit)
    fraction = re.fullmatch(r"\\frac\{(\w+)\}\{(\w+)\}", gold)
    spoken = rf"{fraction[1]}(?:/|over|dividedby|outof){fraction[2]}" if fraction else re.escape(gold)
    return gold in text or re.search(rf"(?<![0-9]){spoken}(?![0-9])", text) is not None


def concludes(s: Source) -> int | None:
    """Return the first unit that says in words that the gold answer is the answer."""
    return next((i for i, u in enumerate(s.units) if SAYS_ANSWER.search(u) and says_gold(s, u)), None)


def paragraph_end(units: Sequence[str], at: int) -> int:
    """Return the last unit of the paragraph of unit ``at``."""
    return next((i for i in range(at, len(units)) if PARAGRAPH.search(units[i])), len(units) - 1)


def until(last: int, units: Sequence[str]) -> set[int]:
    """Return the units behind ``last``."""
    return set(range(last + 1, len(units)))


# --- sound prunings, for several checks


def cut_after_conclusion(s: Source, _: random.Random) -> Pruning | None:
    """Keep all up to the first sentence that says the answer."""
    at = concludes(s)
    return (
        None if at is None else Pruning("cut after the conclusion", True, edited(s.units, until(at, s.units)))
    )


def talk_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete talk that states nothing."""
    if concludes(s) is None:
        return None
    asked = {0, *(i + 1 for i, u in enumerate(s.units) if u.rstrip().endswith((":", "?")))}
    gone = {
        i
        for i, u in enumerate(s.units)
        if is_filler(u) and not u.rstrip().endswith((":", "?")) and not TAKES_BACK.search(u)
    } - asked
    return Pruning("talk deleted", True, edited(s.units, gone)) if gone else None


def second_pass_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete whole paragraphs between the first conclusion and the last paragraph."""
    at = concludes(s)
    if at is None or not says_gold(s, s.units[-1]):
        return None
    end = paragraph_end(s.units, at)
    last = max((i + 1 for i in range(len(s.units) - 1) if PARAGRAPH.search(s.units[i])), default=0)
    gone = set(range(end + 1, last))
    return Pruning("second pass deleted", True, edited(s.units, gone)) if len(gone) > 3 else None


def whole(s: Source, _: random.Random) -> Pruning | None:
    """Keep all; of traces that conclude in words."""
    return None if concludes(s) is None else Pruning("all kept", True, edited(s.units, set()))


SOUND: tuple[Plant, ...] = (cut_after_conclusion, talk_deleted, second_pass_deleted)


# --- concluded


def _before_gold(s: Source) -> int | None:
    """Return how many units stand before the first that holds the gold answer, and any result where the question holds it."""
    if says_gold(s, s.question):
        if parse_number(normalise(s.gold)) is None:
            return None
        gold = re.escape(s.gold)
        found = re.compile(
            rf"(?:\b(?:is|are|be|so|get|gets|gives?|leaves|left|equals?|therefore|then|needs?|each)\b|=)[^\n]{{0,60}}(?<!\d){gold}(?!\d)",
            re.I,
        )
        at = next((i for i, u in enumerate(s.units) if found.search(u)), None)
    else:
        at = next((i for i, u in enumerate(s.units) if says_gold(s, u)), None)
    return at if at is not None and at >= 3 else None


def ends_early(s: Source, _: random.Random) -> Pruning | None:
    """Cut before the gold answer is first said; where it stands in the question, before it is said to be the answer."""
    at = _before_gold(s)
    if at is None:
        return None
    kind = "gold only among the givens" if says_gold(s, s.question) else "cut before the answer"
    return Pruning(kind, False, edited(s.units, until(at - 1, s.units)))


def announces_only(s: Source, rng: random.Random) -> Pruning | None:
    """End on what is still to be done."""
    at = _before_gold(s)
    if at is None or says_gold(s, s.question):
        return None
    text = rng.choice(
        [
            "Finally, I'll add both of them to find the total.",
            "Next, I need to subtract this from the total.",
            "Now let me compute the result.",
        ]
    )
    return Pruning("ends on an announcement", False, edited(s.units, until(at, s.units), {at: text}))


def other_answer(s: Source, _: random.Random) -> Pruning | None:
    """Conclude on another value."""
    at, value = concludes(s), parse_number(normalise(s.gold))
    if at is None or value is None or value.denominator > 1:
        return None
    wrong = f"So the answer is {value + 3}."
    return Pruning("concludes otherwise", False, edited(s.units, until(at, s.units), {at: wrong}))


def sign_lost(s: Source, _: random.Random) -> Pruning | None:
    """Turn the sign of the answer wherever it is said, by writing those sentences anew."""
    at, value = concludes(s), parse_number(normalise(s.gold))
    if at is None or value is None or value.denominator > 1 or says_gold(s, s.question):
        return None
    turned = str(-value)
    texts = {
        i: f"So the answer is {turned}." if i == at else f"So x = {turned}."
        for i in range(at + 1)
        if says_gold(s, s.units[i])
    }
    return Pruning("sign turned", False, edited(s.units, until(at, s.units), texts))


def conclusion_deleted(s: Source, _: random.Random) -> Pruning | None:
    """Delete every unit that holds the gold answer."""
    if says_gold(s, s.question):
        return None
    gone = {i for i, u in enumerate(s.units) if says_gold(s, u)}
    return (
        Pruning("conclusion deleted", False, edited(s.units, gone))
        if gone and len(gone) < len(s.units) / 2
        else None
    )


# --- supported


def _known(question: str) -> set[Fraction]:
    return set(numbers_in(question)) | {
        Fraction(v) for v in (0, 1, 2, 3, 4, 5, 7, 10, 12, 24, 60, 100, 365, 1000)
    }


def value_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete all sentences that say a value before the first that computes with it."""
    known = _known(s.question)
    end = concludes(s) or len(s.units) - 1
    for at in range(2, end):
        for equation in find_equations(s.units[at]):
            operands = set(numbers_in(equation.left)) - known - {e.value for e in find_equations(s.units[at])}
            spelled = re.search(r"\b(?:hundred|thousand|half|twice|dozen)\b", s.question)
            for value in operands:
                says = {i for i in range(at) if value in numbers_in(s.units[i])}
                if says and not spelled and len(says) < at / 2:
                    return Pruning("a value lost", False, edited(s.units, says | until(end, s.units)))
    return None


def name_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentence that says what a letter stands for, and all with that letter up to one that computes with it."""
    for at, unit in enumerate(s.units):
        match = re.search(
            r"\b[Ll]et(?:'s| me| us)? (?:denote |call |say )?[^.]{0,60}?(?:\\\(|\$)?\b([b-zB-HJ-Z])\b(?:\\\)|\$)? (?:be|=|represent|denote|as)",
            unit,
        )
        if not match or re.search(rf"(?<![a-zA-Z]){match[1]}(?![a-zA-Z])", s.question):
            continue
        if any(re.search(rf"(?<![a-zA-Z\\]){match[1]}(?![a-zA-Z'’])", u) for u in s.units[:at]):
            continue  # it is known before
        uses = re.compile(
            rf"(?<![a-zA-Z\\]){match[1]}\s*[-+*/]\s*\w|(?<![a-zA-Z])\d{match[1]}(?![a-zA-Z])|[-+*/] {match[1]}(?![a-zA-Z])"
        )
        user = next((i for i in range(at + 1, len(s.units)) if uses.search(s.units[i])), None)
        if user is None or user - at > 12 or re.search(rf"{match[1]}\s*=", s.units[user]):
            continue
        return Pruning("a name lost", False, edited(s.units, set(range(at, user))))
    return None


_THIS = re.compile(
    r"^\W*(?:(?:so|and)\b,? )?(?:this|that|these|which) (?:means|gives|equals|leaves|simplifies)\b|^\W*(?:similarly|likewise)\b",
    re.I,
)


def reference_lost(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentences of a paragraph before one that opens with "This means" or "Similarly"."""
    for at in range(3, len(s.units)):
        before = s.units[at - 1]
        if _THIS.search(s.units[at]) and len(before.split()) >= 6 and not before.rstrip().endswith("?"):
            start = at - 1
            while start > 1 and not PARAGRAPH.search(s.units[start - 1]) and at - start < 4:
                start -= 1
            return Pruning("a reference lost", False, edited(s.units, set(range(start, at))))
    return None


_YES = re.compile(r"^\W*(?:yes|no|well|nope|yeah)\b", re.I)


def answer_to_question_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep a question and delete its answer, up to the next paragraph."""
    for at in range(2, len(s.units) - 2):
        unit, answer = s.units[at].rstrip(), s.units[at + 1]
        tag = re.search(r"\b(?:right|correct|okay|sense)\?$", unit)
        if (
            unit.endswith("?")
            and len(unit.split()) > 3
            and not tag
            and (_YES.search(answer) or find_equations(answer))
        ):
            end = paragraph_end(s.units, at + 1)
            if end + 1 < len(s.units) and re.match(
                r"\W*(?:now|next|then|so|therefore|wait|alternatively|finally)\b", s.units[end + 1], re.I
            ):
                return Pruning("an answer lost", False, edited(s.units, set(range(at + 1, end + 1))))
    return None


def object_of_doubt_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep "No, that's not right" and delete what it is about."""
    for at in range(3, len(s.units)):
        if TAKES_BACK.search(s.units[at]) and len(s.units[at - 1].split()) >= 5:
            return Pruning(
                "the object of a doubt lost", False, edited(s.units, set(range(max(1, at - 3), at)))
            )
    return None


_MAYBE = re.compile(
    r"\b(?:maybe|perhaps) i (?:mis\w+|made)|\bi (?:might|may) have (?:mis\w+|made)|\bwhat if\b", re.I
)


def doubt_left_open(s: Source, _: random.Random) -> Pruning | None:
    """Keep "Maybe I misread" and delete how it is settled, up to the conclusion."""
    for at in range(2, len(s.units) - 2):
        if _MAYBE.search(s.units[at]):
            end = paragraph_end(s.units, at + 1)
            if end + 1 < len(s.units) and re.match(
                r"\W*(?:so|therefore|thus|alternatively|\*\*final)\b", s.units[end + 1], re.I
            ):
                return Pruning("a doubt left open", False, edited(s.units, set(range(at + 1, end + 1))))
    return None


def list_lost(s: Source, _: random.Random) -> Pruning | None:
    """Keep "Let me list them:" and delete the list, up to a sentence that goes on."""
    for at in range(1, len(s.units) - 2):
        if s.units[at].rstrip().endswith(":") and find_equations(s.units[at + 1]) and "**" not in s.units[at]:
            going_on = next(
                (
                    i
                    for i in range(at + 2, len(s.units))
                    if re.match(r"\W*(?:so|therefore|now|next|then|thus)\b", s.units[i], re.I)
                ),
                None,
            )
            if going_on is not None and going_on - at < 15:
                return Pruning("a list lost", False, edited(s.units, set(range(at + 1, going_on))))
    return None


# --- no_slip_kept


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


# --- form


def quotation_opened(s: Source, _: random.Random) -> Pruning | None:
    """Delete the sentence in which a quotation ends, and keep the one in which it opens."""
    for at in range(len(s.units) - 1):
        if s.units[at].count('"') % 2 and s.units[at + 1].count('"') % 2:
            return Pruning("a quotation left open", False, edited(s.units, {at + 1, *until(at + 8, s.units)}))
    return None


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


PLANTS: dict[str, tuple[Plant, ...]] = {
    "concluded": (ends_early, announces_only, other_answer, sign_lost, conclusion_deleted, whole, *SOUND),
    "supported": (
        value_lost,
        name_lost,
        reference_lost,
        answer_to_question_lost,
        object_of_doubt_lost,
        doubt_left_open,
        list_lost,
        quotation_opened,
        *SOUND,
    ),
    "well_formed": (formula_opened, *SOUND),
    "numbers_grounded": (number_invented, typeset),
    "equations": (falsified, true_again),
    "own_share": (textbook, answer_as_thinking, tightened, *SOUND),
    "reflection": (checks_deleted, one_check_kept),
    "no_slip_kept": (
        correction_deleted,
        wrong_step_kept,
        slip_and_correction_kept,
        slip_deleted,
        idle_doubt_deleted,
        *SOUND,
    ),
}
"""What is planted for each check, sound prunings too."""
