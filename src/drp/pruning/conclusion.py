r"""Whether a text concludes: a sentence that computes or states the answer, with nothing left open behind it.

That the answer's digits occur is not enough. ``x·x = 2 − x`` does not state −2, "there are 6 packages" not 6 dollars, and
a text that ends on "Finally, I'll add both salaries" states nothing, whatever number stood there before.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from drp.pruning.arithmetic import evaluate, plain, results
from drp.pruning.skills import ALTERNATIVE, CONCLUSION, DOUBT, RESTATEMENT, VERIFICATION, has_substance
from drp.text.answers import boxed, final_answer, normalise
from drp.text.numbers import numbers_in

Grade = Callable[[str, str], bool]
"""Whether an answer text states the gold answer: ``grade(answer, gold)``."""

MOST_GRADED = 8
"""Formulas of one text that are given to the grader; each may need algebra."""
_LAST_UNITS = 12
"""Units at the end of a text in which another form of the answer is looked for."""
_LONGEST = 200

# A formula in `\(…\)`, `$…$` or `\[…\]`, at most 300 characters long so that an open one is not searched to the end.
_FORMULA = re.compile(r"\\\((.{1,300}?)\\\)|(?<!\\)\$([^$]{1,300}?)\$|\\\[(.{1,300}?)\\\]", re.DOTALL)
# What stands before what is said of something: "the answer is 5", "it equals: 5".
_IS = re.compile(r"\b(?:is|are|be|equals?)\b:?")

_WORDS: dict[str, Fraction] = {
    "one": Fraction(1), "two": Fraction(2), "three": Fraction(3), "four": Fraction(4), "five": Fraction(5), "six": Fraction(6),
    "seven": Fraction(7), "eight": Fraction(8), "nine": Fraction(9), "ten": Fraction(10), "eleven": Fraction(11),
    "twelve": Fraction(12), "zero": Fraction(0),
}  # fmt: skip
_WORD_NUMBER = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
# A value in plain signs: `((3)/(4))`, `3/4`, `0.5`, `12`, with what may be its sign before it.
_VALUE = re.compile(
    r"(?P<sign>(?:-|\bnegative|\bminus) ?)?"
    r"(?:\(\((?P<above>-?\d{1,30})\)/\((?P<below>\d{1,30})\)\)|(?<![\d.])(?P<whole>\d{1,30}(?:\.\d{1,30})?)(?:/(?P<part>\d{1,30})(?!\d|\.\d))?)"
    r"(?: (?P<scale>thousand|million|billion)\b)?"
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
# "1 divided by 29322216", "3 out of 4".
_SPOKEN_FRACTION = re.compile(r"(?<=\d) (?:divided by|out of|over) (?=\d)")
# What makes a number an operand of something still to be computed: `12 * 7`, `12 =`, `12x`, `12^2`.
_GOES_ON = re.compile(r"[\s)]*(?:[*/^=]|[-+]\s*(?:[\d(\\]|[a-zA-Z]\b)|<|>|\\(?:le|ge)\b)|[a-zA-Z]\b")
# The same from its left: `7 * 12`, `x - 12`, `x_{12}`, "step 12"; but `= 12` and "is 12" make it a result.
_OPERAND = re.compile(r"[+*/^(<>][\s$(]*$|(?:\d|\)|\b[a-zA-Z])\s*-\s*$|_\{?$|\bstep\s$", re.IGNORECASE)
# The value is a side of a chain, not its first: `11/72` in "550/3600 = 11/72 = 0.15".
_ARRIVED = re.compile(r"=[\s(]*$")
# A minus behind a number, a bracket or a single letter subtracts: `2 - 6`, `x - 6`; in "is -6" and `= -6` it is a sign.
_BINARY = re.compile(r"(?:\d|\)|\}|(?<![a-zA-Z])[a-zA-Z])\s*$")
# "If he had 6", "So maybe 6", "Suppose it is 6": nothing is stated.
_HYPOTHESIS = re.compile(r"^\W*(?:(?:so|but|and|or|wait|hmm|now|then)\b,?\s*)*(?:if|maybe|perhaps|suppose|what if|assume|let's say)\b", re.I)  # fmt: skip
# "So he has 6", "a total of 6", "6 are left", "equals 6": the value is arrived at, not read off the question.
_INFERENCE = re.compile(
    r"^\W*(?:and |then,? |okay,? |yes,? )*(?:so|therefore|thus|hence|finally|altogether|in total)\b|\btotal\b|\bleft\b|\b(?:results? in|equals|leaves|remain\w*)\b",
    re.I,
)
_EXPLICIT = re.compile(
    r"\\boxed|\banswer(?:\*\*)?\s*(?:is|should be|must be|would be|to be|:|=)", re.IGNORECASE
)
"""Sentences that say in so many words what the answer is."""
# "Finally, I'll add both salaries.", "Next, divide by 12.": something is still to be done.
_ANNOUNCES = re.compile(
    r"\b(?:i'll|i will|i(?: just)? need to|i have to|i can|i should|we need to|we can|we have to|let me|let's|then|next,|finally,)"
    r" (?:just |now |also )?(?:add|sum|subtract|multiply|divide|calculate|compute|determine|find|work out|solve|convert|compare|plug|"
    r"substitute|combine|check|verify)\b|^\W*to (?:find|determine|calculate)\b|\bthis will (?:give|tell)\b",
    re.IGNORECASE,
)
# What a number counts: `shells` of "24 more shells" and of `24 \text{ shells}`, `%` of "24%".
_NOUN = re.compile(r"[\s}$\\)*]*(?:(?:more|full|whole|total|different|extra|additional|\\text\{)\s*)*(?P<noun>[a-z]{3,}|%)", re.IGNORECASE)  # fmt: skip
# Sentences of a question; the last one asks.
_ASKED = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Verdict:
    """Whether a text concludes, and if not, why."""

    at: int | None
    """The unit that concludes; ``None``: no unit arrives at the answer."""
    fault: str = ""
    """Empty where it concludes."""


@dataclass(frozen=True)
class Goal:
    """The answer that a text has to arrive at."""

    question: str
    gold: str
    answer: str
    """The answer part, which names what the answer counts."""
    grade: Grade

    @cached_property
    def value(self) -> Fraction | None:
        """The gold answer as a number, with its sign."""
        return evaluate(plain(normalise(self.gold)).rstrip("%"))

    @cached_property
    def members(self) -> list["Goal"]:
        """The members of a gold answer that lists several values, without brackets."""
        parts = re.split(r",(?!\d{3}(?!\d))(?![^({\[]*[)}\]])", self.gold)
        return (
            [Goal(self.question, p.strip(), self.answer, self.grade) for p in parts] if len(parts) > 1 else []
        )

    @cached_property
    def given(self) -> bool:
        """Whether the answer also stands in the question, so that a mention of it says nothing."""
        return self.value is not None and abs(self.value) in numbers_in(self.question)

    @cached_property
    def flat(self) -> str:
        """The gold answer without mark-up."""
        return flat(self.gold)

    @cached_property
    def foreign(self) -> frozenset[str]:
        """Things the question counts and does not ask for: an answer in packages where dollars are asked."""
        asked = _ASKED.split(self.question.strip())[-1] + " " + self.answer
        shares = frozenset[str]() if "%" in asked or "percent" in asked else frozenset("%")
        return shares | _counted(self.question) - {
            _singular(word) for word in re.findall(r"[a-z]{3,}", asked.lower())
        }


def _singular(word: str) -> str:
    return word.lower().removesuffix("s")


def _counted(text: str) -> frozenset[str]:
    """Return the nouns that stand behind numbers: ``shell`` of "24 shells"."""
    return frozenset(_singular(m[1]) for m in re.finditer(r"\d\s+([a-zA-Z]{3,})", text))


_FLAT = {r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\infty": "inf", "∞": "inf", "infinity": "inf", r"\pi": "pi", "π": "pi",
         r"\sqrt": "sqrt", "√": "sqrt", "square root of ": "sqrt", r"\cup": "u", "∪": "u", r"\leq": "<=", r"\le": "<=",
         "≤": "<=", r"\geq": ">=", r"\ge": ">=", "≥": ">=", r"\cdot": "", "·": "", "*": "", "−": "-", "²": "2", "³": "3",
         "degrees": "", "°": "", r"\circ": "", r"\left": "", r"\right": ""}  # fmt: skip
# Longer signs first, so that `\leq` is not read as `\le` and "q".
_FLATTEN = re.compile("|".join(re.escape(sign) for sign in sorted(_FLAT, key=len, reverse=True)))
# Commands that only dress a formula, white space, braces and brackets.
_MARKUP = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|boxed|[a-zA-Z]{0,12})|[\s{}()\[\]$^\\]")
_FLAT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]{1,60})\}|(\w))\s*(?:\{([^{}]{1,60})\}|(\w))")


def flat(text: str) -> str:
    r"""Return a formula in one spelling without mark-up: ``3\sqrt{13}``, ``3√13`` and ``3*sqrt(13)`` as ``3sqrt13``."""
    text = _FLATTEN.sub(lambda match: _FLAT[match.group()], text)
    text = _FLAT_FRACTION.sub(lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", text)
    return _MARKUP.sub("", text).lower().rstrip(".")


def values_of(text: str) -> list[tuple[Fraction, str]]:
    """Return the values that a sentence arrives at, signed, each with the noun behind it; operands are left out."""
    found: list[tuple[Fraction, str]] = []
    line = _SPOKEN_FRACTION.sub("/", plain(text))
    for match in _VALUE.finditer(line):
        start = match.start()
        signed = bool(match["sign"]) and not (
            match["sign"][0] == "-" and _BINARY.search(line, max(0, start - 6), start)
        )
        before = line[max(0, start - 8) : start] + ("" if signed else match["sign"] or "")
        goes_on = _GOES_ON.match(line, match.end())
        if _OPERAND.search(before) or (
            goes_on and not (_ARRIVED.search(before) and goes_on[0].endswith("="))
        ):
            continue
        whole = match["whole"] or match["above"]
        below = int(match["part"] or match["below"] or 1)
        if below == 0:
            continue
        if below > 1 and int(Fraction(whole)) % below == 0 and "." not in whole:
            continue  # "504 divided by 6" is still to be computed
        value = Fraction(whole) / below * _SCALES.get(match["scale"], 1)
        noun = _NOUN.match(line, match.end())
        found.append((-value if signed else value, _singular(noun["noun"]) if noun else ""))
    return found


def arrives(unit: str, goal: Goal) -> bool:
    """Return whether one sentence computes or states the answer, rather than reading, asking or supposing it."""
    explicit = bool(_EXPLICIT.search(unit))
    asks = unit.rstrip().endswith("?") and not explicit
    if (
        asks
        or (_HYPOTHESIS.search(unit) and not explicit)
        or (RESTATEMENT.search(unit) and not CONCLUSION.search(unit))
    ):
        return False
    if goal.members:
        return all(_holds(unit, member) for member in goal.members) or _spells(unit, goal)
    if goal.given and not (
        explicit or CONCLUSION.search(unit) or _INFERENCE.search(unit) or goal.value in results(unit)
    ):
        return False
    return _holds(unit, goal)


def _holds(unit: str, goal: Goal) -> bool:
    if goal.value is None:
        return _spells(unit, goal)
    nouns = [
        noun
        for value, noun in values_of(unit)
        if value in (goal.value, goal.value / 100 if "%" in unit else None)
    ]
    if any(noun not in goal.foreign for noun in nouns):
        return True
    if nouns:
        return False
    strong = CONCLUSION.search(unit) or _INFERENCE.search(unit)
    return bool(strong) and any(_WORDS[m[1].lower()] == goal.value for m in _WORD_NUMBER.finditer(unit))


def _spells(unit: str, goal: Goal) -> bool:
    """Return whether a formula or word is spelled out, not as part of a longer one: ``x+1`` not in ``x+12``."""
    word = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}", r"\1", goal.gold).strip()
    if re.fullmatch(r"\(?[\w ]*[a-zA-Z][\w ]*\)?", word) and "_" not in word:
        inner = re.escape(word.strip("() "))
        return re.search(rf"(?<!\w){inner}(?!\w)", unit, re.IGNORECASE if len(word) > 2 else 0) is not None
    text, at = flat(unit), -1
    while goal.flat and (at := text.find(goal.flat, at + 1)) >= 0:
        before, after = text[at - 1 : at], text[at + len(goal.flat) :][:1]
        if not (before.isdigit() or (before in ("-", "+", "/") and before)) and not (
            after.isalnum() and goal.flat[-1].isdigit()
        ):
            return True
    return False


def _formulas(unit: str) -> list[str]:
    """Return what a sentence may state as its result: a box, the right side of its last equation, its last formula."""
    line = unit.strip().rstrip(".")
    inline = [part for parts in _FORMULA.findall(unit) for part in parts if part.strip()]
    last = inline[-1] if inline else line
    found = (boxed(unit) or "", last.rpartition("=")[2], last, *([] if inline else [_IS.split(line)[-1]]))
    return [
        formula for text in dict.fromkeys(found) if (formula := text.strip()) and len(formula) <= _LONGEST
    ]


def conclude(units: Sequence[str], goal: Goal) -> Verdict:
    """Find the sentence that concludes, and what speaks against it: another conclusion, or work left open, behind it."""
    at = next(
        (i for i in reversed(range(len(units))) if arrives(units[i], goal) and not _only_checks(units[i])),
        None,
    )
    if at is None and goal.value is None:
        at = _graded(units, goal)
    if at is None:
        return Verdict(None, f"no sentence computes or states {goal.gold}")
    checking, known = False, set(numbers_in("".join(units[: at + 1])))
    for unit in units[at + 1 :]:
        if _holds(unit, goal):
            continue  # says it again
        checking = checking or bool(
            VERIFICATION.search(unit) or ALTERNATIVE.search(unit) or DOUBT.search(unit)
        )
        if (
            _EXPLICIT.search(unit)
            and has_substance(unit)
            and not unit.rstrip().endswith("?")
            and goal.value is not None
        ):
            return Verdict(at, f"it concludes otherwise: {shown(unit)}")
        if not checking and set(numbers_in(unit)) - known:
            return Verdict(at, f"it goes on after stating {goal.gold}: {shown(unit)}")
    last = units[-1]
    if len(units) - 1 > at and _ANNOUNCES.search(last) and not has_substance(last):
        return Verdict(at, f"it ends on what is still to be done: {shown(last)}")
    return Verdict(at)


def _only_checks(unit: str) -> bool:
    return bool(VERIFICATION.search(unit)) and not (CONCLUSION.search(unit) or _EXPLICIT.search(unit))


def _graded(units: Sequence[str], goal: Goal) -> int | None:
    """Find the last sentence that states the answer in another form, by the grader; the last formulas only."""
    left = MOST_GRADED
    for index in reversed(range(max(0, len(units) - _LAST_UNITS), len(units))):
        for formula in _formulas(units[index]) if has_substance(units[index]) else ():
            if left == 0:
                return None
            left -= 1
            if goal.grade(f"\\boxed{{{formula}}}", goal.gold):
                return index
    return None


def shown(unit: str, most: int = 80) -> str:
    """Return a unit short enough for a message."""
    line = " ".join(unit.split())
    return f"“{line if len(line) <= most else line[:most] + '…'}”"


def otherwise(units: Sequence[str], goal: Goal) -> bool:
    """Return whether a text concludes, in so many words, on another value than the answer part."""
    said = next((unit for unit in reversed(units) if _EXPLICIT.search(unit) and final_answer(unit)), None)
    return said is not None and not goal.grade(said, goal.gold)
