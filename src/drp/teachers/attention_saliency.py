"""Attention saliency: the steps go to which the end of the thinking pays least attention.

After Lan et al., "CRISP: Compressing Redundancy in Chain-of-Thought via Intrinsic Saliency Pruning" (arXiv 2604.17297), which finds that the
token that ends the thinking looks at what the answer rests on. Of that work this is the saliency alone, used to rank steps;
its search among operations that rewrite is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from drp.engines.scoring import Scorer, Spelling
from drp.errors import TeacherError
from drp.records import Trace
from drp.teachers.by_student import ByStudent, ByStudentSettings, Choice, Solves, Worth
from drp.teachers.steps import read_steps


class AttentionSaliencySettings(ByStudentSettings):
    """By the attention that the end of the thinking pays, as in CRISP."""

    kind: Literal["attention_saliency"] = "attention_saliency"
    share: float = Field(default=0.5, gt=0, lt=1)
    """Most of the thinking's tokens that go, those of the steps least attended to first."""
    payer: Literal["close", "answer"] = "close"
    """Whose attention counts: the closing tag's, or the answer part's with it."""
    longest: int = Field(default=4096, ge=1)
    """Traces of more tokens are left out: one layer's weights take heads × tokens² numbers."""
    answer_tokens: int = Field(default=512, ge=0)
    """Most tokens the student may write to show that it still gives the answer; 0: it is not asked."""

    def teacher(self, scorer: Scorer, spelling: Spelling, solves: Solves | None) -> ByStudent:
        """Return the teacher."""
        return AttentionSaliency(self, scorer, spelling, solves)


@dataclass(frozen=True)
class Saliency:
    """Attention paid to each token of a step, over that paid to a token of the thinking on average."""

    ratio: float

    @property
    def rank(self) -> tuple[float, ...]:
        """By itself."""
        return (self.ratio,)

    def __str__(self) -> str:
        """Say what was measured."""
        return f"attention {self.ratio:.2f} × the mean"


class AttentionSaliency(ByStudent):
    """Deletes the steps that are attended to least, up to a share of the tokens."""

    def __init__(
        self,
        settings: AttentionSaliencySettings,
        scorer: Scorer,
        spelling: Spelling,
        solves: Solves | None = None,
    ) -> None:
        super().__init__(settings.kind, settings.answer_tokens, scorer, spelling, solves)
        self.settings = settings

    async def choose(self, trace: Trace, units: Sequence[str], prompt: Sequence[int]) -> Choice:
        """Return which units stay; see :class:`ByStudent`."""
        places, worths = range(len(units)), list[Worth | None]([None] * len(units))
        async with self.read(trace, units, prompt, [True] * len(units)) as (text, passage):
            if len(text.ids) > self.settings.longest:
                raise TeacherError(
                    f"the trace has {len(text.ids)} tokens, and attention is looked at up to longest={self.settings.longest}: "
                    "raise it if the memory suffices, or use teacher student, which needs no weights",
                    kind="too_long",
                )
            end = text.starts[len(units)]
            payers = slice(
                end, end + len(self.spelling.close) if self.settings.payer == "close" else len(text.ids)
            )
            paid = await self.scorer.attention(text.ids, payers)
            begin = text.starts[0]
            mean = float(paid[begin:end].mean())
            steps = read_steps(units)
            tokens = [slice(text.starts[s.first], text.place(s.last).stop) for s in steps]
            scored = [
                (Saliency(float(paid[t].mean()) / mean), s, t) for s, t in zip(steps, tokens, strict=True)
            ]
            gone, left = set[int](), self.settings.share * (end - begin)
            for score, step, span in sorted(scored, key=lambda one: one[0].rank):
                worths[step.span] = [score] * len(places[step.span])
                left -= span.stop - span.start
                if left >= 0:
                    gone.update(places[step.span])
            whole = await self.version(text, passage, ())
            return self.chosen(whole, await self.version(text, passage, gone), worths)
