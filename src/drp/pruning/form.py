"""Defects of form: special tags, formulas and quotations that are opened and not closed, sentences torn at a seam."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from drp.records import EditScript
from drp.text.thinking import THINK, Tags

_PAIRS = ((r"\[", r"\]"), (r"\(", r"\)"))
_ENVIRONMENT = re.compile(r"\\(begin|end)\{")
_TAG = re.compile(
    r"</?think>|<[|｜][^|｜<>\n]{1,40}[|｜]>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|</?tool_(?:call|response)>"
)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_DISPLAY = re.compile(r"\$\$")
_INLINE = re.compile(r"\$(?=[^\s$])[^$\n]{0,300}?(?<=\S)\$(?!\d)|\$ ?\d|\d\$(?![\w\\({])")
r"""A formula between single dollars (``$x = 5$``), or money (``$15``, ``200$``), which stands alone by right."""


_WAITS = re.compile(
    r"(?:(?<![\w\\])(?:is|are|was|were|be|been|equals?|the|of|to|by|plus|minus|and|or|than|that|with|from|for|as|if|because|per"
    r"|which|would|will|can|has|have|had|gives?|gets?|we|into|at|on|in)|(?<=[a-z] )(?:an?|I)|(?<=[\w)}] )-|(?<!-)[=+×/−≤≥÷]"
    r"|(?:\A|[\n.!?])\s*[A-Za-z]+,)\s*\Z"
)
"""The end of a text that waits for the rest of its sentence: ``That would be``, ``5000 −``, ``So,``; not the line ``y = 5,``."""
_OPENS = re.compile(r"\s*[\"“(]?[A-Z][a-z'’]+[ ,]")
"""A new sentence."""
_GOES_ON = re.compile(r"\s*(?:[=+×÷≤≥]|(?:which|or|so that|is|are|was|were|plus|minus|of|than|per)\b)")
"""The rest of a sentence: ``= 3000``, ``which is 12``."""
_ENDED = re.compile(r"[.!?][\"”)]?\s*\Z")
_SHOWN = 40
_QUOTE = re.compile(r"(?<!\\)\"")


def _quotation_open(text: str) -> bool:
    """Return whether a straight quotation mark is left open; behind a digit one closes, or is inches: ``a 5" pipe``."""
    open_ = False
    for match in _QUOTE.finditer(text):
        inches = not open_ and text[match.start() - 1 : match.start()].isdigit()
        open_ = not open_ and not inches
    return open_


def _unmatched(text: str, opening: str, closing: str) -> int:
    """Return how many of the brackets in ``text`` have no partner; one scan."""
    open_, lone = 0, 0
    for match in re.finditer(f"({re.escape(opening)})|{re.escape(closing)}", text):
        if match[1]:
            open_ += 1
        elif open_:
            open_ -= 1
        else:
            lone += 1
    return open_ + lone


def defects(text: str, tags: Tags = THINK) -> Counter[str]:
    """Count what is wrong with the form of a text, by what it is; ``tags`` stand around thinking and nowhere else."""
    found = Counter(f"tag {match.group()}" for match in _TAG.finditer(text))
    found.update({f"tag {tag}": text.count(tag) for tag in tags if not _TAG.fullmatch(tag)})
    lines = text.replace("\\\\", "")  # a line break in LaTeX may stand before a bracket: \\[2pt]
    for opening, closing in _PAIRS:
        found[f"unbalanced {opening}"] = _unmatched(lines, opening, closing)
    sides = Counter(match[1] for match in _ENVIRONMENT.finditer(lines))
    found[r"unbalanced \begin{"] = abs(sides["begin"] - sides["end"])
    found["unclosed code block"] = text.count("```") % 2
    plain = _ESCAPED.sub("", text)
    found["unbalanced {"] = _unmatched(plain, "{", "}")
    found["unbalanced $$"] = len(_DISPLAY.findall(plain)) % 2
    found["unbalanced $"] = _INLINE.sub("", _DISPLAY.sub("", plain)).count("$")
    found["open quotation"] = int(_quotation_open(text))
    found["unbalanced “"] = _unmatched(text, "“", "”")
    return +found


def torn(units: Sequence[str], script: EditScript) -> list[str]:
    """Return the places where an edit leaves half a sentence: one that waits for its rest, or a rest without its beginning.

    Only seams that the edits made are looked at; what the student itself wrote is its own style.
    """
    pieces: list[tuple[int | None, str]] = []
    for edit in script.edits:
        if edit.action == "keep":
            pieces += [(index, units[index]) for index in range(edit.first, edit.last + 1)]
        elif edit.text is not None:
            pieces.append((None, edit.text))
    pieces = [(index, text) for index, text in pieces if text.strip()]
    seams = [
        (left, right)
        for (one, left), (two, right) in pairwise(pieces)
        if one is None or two is None or two != one + 1
    ]
    if pieces and pieces[-1][0] != len(units) - 1:
        seams.append((pieces[-1][1], ""))
    return [
        f"half a sentence at “{left.strip()[-_SHOWN:]} ⟂ {right.strip()[:_SHOWN]}”"
        for left, right in seams
        if (_WAITS.search(left) and (not right or _OPENS.match(right)))
        or (_ENDED.search(left) and _GOES_ON.match(right))
    ]
