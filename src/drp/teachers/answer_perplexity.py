"""PIR: of the steps that look back, the share goes without which the answer is least perplexing; the others stay.

After Xiao et al., "LIMOPro: Reasoning Refinement for Efficient and Effective Test-time Scaling" (arXiv 2505.19187): the importance of a
step is the change of the answer's perplexity without it; verification, other ways and corrections (*functional* steps) may go,
steps that carry the solution on (*progressive* ones) never. There a language model tells them apart, here rules
(:mod:`drp.teachers.steps`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor
from typing import Literal

from pydantic import Field

from drp.engines.scoring import Scorer, Spelling
from drp.records import Trace
from drp.teachers.by_student import ByStudent, ByStudentSettings, Choice, Solves, Worth
from drp.teachers.steps import read_steps


class AnswerPerplexitySettings(ByStudentSettings):
    """By the perplexity of the answer, as in LIMOPro."""

    kind: Literal["answer_perplexity"] = "answer_perplexity"
    share: float = Field(default=0.3, gt=0, le=1)
    """Share of the steps that look back which goes, those of least impact; the paper finds 0.2 to 0.3 best."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""

    def teacher(self, scorer: Scorer, spelling: Spelling, solves: Solves | None) -> ByStudent:
        """Return the teacher."""
        return AnswerPerplexity(self, scorer, spelling, solves)


@dataclass(frozen=True)
class Importance:
    """Of a step: the logarithm of how many times as perplexing the answer is without it."""

    nats: float

    @property
    def rank(self) -> tuple[float, ...]:
        """By itself."""
        return (self.nats,)

    def __str__(self) -> str:
        """Say what was measured."""
        return f"perplexity of the answer × {exp(self.nats):.3f}"


class AnswerPerplexity(ByStudent):
    """Deletes the functional steps of least importance, each judged in the whole trace."""

    def __init__(
        self,
        settings: AnswerPerplexitySettings,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        super().__init__(settings.kind, settings.answer_tokens, scorer, spelling, solves)
        self.share = settings.share

    async def choose(self, trace: Trace, units: Sequence[str], prompt: Sequence[int]) -> Choice:
        """Return which units stay; see :class:`ByStudent`."""
        places, worths = range(len(units)), list[Worth | None]([None] * len(units))
        functional = [
            step for step in read_steps(units) if step.functional and step.last - step.first + 1 < len(units)
        ]
        async with self.read(trace, units, prompt, [True] * len(units)) as (text, passage):
            whole = await self.version(text, passage, ())
            without = await asyncio.gather(
                *(self.version(text, passage, places[step.span]) for step in functional)
            )
            scored = [
                (Importance(float(whole.answer.mean() - version.answer.mean())), step)
                for version, step in zip(without, functional, strict=True)
            ]
            for score, step in scored:
                worths[step.span] = [score] * len(places[step.span])
            least = sorted(scored, key=lambda pair: pair[0].rank)[: floor(self.share * len(scored) + 0.5)]
            gone = {unit for _, step in least for unit in places[step.span]}
            if len(gone) == len(units):
                gone = set[int]()
            return self.chosen(whole, await self.version(text, passage, gone), worths)
