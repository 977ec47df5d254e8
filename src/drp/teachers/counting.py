"""Which tokens carry mathematics, and so count towards support."""

import re
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from drp.engines.scoring import Floats, Spelling

Counting = Literal["digits", "formulas", "all"]


class Counts(Protocol):
    """Says which tokens count."""

    def __call__(self, ids: Sequence[int]) -> Floats:
        """Return 1 for each token that counts, 0 for the others."""
        ...


_COUNTED: dict[Counting, re.Pattern[str]] = {
    # " 12", "7", "½": any token with a digit in it.
    "digits": re.compile(r"\d|[¼-¾⅐-⅞]"),
    # … and signs of operations and relations, LaTeX, and variables: " x", "n", "\\", "^", " =", "π"; not the words "a" and "I".
    "formulas": re.compile(r"\d|[¼-¾⅐-⅞]|[-+*/=<>^_\\{}|×÷·−±√≤≥≠≈∞πθ]|^\s?[b-zB-HJ-Z]$"),
    "all": re.compile(r""),
}


def counting(kind: Counting, spelling: Spelling) -> Counts:
    """Return which of a student's tokens count."""
    pattern = _COUNTED[kind]
    known: dict[int, float] = {}

    def counts(ids: Sequence[int]) -> Floats:
        for token in ids:
            if token not in known:
                known[token] = float(bool(pattern.search(spelling.word(token))))
        return np.array([known[token] for token in ids], dtype=np.float64)

    return counts
