"""Task ``maths``: the answer is a number, an expression, a list or a short text, best given in a box."""

from typing import ClassVar, Literal

from drp.tasks import base
from drp.text.answers import final_answer


class Maths(base.Task):
    """Mathematical problems; the mini world's are of this kind."""

    kind: Literal["maths"] = "maths"

    directive: ClassVar[str] = "Please reason step by step, and put your final answer within \\boxed{}."

    def grade(self, text: str, gold: str, question: str, maths: base.MathsGrader) -> base.Verdict:
        """Read and compare by spelling, number and algebra."""
        _ = question
        return maths(text, gold)

    def final_answer(self, text: str, question: str) -> str | None:
        """Return what is boxed, named as the answer, or else the last number."""
        _ = question
        return final_answer(text)
