"""Units: the smallest addressable spans of a trace. Joined, they give the text back byte for byte."""

import re

_PROTECTED = re.compile(
    r"```.*?```"
    r"|\$\$.+?\$\$"
    r"|\\\[.+?\\\]"
    r"|\\\(.+?\\\)"
    r"|\\begin\{(?P<env>[a-z*]+)\}.+?\\end\{(?P=env)\}"
    r"|(?<![\\$])\$(?! )[^$\n]{1,300}?(?<![\\ ])\$(?!\d)",
    re.DOTALL,
)
"""Spans that are never cut: code blocks, display and inline formulas, LaTeX environments."""

_LINE_END = re.compile(r"\n(?:[ \t]*\n)*")
_SENTENCE_END = re.compile(r"[.!?…。]+[\"'’”)\]*_]*(?=[ \t]+\S)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|etc|e\.g|i\.e|cf|approx|Eq|Eqs|Fig|No|Sec|Thm|Jr|Sr)"
    r"|(?:^|\n)[ \t]*(?:\d{1,3}|[A-Za-z]))$"
)
"""What stands before a full stop that ends no sentence: abbreviations, list markers."""


def split_units(text: str) -> list[str]:
    """Cut ``text`` into sentences, lines and display formulas.

    Line breaks belong to the unit they end, spaces between sentences to the unit they precede.
    Cuts fall only at white space, so never inside a number, and never inside a formula or a code
    block. ``"".join(split_units(text)) == text`` for every string.
    """
    protected = [match.span() for match in _PROTECTED.finditer(text)]
    cuts = {match.end() for match in _LINE_END.finditer(text)}
    for match in _SENTENCE_END.finditer(text):
        following = text[match.end() :].lstrip()[:1]
        stop = match.group()[0]
        if following.islower() and stop in ".…":
            continue
        if stop == "!" and not (following.isupper() or following in "\"'“\\"):
            continue  # a factorial, or an exclamation that runs on
        if stop == "." and _ABBREVIATION.search(text[max(0, match.start() - 12) : match.start()]):
            continue
        cuts.add(match.end())
    inside = iter([*protected, (len(text), len(text))])
    begin, end = next(inside)
    units: list[str] = []
    previous = 0
    for cut in sorted(cuts):
        while cut >= end and end < len(text):
            begin, end = next(inside)
        if begin < cut < end or not previous < cut < len(text):
            continue
        units.append(text[previous:cut])
        previous = cut
    if previous < len(text):
        units.append(text[previous:])
    return _attach_blanks(units)


def _attach_blanks(units: list[str]) -> list[str]:
    """Join units of white space alone to a neighbour, so that every unit says something."""
    joined: list[str] = []
    lead = ""
    for unit in units:
        if unit.strip():
            joined.append(lead + unit)
            lead = ""
        elif joined:
            joined[-1] += unit
        else:
            lead += unit
    if lead:
        joined.append(lead)
    return joined
