"""Functional skills of reasoning steps and the cues by which plain text gives them away."""

import re

from drp.text.equations import find_equations

SKILLS: tuple[str, ...] = (
    "reading given quantities",
    "restating the goal",
    "planning",
    "recalling a fact",
    "equation formulation",
    "arithmetic",
    "algebraic manipulation",
    "case analysis",
    "comparison",
    "verification",
    "reflection",
    "backtracking",
    "alternative approach",
    "stating the answer",
    "other",
)
"""The closed list; a teacher may be allowed to use others."""

VERIFICATION = re.compile(
    r"\b(?:(?:double|re)[- ]?check|let me (?:just )?(?:check|verify|confirm|test|re-?examine|recheck)"
    r"|let's (?:check|verify|confirm|test)|to (?:verify|confirm|check|be sure|be thorough|make sure)"
    r"|just to (?:be|make) (?:\w+ )?(?:sure|thorough|certain|safe)|verify(?:ing)?|sanity check"
    r"|(?:let me|i should|i'll|let's) (?:make sure|go (?:through|over) (?:it|this|that|everything))"
    r"|check(?:ing)? (?:it|this|that|my|again|once|another|the|if)|once more|is that (?:right|correct)"
    r"|did i (?:make|miss|do)|does that make sense|i (?:might|may) have (?:made|missed))\b",
    re.IGNORECASE,
)
# "Yes, that's right." and nothing with a number in it; that is asked first, once, so that a long run is not read again and again.
CONFIRMATION = re.compile(
    r"^\W*+(?=[^\d=]*$)(?:(?:yes|yep|yeah|okay|ok|good|great|right|alright|perfect|so)\b[,.!]?\s*)*"
    r"(?:(?:it|that|this|everything)(?:'s| is| all| also| still| does| seems| looks)*\s*)?"
    r"(?:yes|yep|right|correct|matches|checks out|good|consistent|works|works out|makes sense|adds up"
    r"|same (?:answer|result|thing)|still|holds?|okay|fine)\b",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"^\W*(?:(?:okay|oh|but|so|and|hmm+|um)\b,?\s*)*"
    r"(?:wait|hmm+|hold on|no\b|oh\b|actually|but (?:wait|let me|hold on|maybe|what if)|let me think again"
    r"|i'm not (?:sure|certain)|am i)",
    re.IGNORECASE,
)
ALTERNATIVE = re.compile(
    r"^\W*(?:(?:or|but|and|so|hmm|okay|also)\b,?\s*)*(?:alternatively|another (?:way|approach|method|thought|idea)"
    r"|a different (?:way|approach|method)|let me (?:try|think of|see if) (?:another|a different|there)"
    r"|maybe (?:another|there's another|i can (?:also )?(?:check|verify|think))|or maybe|what if)",
    re.IGNORECASE,
)
RESTATEMENT = re.compile(
    r"\b(?:the (?:problem|question) (?:says|states|asks|is asking|gives|tells|wants|mentions)"
    r"|i (?:need|have|want|'m supposed|am supposed|'m trying|am trying) to (?:find|figure out|solve|determine|calculate|compute|work out)"
    r"|i have (?:this|a) (?:problem|question)|let me (?:read|re-?read|restate|parse|see|understand)"
    r"|we(?:'re| are) (?:asked|given|told|supposed)|(?:it|they) (?:says|asks?|want)|they(?:'re| are) asking)",
    re.IGNORECASE,
)
PLANNING = re.compile(
    r"\b(?:let me (?:think|start|break|figure|try|recall|write|consider|see|go)|let's (?:see|start|think|break|try)"
    r"|i (?:should|can|could|think i|guess i|'ll|will) (?:start|use|try|break|first|need|set|do|approach)"
    r"|step by step|first,? i|how (?:do|can|to|should) (?:i|we))\b",
    re.IGNORECASE,
)
CONCLUSION = re.compile(
    r"\\boxed|\b(?:(?:the|my|final) answer(?: is| should be| must be|:)|therefore|thus|hence|in conclusion"
    r"|so,? (?:the |that's |it's |that means )?(?:final )?(?:answer|total|result))\b",
    re.IGNORECASE,
)
REFLECTION_WORD = re.compile(
    r"\b(?:wait|hmm+|actually|alternatively|maybe|perhaps|double-check|re-?check|verify|let me (?:check|see|think)"
    r"|hold on|make sure|is that right)\b",
    re.IGNORECASE,
)
"""Words that carry the student's habit of reflecting aloud."""

_FORMULA = re.compile(r"[=<>≤≥]|\\(?:frac|sqrt|le|ge|equiv|approx)\b|\^")
_FILLER_MAX_WORDS = 14


def reflection_count(text: str) -> int:
    """Return how many reflection words ``text`` holds."""
    return len(REFLECTION_WORD.findall(text))


def has_substance(text: str) -> bool:
    """Return whether a unit states a number or a formula."""
    return bool(re.search(r"\d", text) or _FORMULA.search(text) or "\\" in text or "$" in text)


def is_filler(text: str) -> bool:
    """Return whether a unit is talk that states nothing: "Hmm, okay. Let me think."."""
    if has_substance(text) or len(text.split()) > _FILLER_MAX_WORDS:
        return False
    hollow = PLANNING.search(text) or DOUBT.search(text) or CONFIRMATION.search(text)
    return bool(hollow) or len(text.split()) <= 3


def classify(text: str) -> str:
    """Return the skill of :data:`SKILLS` that the cues of one unit point to, ``other`` if none."""
    if VERIFICATION.search(text):
        return "verification"
    if ALTERNATIVE.search(text):
        return "alternative approach"
    if DOUBT.search(text):
        return "backtracking" if re.search(r"\b(?:no|wrong|mistake|not)\b", text, re.I) else "reflection"
    if CONCLUSION.search(text):
        return "stating the answer"
    if RESTATEMENT.search(text):
        return "restating the goal"
    if find_equations(text):
        return "arithmetic"
    if _FORMULA.search(text):
        return "algebraic manipulation" if re.search(r"[a-z]", text) else "equation formulation"
    if CONFIRMATION.search(text):
        return "reflection"
    if PLANNING.search(text):
        return "planning"
    return "reading given quantities" if re.search(r"\d", text) else "other"
