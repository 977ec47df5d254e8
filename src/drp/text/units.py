"""Units: the smallest addressable spans of a trace. Joined, they give the text back byte for byte."""

import re
from bisect import bisect_left
from collections.abc import Iterator

# What opens a span that is never cut: a code block, a display or inline formula, a LaTeX environment. Money is no formula:
# "$5 and $6" has a blank before the second dollar, or a digit behind it.
_OPENING = re.compile(
    r"(?P<sign>```|\$\$|\\\[|\\\()"
    r"|\\begin\{(?P<environment>[a-z*]+)\}"
    r"|(?P<inline>(?<![\\$])\$(?! )[^$\n]{1,300}?(?<![\\ ])\$(?!\d))"
)
_CLOSING = {"```": "```", "$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_ENVIRONMENT_END = re.compile(r"\\end\{([a-z*]+)\}")

_LINE_END = re.compile(r"\n(?:[ \t]*\n)*")
# A run of stops with the quotes and brackets that close behind it, before a blank and more text: `7.) `, `"Yes!" `. Chinese
# and Japanese put no blank there, so that theirs ends a sentence by itself, unless a comma follows: `“好。”，他说`.
# Runs are taken whole (possessive, and from their start), so that a long one is looked at once.
_SENTENCE_END = re.compile(
    r"(?<![.!?…。！？])(?:[.!?…]++[\"'’”)\]*_]*+(?=[ \t]++(?P<next>\S))"
    r"|[.!?…]*+[。！？][.!?…。！？]*+[\"'’”」』）)\]*_]*+(?![\"'’”」』）)\]*_，、；：,;:]))"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|etc|e\.g|i\.e|cf|approx|Eq|Eqs|Fig|No|Sec|Thm|Jr|Sr)"
    r"|(?:^|\n)[ \t]*(?:\d{1,3}|[A-Za-z]))$"
)
"""What stands before a full stop that ends no sentence: abbreviations, list markers."""


def split_units(text: str) -> list[str]:
    """Cut ``text`` into sentences, lines and display formulas.

    Line breaks belong to the unit they end, spaces between sentences to the unit they precede.
    Cuts fall only at white space and after Chinese and Japanese stops, so never inside a number, and
    never inside a formula or a code block. ``"".join(split_units(text)) == text`` for every string.
    """
    protected = list(_protected(text))
    cuts = {match.end() for match in _LINE_END.finditer(text)}
    for match in _SENTENCE_END.finditer(text):
        stop, following = match.group()[0], match["next"]
        if following is None:
            cuts.add(match.end())
            continue
        if following.islower() and stop in ".…":
            continue
        if stop == "!" and not (following.isupper() or following in "\"'“\\"):
            continue  # a factorial, or an exclamation that runs on
        if stop == "." and _ABBREVIATION.search(text[max(0, match.start() - 12) : match.start()]):
            continue
        cuts.add(match.end())
    inside = iter([*protected, (len(text), len(text))])
    begin, end = next(inside)
    starts = [0]
    for cut in sorted(cuts):
        while cut >= end and end < len(text):
            begin, end = next(inside)
        if not begin < cut < end and cut < len(text):
            starts.append(cut)
    return _whole(text, starts)


def _protected(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans that are never cut, in order. What is opened and never closed protects nothing.

    Time is linear: every search for a closing sign ends where the next one may start, and a sign that is
    not found once is not looked for again.
    """
    ends: dict[str, list[int]] = {}
    for match in _ENVIRONMENT_END.finditer(text):
        ends.setdefault(match[1], []).append(match.start())
    unclosed: set[str] = set()
    at = 0
    while opening := _OPENING.search(text, at):
        sign, environment = opening["sign"], opening["environment"]
        at = opening.start() + 1
        if opening["inline"]:
            end = opening.end()
        elif sign in unclosed:
            continue
        elif sign:
            # Formulas hold something: in `$$$$` nothing closes.
            closing = text.find(_CLOSING[sign], opening.end() + (sign != "```"))
            if closing < 0:
                unclosed.add(sign)
                continue
            end = closing + len(_CLOSING[sign])
        else:
            known = ends.get(environment, [])
            place = bisect_left(known, opening.end() + 1)
            if place == len(known):
                continue
            end = known[place] + len(f"\\end{{{environment}}}")
        yield opening.start(), end
        at = end


def _whole(text: str, starts: list[int]) -> list[str]:
    """Cut ``text`` at ``starts``; white space alone joins a neighbour, so that every unit says something."""
    units: list[str] = []
    begin, blank = 0, True
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        says = not text[start:end].isspace()
        if says and not blank:
            units.append(text[begin:start])
            begin = start
        blank = blank and not says
    if begin < len(text):
        units.append(text[begin:])
    return units
