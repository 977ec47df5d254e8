"""Figures of edit scripts: what was done to how much of a trace."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from drp.records import EditScript

RUN = 5
"""Words in a row that a text shares with another only by being copied, or by the same habit."""
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
# How a formula is written in LaTeX is no habit of speech.
_SIGNS = frozenset(
    {"frac", "dfrac", "times", "cdot", "div", "left", "right", "text", "boxed", "sqrt", "quad"}
)


def action_counts(scripts: Iterable[EditScript]) -> Counter[str]:
    """Return the number of edits per action."""
    return Counter(edit.action for script in scripts for edit in script.edits)


def skill_counts(scripts: Iterable[EditScript]) -> Counter[str]:
    """Return the number of steps per skill."""
    return Counter(s for script in scripts for edit in script.edits for s in edit.skills)


def kept_bytes(units: Sequence[str], script: EditScript) -> int:
    """Return how many bytes of the thinking were copied unchanged."""
    return sum(
        len("".join(units[edit.first : edit.last + 1]).encode())
        for edit in script.edits
        if edit.action == "keep"
    )


def own_words(question: str, units: Sequence[str], script: EditScript) -> tuple[int, int]:
    """Return how many words of the pruned thinking are the student's own, and how many there are.

    Own are the words of kept units, and those of new text that stand in a run of ``RUN`` words which the original
    has too. Single words prove nothing: a solution in another's style shares most of them by chance. Numbers
    stand in a run but make none, since any solution has them; and runs of the question, which anybody may quote,
    count neither as own nor as another's.
    """
    written = any(edit.text is not None for edit in script.edits)
    asked = set(_runs(_tokens(question))) - {()} if written else set[tuple[str, ...]]()
    runs = set(_runs(_tokens("".join(units)))) - asked - {()} if written else asked
    own = total = 0
    for edit in script.edits:
        if edit.action == "keep":
            kept = len(_words("".join(units[edit.first : edit.last + 1])))
            own, total = own + kept, total + kept
        elif edit.text is not None:
            tokens = _tokens(edit.text)
            students, anybodys = _covered(tokens, runs), _covered(tokens, asked)
            words = {i for i, token in enumerate(tokens) if token.isalpha()}
            own, total = own + len(words & students), total + len(words - (anybodys - students))
    return own, total


def _covered(tokens: Sequence[str], runs: set[tuple[str, ...]]) -> set[int]:
    return {i + k for i, run in enumerate(_runs(tokens)) if run in runs for k in range(RUN)}


def _tokens(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(text.lower()) if token not in _SIGNS]


def _words(text: str) -> list[str]:
    return [token for token in _tokens(text) if token.isalpha()]


def _runs(tokens: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all runs of ``RUN`` tokens by their place; those of few words, as formulas are, stand as empty."""
    places = range(len(tokens) - RUN + 1)
    runs = [tuple(tokens[i : i + RUN]) for i in places]
    return [
        run if sum(token.isalpha() and len(token) > 1 for token in run) >= RUN - 2 else () for run in runs
    ]
