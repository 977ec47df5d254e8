"""Whether kept text rests on what was deleted: values and names that only deleted text introduced, words that point at nothing.

Judged from the text alone, and for precision: a finding says which words of which sentence have lost their ground.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

from drp.pruning.arithmetic import plain, results
from drp.pruning.conclusion import shown
from drp.pruning.skills import CONCLUSION, CONFIRMATION, VERIFICATION, has_substance, is_filler
from drp.records import EditScript
from drp.text.numbers import numbers_in
from drp.text.units import split_units


@dataclass(frozen=True)
class Finding:
    """One place where kept text has lost its ground."""

    kind: str
    """``number``, ``name``, ``reference``, ``question``, ``doubt``, ``quotation`` or ``list``."""
    what: str
    """The words that rest on what is gone."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what} in {shown(self.sentence)}"


@dataclass(frozen=True)
class Sentence:
    """A sentence of the pruned text and the units of the original it stands for."""

    text: str
    first: int
    last: int
    new: bool
    """Written by the teacher, so that what it says of its own units is known to it."""


def sentences_of(units: Sequence[str], script: EditScript) -> list[Sentence]:
    """Return the sentences of the pruned text, in order."""
    found: list[Sentence] = []
    for edit in script.edits:
        if edit.action == "keep":
            found += [Sentence(units[i], i, i, False) for i in range(edit.first, edit.last + 1)]
        elif edit.text is not None:
            found += [Sentence(text, edit.first, edit.last, True) for text in split_units(edit.text)]
    return found


def unsupported(question: str, units: Sequence[str], script: EditScript) -> list[Finding]:
    """Return where the pruned text rests on units that were deleted."""
    gone = [False] * len(units)
    for edit in script.edits:
        if edit.action == "delete":
            gone[edit.first : edit.last + 1] = [True] * (edit.last + 1 - edit.first)
    if not any(gone):
        return []
    kept = sentences_of(units, script)
    found = [*_numbers(question, units, gone, kept), *_names(question, units, gone, kept)]
    found += _references(units, gone, kept)
    found += _left_open(units, gone, kept)
    return found


# --- values

_SPELLED = {"two": 2, "twice": 2, "double": 2, "half": 2, "three": 3, "triple": 3, "thrice": 3, "third": 3, "four": 4, "quarter": 4,
            "fourth": 4, "five": 5, "fifth": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
            "twelve": 12, "dozen": 12, "twenty": 20}  # fmt: skip
_SPELLED_WORD = re.compile(rf"\b({'|'.join(_SPELLED)})s?\b", re.IGNORECASE)
_TRIVIAL = frozenset(map(Fraction, (0, 1, 2, 10, 100, 1000)))
# "There are 12 inches in a foot", "7 days a week", "60 minutes": everybody's knowledge, not the trace's.
_COMMON = re.compile(
    r"\b(?:inch|foot|feet|yard|hour|minute|second|day|week|month|year|dozen|cent|percent|degree|°|sum of the angles|ounce|pound)",
    re.IGNORECASE,
)
_CONSTANTS = frozenset(map(Fraction, (3, 4, 7, 12, 16, 24, 25, 30, 31, 36, 52, 60, 90, 180, 360, 365, 3600)))
# What brings a value in by itself: "Next, n = 11", "let me try 5", "Case 2", "if x is 3", "Step 3".
_TRIES = re.compile(
    r"\b(?:try|let|if|say|assume|consider|case|step|next|check|option|when|for|take|pick|choose)\b",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"\b(?:for example|for instance|e\.g|as an example|suppose|imagine)\b", re.IGNORECASE)
_LIST_MARK = re.compile(r"^\s*(?:[-*]\s*)?(?:\*\*)?(\d{1,2})[.)]\s")
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)\b")


