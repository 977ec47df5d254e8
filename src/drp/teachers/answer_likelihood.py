"""SGP-CoT's two scores: a step goes if neither the answer nor the next step is less likely without it.

After Ma et al., "Your Reasoning Model Knows What Counts: Self-Guided Chain-of-Thought Pruning for Efficient Reasoning" (ACL 2026,
2026.acl-long.25): from the first step to the last, by the change of the mean log-probability of the answer and of the next step.
What follows the next step is not looked at, as it is by teacher ``student``. Steps are found by rule (:mod:`drp.teachers.steps`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from drp.engines.scoring import Scorer, Spelling
from drp.records import Trace
from drp.teachers.by_student import ByStudent, ByStudentSettings, Choice, Solves, Worth
from drp.teachers.steps import read_steps


class AnswerLikelihoodSettings(ByStudentSettings):
    """By the likelihood of the answer and of the next step, as in SGP-CoT."""

    kind: Literal["answer_likelihood"] = "answer_likelihood"
    answer: float = Field(default=0.05, ge=0)
    """Most nats per token by which the answer may fall without a step."""
    following: float = Field(default=0.5, ge=0)
    """Most nats per token by which the next step may fall without it."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""

    def teacher(self, scorer: Scorer, spelling: Spelling, solves: Solves | None) -> ByStudent:
        """Return the teacher."""
        return AnswerLikelihood(self, scorer, spelling, solves)


@dataclass(frozen=True)
class TwoScores:
    """By how many nats per token the answer and the next step fall without a step."""

    answer: float
    following: float

    @property
    def rank(self) -> tuple[float, ...]:
        """The answer first."""
        return self.answer, self.following

    def __str__(self) -> str:
        """Say what was measured."""
        return f"answer {self.answer:.3f}, next step {self.following:.2f} nats per token"


class AnswerLikelihood(ByStudent):
    """Deletes steps from the first to the last, each judged in the text that is left."""

    def __init__(
        self,
        settings: AnswerLikelihoodSettings,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        super().__init__(settings.kind, settings.answer_tokens, scorer, spelling, solves)
        self.settings = settings

    async def choose(self, trace: Trace, units: Sequence[str], prompt: Sequence[int]) -> Choice:
        """Return which units stay; see :class:`ByStudent`."""
        steps, worths = read_steps(units), list[Worth | None]([None] * len(units))
        gone: set[int] = set()
        async with self.read(trace, units, prompt, [True] * len(units)) as (text, passage):
            whole = now = await self.version(text, passage, gone)
            for step, following in zip(steps, [*steps[1:], None], strict=True):
                own = set(range(len(units))[step.span])
                if len(gone | own) == len(units):
                    continue
                less = await self.version(text, passage, gone | own)
                then = [len(units)] if following is None else list(range(len(units))[following.span])
                score = TwoScores(
                    float(now.answer.mean() - less.answer.mean()),
                    float(now.of(then).mean() - less.of(then).mean()),
                )
                worths[step.span] = [score] * len(own)
                if score.answer <= self.settings.answer and score.following <= self.settings.following:
                    gone, now = gone | own, less
            return self.chosen(whole, now, worths)
