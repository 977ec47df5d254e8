"""Defects of form: special tags, formulas and quotations that are opened and not closed."""

import re
from collections import Counter

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