def stated_values(text: str) -> set[Fraction]:
    """Return the values a text states, in figures and words, a percentage also as a share, a share as what is left."""
    values = set(numbers_in(text)) | {Fraction(_SPELLED[m[1].lower()]) for m in _SPELLED_WORD.finditer(text)}
    shares = (
        {v / 100 for v in values}
        | {100 - v for v in values if v < 100}
        | {1 - v / 100 for v in values if v < 100}
    )
    return values | (shares if "%" in text or "percent" in text.lower() else set())


def _numbers(
    question: str, units: Sequence[str], gone: Sequence[bool], kept: Sequence[Sentence]
) -> Iterator[Finding]:
    """Find values that a deleted unit introduced and that no kept text states, computes or tries before."""
    introduced: dict[Fraction, int] = {}
    for index, unit in enumerate(units):
        for value in numbers_in(unit):
            introduced.setdefault(value, index)
    known = stated_values(question) | _TRIVIAL
    for sentence in kept:
        here = numbers_in(_LIST_MARK.sub(" ", _ORDINAL.sub(" ", sentence.text)))
        lost = {
            v
            for v in here
            if v not in known and gone[introduced.get(v, sentence.first)] and introduced[v] < sentence.first
        }
        if lost:
            lost -= results(sentence.text) - set(
                numbers_in(sentence.text.partition("=")[0])
            )  # those it starts from
            lost = {v for v in lost if not _follows(v, here) and not _brought_in(v, sentence.text)}
        for value in sorted(lost):
            yield Finding("number", written(value), sentence.text)
        known |= stated_values(sentence.text) | {abs(v) for v in results(sentence.text)}


def written(value: Fraction) -> str:
    """Return a value as one writes it in a text."""
    return str(value) if value.denominator == 1 else f"{float(value):g}"


def _follows(value: Fraction, here: Sequence[Fraction]) -> bool:
    """Return whether a value is one operation away from two before it in its sentence: "2 times 25 is 50"."""
    before = list(dict.fromkeys(here[: here.index(value)]))[-8:]
    for a, b in product(before, repeat=2):
        if value in (a + b, a - b, a * b, a * b / 100) or (b and a / b == value):
            return True
    return False


def _brought_in(value: Fraction, text: str) -> bool:
    """Return whether a sentence brings a value in by itself: as an example, by trying it, or as common knowledge."""
    if _EXAMPLE.search(text) or (value in _CONSTANTS and _COMMON.search(text)):
        return True
    number = re.escape(written(value))
    if re.match(rf"\W*[a-zA-Z]\s*=\s*{number}\s*[:,]", text):  # "n = 8: …", an item of a list of cases
        return True
    tried = rf"\b[a-zA-Z]\s*=\s*{number}\b|\b(?:try(?:ing)?|step|case|if (?:we|i) (?:try|take|use|choose|pick)|if [a-z] (?:is|were|equals)) {number}\b"
    return bool(_TRIES.search(text)) and re.search(tried, text, re.IGNORECASE) is not None


# --- names

# A letter that stands for a quantity: `x` of "x + 3", "2x", "J = 4"; not "a" the article, "I", nor P of P(A).
_VARIABLE = re.compile(
    r"(?<![a-zA-Z\\{_'’.])(?:(?<=\d)(?P<times>[b-hj-zB-HJ-Z])|(?P<left>[a-zA-Z])(?=\s*[-+*/^=<>]\s*[\w(\\])|(?<=[-+*/=] )(?P<right>[b-zB-HJ-Z]))(?![a-zA-Z'’])"
)
# "Let S be", "denote the time by t", "represented as \\( x \\)".
_NAMED = re.compile(
    r"\b(?:let|denote|call|set|suppose|define|as|be|by|say)\s+(?:\\\(\s*|\$)?([b-zB-HJ-Z])(?![a-zA-Z'’])",
    re.I,
)
_DEFINES = re.compile(r"\b(?:let|denote|call|define|suppose|set|say|where|represent\w*|assume|if|given|stand\w* for|variable|named?|labell?ed)\b", re.I)  # fmt: skip


