"""Which tokens of a completion answer for its length: all of them, or only those behind the sentence that concludes.

With GRPO's one advantage for a whole completion, the sentences that find the answer are discouraged as much as the checks behind
them. Credit by steps (Step-GRPO; DECS, arXiv 2509.25827) keeps the two apart: every token answers for whether the answer is right,
and only those that come after the answer was found for how many of those there are.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from drp.teachers.conclusion import Answer, concluded
from drp.teachers.slicing import facts, read_lines
from drp.text.answers import final_answer
from drp.text.units import split_units

LEAST_SPREAD = 1e-4
"""What TRL adds to the spread of a problem's rewards before it divides by it."""


@dataclass(frozen=True)
class Score:
    """What a completion scores, in its two parts."""

    right: bool
    """Whether it ended in time with the right answer."""
    length: float = 0.0
    """What its length takes from that, 0 or less."""
    start: int = 0
    """The first token that its length is held against."""

    @property
    def reward(self) -> float:
        """The score."""
        return self.right + self.length


def conclusion_end(question: str, thinking: str, answer: str) -> int | None:
    """Return how many characters of a thinking there are up to the end of the sentence that concludes, if one does.

    It is the conclusion that the rules teacher cuts behind: late rather than early, so what stands before it may still be needed.
    """
    final, units = final_answer(answer), split_units(thinking)
    if not final:
        return None
    last = concluded(read_lines(units), Answer(final, facts(question)), question)
    return None if last is None else sum(map(len, units[: last + 1]))


def tokens_until(tokenizer: Any, ids: Sequence[int], characters: int) -> int:
    """Return how many tokens it takes to write so many characters of their text."""

    def written(count: int) -> int:
        return len(tokenizer.decode(ids[:count], skip_special_tokens=False))

    return bisect_left(range(len(ids)), characters, key=written)


def advantages(scores: Sequence[Score], generations: int, width: int) -> torch.Tensor:
    """Return the advantage of every token.

    Where the length is held against all tokens this is GRPO's own advantage, but that a wrong completion is not better off for
    what the length of the right ones took from them.

    Args:
        scores: Of the completions, those of a problem in a row.
        generations: How many a problem has.
        width: Tokens of the longest completion.

    Returns:
        Of shape (completions, width): how far the answer is from the problem's mean in being right, and in tokens that the length
        is held against also how far the length is from that of its right completions; both by the spread of the rewards.
    """
    right = torch.tensor([float(s.right) for s in scores]).view(-1, generations)
    length = torch.tensor([s.length for s in scores]).view(-1, generations)
    spread = (right + length).std(1, keepdim=True) + LEAST_SPREAD
    usual = length.sum(1, keepdim=True) / right.sum(1, keepdim=True).clamp(min=1)
    accuracy = (right - right.mean(1, keepdim=True)) / spread
    brevity = right * (length - usual) / spread
    behind = torch.arange(width) >= torch.tensor([s.start for s in scores])[:, None]
    return accuracy.flatten()[:, None] + brevity.flatten()[:, None] * behind
