"""What every method says about itself: the stages it needs and what comes out of them to train on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drp.engines.base import Sampling
from drp.recipe import PromptSettings, Recipe
from drp.records import Problem, PrunedTrace, Target, Trace

PromptOf = Callable[[Problem], PromptSettings]


class Workshop(Protocol):
    """What a method works with: the recipe, the records on file, and a way to draw more traces."""

    recipe: Recipe

    def traces(self) -> list[Trace]:
        """Return the student's own traces."""
        ...

    def pruned(self) -> list[PrunedTrace]:
        """Return the pruned traces, accepted or not."""
        ...

    def training_problems(self) -> list[Problem]:
        """Return the training problems."""
        ...

    def explored(self, name: str) -> list[Trace]:
        """Return what stage ``explore`` drew under ``name``."""
        ...

    def explore_with(
        self,
        name: str,
        problems: Sequence[Problem],
        why: dict[str, object],
        *,
        model: Callable[[Path], str] | None = None,
        prompt_of: PromptOf | None = None,
        sampling: Sampling | None = None,
    ) -> list[Trace]:
        """Draw one trace of each problem into ``explore/<name>``, resuming.

        Args:
            name: Folder under ``explore``.
            problems: What to draw.
            why: What defines these traces beside the settings of generate.
            model: Makes another model in the given folder and returns its path; it is removed afterwards.
            prompt_of: A prompt for each problem instead of the recipe's.
            sampling: Instead of that of generate.
        """
        ...


@dataclass(frozen=True)
class Method:
    """A way to a shorter student."""

    name: str
    stages: tuple[str, ...]
    """What is done before evaluation, in order; the last one leaves the model, unless only prompts differ."""
    summary: str
    """One line for ``--dry-run``."""
    targets: Callable[[Workshop], list[Target]] | None = None
    """What to fine-tune on; ``None`` where the student practises on problems, or is not trained."""
    explore: Callable[[Workshop], None] | None = None
    """Draws what the method needs beyond the student's own traces."""
    defining: Callable[[Recipe], object] = lambda _: None
    """The settings of the method that define what it trains."""


def of_trace(trace: Trace, own: Trace | None = None, phase: int = 0) -> Target:
    """Return a trace as a target as it stands."""
    own = own or trace
    return Target(
        id=trace.id, question=trace.question, thinking=trace.thinking, answer=trace.answer,
        own_thinking=own.thinking, own_answer=own.answer, phase=phase,
    )  # fmt: skip


def usable(trace: Trace) -> bool:
    """Return whether a trace can be learnt from as it stands: closed, answered, right."""
    return bool(trace.closed and trace.correct and trace.answer.strip())