def _names(
    question: str, units: Sequence[str], gone: Sequence[bool], kept: Sequence[Sentence]
) -> Iterator[Finding]:
    """Find letters that a deleted unit defined and that kept text uses without saying what they are."""
    introduced: dict[str, int] = {}
    for index, unit in enumerate(units):
        for name in _letters(unit) | set(_NAMED.findall(unit)):
            introduced.setdefault(name, index)
    known = set(re.findall(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])", question))
    for sentence in kept:
        names, named = _letters(sentence.text), set(_NAMED.findall(sentence.text))
        for name in sorted(names - known - named):
            at = introduced.get(name, sentence.first)
            told = re.search(
                rf"(?<![a-zA-Z\\]){name}\s*(?:=|\bis\b|\bbe\b|\bas\b|:|\))|\({name}\)|\b(?:for|where|when|with) (?:\\\( ?|\$)?{name}\b",
                sentence.text,
            )
            if at < sentence.first and gone[at] and _DEFINES.search(units[at]) and not told:
                yield Finding("name", name, sentence.text)
        known |= names | named


def _letters(text: str) -> set[str]:
    return {letter for match in _VARIABLE.finditer(text) for letter in match.groups() if letter}


# --- words that point back

# "This means she collects 2 times 25", "So that gives 12", "Similarly, …", "Same for the second".
_POINTS_BACK = re.compile(
    r"^\W*(?:(?:so|and|but|okay|then|therefore|thus|hence|now|because|well|wait|hmm)\b,?\s*)*"
    r"(?:it\s+(?:means|gives|equals|simplifies|implies)\b|(?:this|that|these|those|which)\s+(?:means?|gives?|equals?|leaves?|makes?|brings?|adds?|comes?|becomes?|works?|simplif\w+|"
    r"implies|shows?|results?|doesn't|does not|can't|cannot|isn't|is not|would|must|factors?|totals?|reduces?|accounts?)\b"
    r"|similarly\b|likewise\b|same (?:thing|for|here|way|logic|with)\b|by the same\b|neither\b|none of (?:these|them)\b"
    r"|both of (?:these|them)\b|the (?:former|latter)\b|multiplying (?:these|those|that|them)\b|adding (?:these|those|that|them)\b)",
    re.IGNORECASE,
)
# "No, that's not right", "But that contradicts", "Wait, that can't be": doubt about what stood just before.
_REFUSES = re.compile(
    r"^\W*(?:(?:wait|hmm+|oh|but|so|hold on|okay|actually)\b,?\s*)*(?:no\b,?|that(?:'s| is)? (?:not|wrong|incorrect|can't|cannot|doesn't|does not|contradicts?)"
    r"|i (?:made|must have made) a mistake|(?:this|that) (?:is|seems) (?:wrong|off|impossible|contradict\w+)|which (?:is )?(?:contradict\w+|impossible|not))",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]{4,}|\d+(?:\.\d+)?")


def _words(*texts: str) -> set[str]:
    return {word for text in texts for word in _WORD.findall(plain(text).lower())}


def _references(units: Sequence[str], gone: Sequence[bool], kept: Sequence[Sentence]) -> Iterator[Finding]:
    """Find kept sentences that open by pointing at the unit before them, where that is gone and nothing kept says it."""
    for place, sentence in enumerate(kept):
        if sentence.new or not sentence.first or not gone[sentence.first - 1]:
            continue
        pointing = _POINTS_BACK.search(sentence.text) or _REFUSES.search(sentence.text)
        if not pointing or (CONFIRMATION.search(sentence.text) and not _REFUSES.search(sentence.text)):
            continue
        if place and kept[place - 1].text.rstrip().endswith("?") and _ANSWERS.search(sentence.text):
            continue  # it answers the question that stays
        at = sentence.first - 1
        while at >= 0 and gone[at] and is_filler(units[at]):
            at -= 1
        if at < 0 or not gone[at]:
            continue
        said = _words(units[at])
        near = _words(*(s.text for s in kept[max(0, place - 2) : place]))
        if len(said & near) < 0.6 * len(said):
            kind = "doubt" if _REFUSES.search(sentence.text) else "reference"
            yield Finding(kind, f"“{pointing.group().strip()}”", sentence.text)


