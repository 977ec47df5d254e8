"""Passages of a trace that go as a whole: a verification, an abandoned branch, a restatement, empty talk.

Every pattern here looks at one unit, and each is narrow on purpose: what it does not take, stays.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from drp.pruning.skills import CONFIRMATION, DOUBT, has_substance, is_filler
from drp.teachers.slicing import Fact, Line, content_words

_LEAD = r"^\W*(?:(?:wait|hmm+|okay|ok|alright|so|but|now|and|actually|hold on|yes|right|yeah|no|oh|also|well|then|just)\b[,.…—\s]*)*"
_AGAIN = r"(?:re|double|cross|sanity)[- ]?(?:check|verify|examine|count|calculat|comput|confirm|evaluat|assess|visit|do\b|trace)\w*"
# A check is opened: "Let me double-check that.", "Wait, is that right?", "To verify, …", "Re-evaluating: …". Left: "Check n = 11",
# "Let me check if 3 works" (a case that is tried), "I need to check the second condition" (a step of the solution).
OPENS_CHECK = re.compile(
    _LEAD + r"(?:"
    r"(?:let me|let's|let us|let’s|i should|i'll|i can|i want to|maybe i should|we should|we can|i might|i will|(?:we|i) need to|next i will)\s+"
    rf"(?:just |also |quickly |first |maybe |pause to |try to )*(?:{_AGAIN}|verify|confirm|validate|make sure|test (?:this|that|it)"
    r"|check(?= (?:this|that|it|my|again|once|with|by|the (?:calculations?|math|answer|addition|multiplication|steps?|result|arithmetic|exponentiation|expansion|simplification|division|count))\b|[.,:!]|\s*$)"
    r"|go (?:through|over) (?:it|this|that|everything|the (?:steps|calculations?|problem)))"
    r"|(?:we|i) (?:can|could|will|would)(?: also)? (?:verify|confirm|check|double[- ]?check)|it's (?:important|good|worth) to (?:verify|confirm|check)"
    r"|(?:just )?(?:to|for) (?:verify|confirm|double[- ]?check|ensure (?:accuracy|precision|correctness|clarity)|clarity|assurance|be (?:sure|thorough|safe|certain|extra \w+)|make sure|a sanity check)"
    rf"|{_AGAIN}|(?:re)?confirming|verifying|(?:verify|check) (?:that|again)|confirm that|reiterat\w+|check again|calculating again|checking (?:again|this|that|it|my|the)|confirmed\W|verification\W"
    r"|(?:is|was) (?:that|this|it) (?:right|correct|true|accurate)|does (?:that|this|it) (?:make sense|check out|seem right|add up)"
    r"|did i (?:make|do|get|miss|read|calculate))\b",
    re.IGNORECASE,
)
# A single-line check may also name itself at its end: "…, just checking if it was correct", "confirm this once more".
_CHECKS_WITHIN = re.compile(
    rf"\b(?:let me|let's|let’s|to|i'll)\s+(?:\w+\s){{0,2}}(?:{_AGAIN}|verify|confirm|reconfirm)\b|\bjust (?:checking|to be sure)\b|\bonce more\b",
    re.IGNORECASE,
)
# What is looked for there is new: other cases, a smaller value.
_SEEKS = re.compile(
    r"\b(?:if there(?:'s| is| are)(?! (?:another|a different|an easier|a better|a way|any other way))|other (?!way|approach|method)\w+|smaller|larger|bigger|next|remaining (?!steps?)\w+|more (?:solutions|cases)"
    r"|each (?:case|value|possib)|all (?:the )?(?:cases|possib)|different (?:case|value))\b",
    re.IGNORECASE,
)
# The check has its verdict: "Yes, that's correct.", "…, which matches the 60 days.", "So it is still 38.".
VERDICT = re.compile(
    r"\b(?:checks? out|match(?:es)?|(?:that|this|it|which|everything|all)(?:'s| is| are)(?: all| indeed| still)? (?:right|correct|consistent|good|fine|true)"
    r"|is (?:indeed |still )?(?:correct|right|consistent|accurate|valid)|(?:seems|looks) (?:right|correct|good|consistent|fine|solid)|makes sense"
    r"|adds? up|works? out|same (?:answer|result|as|thing|number)|as (?:expected|required|given|before)|perfect|confirms|(?:it|that) is still"
    r"|that works|it works|holds?(?: true)?[.!])(?!\w)",
    re.IGNORECASE,
)
# The check found something, or its outcome is open: it must stay.
NEGATIVE = re.compile(
    r"\b(?:wrong|mistakes?|incorrect|not (?:right|correct|match|equal|consistent|possible|true|the same)|doesn't|does not|didn't|don't match|isn't"
    r"|contradict\w*|conflict\w*|errors?|oops|instead|should be \w+,? not|misread|mis\w+ed|confus\w+|wait,? no|hold on|that can't|cannot be|fails?"
    r"|inconsistent|too (?:large|small|big|high|low)|hmm|forgot|missed|overlooked|invalid|discard\w*)\b",
    re.IGNORECASE,
)
# A finding that is denied: "I didn't make a mistake", "no errors".
_DENIES = re.compile(
    r"\b(?:didn't|no|not|any|without|avoid)\b[^.]{0,30}\b(?:mistakes?|errors?|miss(?:ed)?|wrong|overlook\w*|misread)",
    re.IGNORECASE,
)
# After a solution is stated, the trace turns back to it, which tells that it was complete.
_TURNS = re.compile(
    _LEAD
    + r"(?:wait|hmm+|hold on|actually|alternatively|let me (?:just )?(?:see if|think (?:again|if|about (?:it|this|whether))|recap|summarize|write|re\w+|know if)"
    r"|another (?:way|approach|method|angle|thought)|(?:is there|are there|could there)|i (?:think|don't see|don't think|wonder|guess)|let's see if|did i|am i|what if"
    r"|just to|to (?:double-check|verify|confirm|make sure|be)|but (?:wait|let|just|hold|to|is|maybe|hmm|what|before)|\**final answer|hmm|or (?:maybe|alternatively))\b",
    re.IGNORECASE,
)
# A branch is given up: "That seems too complicated.", "Let me try another approach.".
GIVES_UP = re.compile(
    r"\b(?:(?:that|this|it)(?:'s| is| seems| might be| may be| looks| would be| gets| could be| sounds| isn't| doesn't seem)"
    r"(?: \w+){0,3} (?:complicated|messy|tedious|cumbersome|helpful|time-consuming|overkill|unnecessary|going anywhere|useful)"
    r"|dead end|going (?:around )?in circles|never ?mind|scrap that|let me (?:try|think of) (?:a different|another) (?:approach|way|method)"
    r"|i don't think (?:that|this) (?:helps|is helpful|is necessary|will help|is useful))\b",
    re.IGNORECASE,
)
OPENS_BRANCH = re.compile(
    _LEAD
    + r"(?:alternatively|maybe (?:i|we|there|another|using|think)|perhaps (?:i|we|there|another|using|think)|another (?:way|approach|method|idea|thought)"
    r"|or maybe|what if (?:i|we)|i (?:wonder|recall|remember))\b",
    re.IGNORECASE,
)
# Talk that holds nothing: the whole unit is made of such words. Left: "Wait.", "No.", "Right." (they answer something).
TALK = re.compile(
    r"(?=.*\b(?:let|hmm+|okay|ok|alright|i'll)\b)(?:\W*\b(?:hmm+|okay|ok|alright|well|so|now|let's see|let me see|let me think|let me start|let me try"
    r"|(?:let me|let's|i'll) (?:just )?(?:think|try to (?:think|figure|solve|understand)|figure|break|work|go|see|start|do|take|compute|calculate|write|tackle|approach)"
    r"(?: (?:about|through|on|out|down|this|that|it|how|to|step|by|carefully|for|a|moment|more|here|problem|one|at|time|the|and|with|stepwise|together|slowly|clearly|from|beginning|approach|solve|do|methodically|calculation|math))*)\b)+\W*",
    re.IGNORECASE,
)
# The goal, said once more: "I need to find how many shells Ana has." Left: "It says that Tom has three times as many."
_GOAL = re.compile(
    r"\b(?:(?:question|problem) (?:is asking|asks|wants)|(?:need|want|have|trying|supposed|asked) to (?:find|figure out|determine|calculate|compute|know))\b",
    re.IGNORECASE,
)
# A unit that opens by pointing at what stands right before it, or by turning against it.
_LEANS = re.compile(
    r"^\W*(?:(?:so|and|therefore|thus|hence|then|also|yes|okay|well|now|yeah|right|because|since|if|as|from|with|in|using|by|to|for|of|at)\b,?\s*)*"
    r"(?:this|that(?!'s (?:it|all))|these|those|it|they|which|such|both|similarly|likewise|again|here|there|each|either|neither|another|same|he|she"
    r"|the (?:same|other|latter|former|second|next|result|remaining|rest)|wait|hmm+|but|however|no|actually|oh|or|yet|still|instead|alternatively|otherwise|meaning|substitut\w+|plugging)\b",
    re.IGNORECASE,
)
# Closed questions: "…, right?". All others, colons and announcements wait for what comes next.
_OPEN_END = re.compile(r"(?<!, right)(?<!, correct)(?<!, okay)\?[\"'”)*\s]*$|[:,—]\**\s*$")
_MOVES_ON = re.compile(
    r"^\W*(?:(?:so|okay|ok|alright|and|well)\b,? )*(?:now|next|then|therefore|thus|hence|so|moving on|finally|step \d|that means|okay|alright)\b",
    re.IGNORECASE,
)
_SELF_DOUBT = re.compile(
    r"\b(?:maybe|perhaps|possibl[ey]|what if|might have|may have|could have)\b.{0,40}\b(?:mis\w+|over\w+|under\w+|mistakes?|wrong|error|forgot\w*)\b|\bthat seems\b.{0,20}\b(?:high|low|lot|off|odd)\b",
    re.IGNORECASE,
)
_FIRST_PART = re.compile(r"^\W*(?:\w+,? )?(?:first|start(?:ing)?|case 1|part 1|step 1|for)\b", re.IGNORECASE)
_NEXT_PART = re.compile(
    r"^\W*(?:(?:so|and)\b,? )?(?:then|next|second|third|similarly|case 2|for|also)\b", re.IGNORECASE
)
_ANNOUNCES = re.compile(
    r"^\W*(?:(?:so|okay|now|first|next|then|well|hmm|and)\b,?\s*)*(?:let me|let's|i need to|i'll|we need to|i have to|we have to|to (?:find|compute|get|calculate))\b[^=\d]*$",
    re.IGNORECASE,
)
CHECKED = "verifies what stands before"
"""The reason of a check that comes to a verdict."""
LONGEST_CHECK = 14
"""A check that has no verdict after this many units is not clear."""
LONGEST_BRANCH = 24
LONG_REPETITION = 25
"""Fewer words than this may be recalled on purpose: "We have x + y = 5. So …"."""


@dataclass(frozen=True)
class Passage:
    """Adjacent units that go, or stay, together."""

    first: int
    last: int
    reason: str


def is_hollow(text: str) -> bool:
    """Return whether a unit is a few words of hesitation without content: "Hmm, wait.", "Let me see."."""
    return is_filler(text) and len(text.split()) <= 8


def finds_fault(text: str) -> bool:
    """Return whether a unit of a check finds something wrong, or leaves its outcome open: "Hmm, that doesn't match."."""
    return bool(NEGATIVE.search(text) and not _DENIES.search(text))


def turns_back(text: str) -> bool:
    """Return whether a unit turns back to a solution: doubts, verifies, looks for another way, or sums up."""
    return bool((_TURNS.search(text) or OPENS_CHECK.search(text)) and not _SEEKS.search(text))


def leans_back(text: str) -> bool:
    """Return whether a unit points at, or turns against, what stands right before it."""
    return bool(_LEANS.search(text))


def doubts(text: str) -> bool:
    """Return whether a unit voices a doubt that what follows settles: "Wait, maybe I miscounted."."""
    return bool(DOUBT.search(text) or _SELF_DOUBT.search(text))


def stays_open(text: str) -> bool:
    """Return whether a unit waits for the next: it asks, announces, or ends with a colon."""
    return bool(_OPEN_END.search(text) or _ANNOUNCES.search(text))


def check_at(lines: Sequence[Line], start: int, stop: int, known: Set[Fact]) -> Passage | None:
    """Return the verification that opens at ``start``, whole, or ``None`` where none does or its end is not clear.

    It ends with the paragraph in which its verdict falls: "…, which matches. So 72 it is.". Where each line is a step of
    its own, one that calls itself a check is one: "Let's verify: 9 * 6 = 54.".

    Args:
        lines: The units of the trace.
        start: Where it may open.
        stop: The first unit that it must not reach.
        known: What stands before it.
    """
    opening = lines[start]
    if _within_check(lines, start):
        return None
    if opening.is_step and is_step_check(opening):
        return Passage(start, start, "verifies in one line")
    if not OPENS_CHECK.search(opening.text) or _SEEKS.search(opening.text):
        return None
    verdict, said = False, False
    for line in lines[start : min(stop, start + LONGEST_CHECK)]:
        if said and DOUBT.search(line.text):
            return None
        said = said or has_substance(line.text) or (line.index > start and not is_hollow(line.text))
        if not line.sound or finds_fault(line.text):
            return None
        if VERDICT.search(line.text) or CONFIRMATION.search(line.text):
            verdict = verdict or said
        elif verdict and not line.gives <= known:
            return None  # it goes on to something new, or the verdict was that of a first part
        if line.last_in_paragraph and said:
            closed = verdict and not carried_on(lines, start, line.index + 1, stop, known)
            return Passage(start, line.index, CHECKED) if closed else None
    return None


def _within_check(lines: Sequence[Line], start: int) -> bool:
    """Return whether a check is on already in the paragraph: a part of it does not go by itself."""
    for line in reversed(lines[max(0, start - LONGEST_CHECK) : start]):
        if line.last_in_paragraph:
            return False
        if OPENS_CHECK.search(line.text) and not is_hollow(line.text):
            return True
    return False


def is_step_check(line: Line) -> bool:
    """Return whether a step that is one line only checks what stands before: "Re-evaluate: 9 * 6 = 54."."""
    text = line.text.rstrip()
    checks = OPENS_CHECK.search(text) or _CHECKS_WITHIN.search(text)
    return bool(checks and line.sound and not text.endswith((":", "?")) and not NEGATIVE.search(text))


def carried_on(lines: Sequence[Line], start: int, index: int, stop: int, known: Set[Fact]) -> bool:
    """Return whether the paragraph after a verdict goes on with the check: "Second segment: 2 * 10 = 20."."""
    if index >= stop:
        return False
    line = lines[index]
    if _NEXT_PART.search(line.text) and any(_FIRST_PART.search(x.text) for x in lines[start:index]):
        return True
    return bool(line.numbers) and line.gives <= known and not _MOVES_ON.search(line.text)


def branch_at(lines: Sequence[Line], start: int, stop: int) -> Passage | None:
    """Return the branch that opens at ``start``, the start of a paragraph, and is given up, or ``None``."""
    if start and not lines[start - 1].last_in_paragraph:
        return None
    if not OPENS_BRANCH.search(lines[start].text):
        return None
    for line in lines[start : min(stop, start + LONGEST_BRANCH)]:
        if GIVES_UP.search(line.text):
            if not line.last_in_paragraph:
                return None
            return Passage(start, line.index, "a branch that is given up")
    return None


def restates_question(line: Line, asked: frozenset[str], given: frozenset[Fact]) -> bool:
    """Return whether a unit says only what the question says: "The problem asks how many shells Ana has."."""
    words = line.words
    if not _GOAL.search(line.text) or line.relations or line.gives - given or not words:
        return False
    return len(words & asked) >= 0.6 * len(words)


def repetition_at(
    lines: Sequence[Line], start: int, stop: int, stated: Mapping[frozenset[str], Line], overlap: float
) -> Passage | None:
    """Return the run of whole paragraphs from ``start`` on that state once more what is stated already, or ``None``.

    Args:
        lines: The units of the trace.
        start: Where the run may begin.
        stop: The first unit that it must not reach.
        stated: Kept lines by the formulas they state.
        overlap: Share of common words from which a line that states the same formulas is a repetition.
    """
    if start and not lines[start - 1].last_in_paragraph:
        return None
    last, words, pending = -1, 0, 0
    for line in lines[start:stop]:
        earlier = stated.get(line.relations)
        if not is_hollow(line.text) and (earlier is None or not repeats(line, earlier, overlap)):
            break
        pending += len(line.text.split())
        if line.last_in_paragraph:
            last, words, pending = line.index, words + pending, 0
    if words < LONG_REPETITION or _goes_on_repeating(lines, start):
        return None
    return Passage(start, last, "repeats what stands before")


def _goes_on_repeating(lines: Sequence[Line], start: int) -> bool:
    """Return whether the line before is said again too, and stays.

    Behind "50 + 29 = 79", which was worked out before, it is the rest of a calculation, and what follows takes its result.
    """
    said = lines[start - 1].relations if start else frozenset[str]()
    return bool(said) and any(line.relations == said for line in lines[: start - 1])


def repeats(line: Line, earlier: Line, overlap: float) -> bool:
    """Return whether a unit states the formulas of an earlier one, all of them, in nearly the same words.

    ``z²−z+1=0`` does not repeat ``z²+z+1=0``: formulas are compared by spelling, not by their letters.
    """
    if not line.relations or line.relations != earlier.relations or not line.gives <= earlier.gives:
        return False
    ours, theirs = content_words(line.text), content_words(earlier.text)
    return len(ours & theirs) >= overlap * len(ours | theirs)