# --- what was opened and not closed

_MOVES_ON = re.compile(
    r"^\W*(?:(?:so|okay|alright|and|but)\b,? )?(?:now\b|next\b|then\b|therefore|thus|hence|finally|second(?:ly)?\b|third(?:ly)?\b|alternatively"
    r"|another|wait|moving on|step \d|so the (?:final )?answer|the (?:final )?answer|\*\*final)",
    re.IGNORECASE,
)
_SO = re.compile(r"^\W*(?:so|and so)\b", re.IGNORECASE)
_ANSWERS = re.compile(r"^\W*(?:yes|no|nope|yeah|yep|well)\b", re.IGNORECASE)
_TAG_QUESTION = re.compile(
    r"\b(?:right|correct|okay|ok|yes|no|huh|isn't it|doesn't it|make sense)\?\W*$", re.IGNORECASE
)
# "Maybe I misinterpreted the problem.", "Wait, is it per week?", "But what if …": a doubt that wants to be settled.
_WONDERS = re.compile(
    r"\b(?:maybe i (?:mis\w+|made|should have)|i (?:might|may) have (?:mis\w+|made)|did i (?:mis\w+|make|do)|what if|perhaps i (?:mis\w+|made)"
    r"|is there (?:a|any) (?:mistake|trick)|i(?:'m| am) not (?:sure|certain)|i(?:'m| am) (?:confused|missing)|wait,? maybe)\b",
    re.IGNORECASE,
)
# What settles a question or a doubt: "No, it says …", "Well, …", "Since …", "Okay, …".
_SETTLES = re.compile(
    r"^\W*(?:no|nope|yes|yeah|yep|okay|ok|but|well|since|because|actually|let me|the problem|the question|it says|it's|it is)\b",
    re.IGNORECASE,
)


def _left_open(units: Sequence[str], gone: Sequence[bool], kept: Sequence[Sentence]) -> Iterator[Finding]:
    """Find questions, doubts and lists that a kept sentence opens and whose continuation is gone."""
    for sentence, following in pairwise([*kept, None]):
        if sentence is None or sentence.new or sentence.last + 1 >= len(units) or not gone[sentence.last + 1]:
            continue
        text = sentence.text.rstrip()
        after = following.text if following else ""
        run = [units[i] for i in range(sentence.last + 1, following.first if following else len(units))]
        settled = bool(after) and not _MOVES_ON.search(after) and bool(_SETTLES.search(after))
        alike = 2 * len(_words(text) & _words(after)) >= min(len(_words(text)), 4)
        tag = _TAG_QUESTION.search(text) or VERIFICATION.search(text)
        answer_gone = any(has_substance(unit) or _ANSWERS.search(unit) for unit in run[:2])
        if (
            text.endswith("?")
            and not tag
            and answer_gone
            and not settled
            and not (after and alike and not _MOVES_ON.search(after))
        ):
            yield Finding("question", "without its answer", sentence.text)
        elif text.count('"') % 2 and next((unit.count('"') % 2 for unit in run if '"' in unit), 0):
            yield Finding("quotation", "without its end", sentence.text)
        elif _WONDERS.search(text) and not settled and not all(map(is_filler, run)):
            yield Finding("doubt", "that is not settled", sentence.text)
        elif text.endswith(":") and (
            (not has_substance(after) and not all(map(is_filler, run)))
            or (
                has_substance(run[0])
                and bool(_MOVES_ON.search(after) or _SO.search(after) or CONCLUSION.search(after))
            )
        ):
            yield Finding("list", "without what it announces", sentence.text)
