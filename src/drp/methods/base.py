"""What every method says about itself: the stages it needs and what comes out of them to train on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from drp.engines.base import Sampling
from drp.engines.settings import PromptSettings, StudentSettings
from drp.kinds import Kind
from drp.records import Problem, PrunedTrace, Target, Trace
from drp.runs import layout
from drp.teachers.registry import TeacherSettings
from drp.training.settings import GrpoSettings

PromptOf = Callable[[Problem], PromptSettings]


class MethodContext(Protocol):
    """What a method works with: the student, the records on file, and a way to draw more traces."""

    @property
    def student(self) -> StudentSettings:
        """The model to shorten."""
        ...

    @property
    def prompt(self) -> PromptSettings:
        """How it is asked."""
        ...

    @property
    def evaluation_sampling(self) -> Sampling:
        """How it is evaluated."""
        ...

    def traces(self) -> Sequence[Trace]:
        """Return the student's own traces."""
        ...

    def pruned(self) -> Sequence[PrunedTrace]:
        """Return the pruned traces, accepted or not."""
        ...

    def training_problems(self) -> list[Problem]:
        """Return the training problems."""
        ...

    def explored(self, name: str) -> Sequence[Trace]:
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
    ) -> Sequence[Trace]:
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


class MethodSettings(Kind):
    """A way to a shorter student; each kind adds its settings and says what it does."""

    trains_on: ClassVar[Literal["texts", "problems", "nothing"]] = "texts"
    """Fine-tuning on texts, reinforcement on problems, or no training: only the prompts differ."""
    stages: ClassVar[tuple[str, ...]] = (layout.GENERATE, layout.TRAIN)
    """What is done before evaluation, in order."""
    summary: ClassVar[str] = ""
    """One line for ``--dry-run``."""
    learns_solutions: ClassVar[bool] = False
    """Whether its teacher must write solutions of its own instead of editing the student's traces."""
    has_pairs: ClassVar[bool] = False
    """Whether its texts differ from the student's own traces, so that one can be preferred to the other."""
    needs_pairs: ClassVar[bool] = False
    """Whether it is a training by preference and nothing else."""
    least_samples: ClassVar[int] = 1
    """How many traces of each problem it needs (``generate.samples``)."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.kind

    def check(self, teacher: TeacherSettings) -> None:
        """Look whether a recipe's teacher is one for this method.

        Raises:
            ValueError: It is not; the message says what is.
        """
        if self.learns_solutions and teacher.prunes:
            raise ValueError(
                f"method {self.kind} needs a teacher that writes solutions of its own: prune.teacher=direct (a language model) "
                "or mini_direct"
            )

    def targets(self, context: MethodContext) -> Sequence[Target]:
        """Return the texts to fine-tune on."""
        _ = context
        return []

    def explore(self, context: MethodContext) -> None:
        """Draw what the method needs beyond the student's own traces."""
        _ = context

    def prompts_for(self, context: MethodContext, problems: Sequence[Problem]) -> PromptOf:
        """Return the prompts of a method that trains nothing."""
        _ = problems
        return lambda _: context.prompt

    @property
    def reinforcement(self) -> GrpoSettings | None:
        """The settings of reinforcement, for a method that trains on problems."""
        return None

    def defining_training(self) -> object:
        """Return which of the settings define what is trained, or ``None`` for none of them."""
        return None

    def defining_prompts(self) -> dict[str, object]:
        """Return which of the settings define the prompts of a method that trains nothing."""
        return {}


def of_trace(trace: Trace, own: Trace | None = None, phase: int = 0) -> Target:
    """Return a trace as a target as it stands."""
    own = own or trace
    return Target(
        id=trace.id,
        question=trace.question,
        thinking=trace.thinking,
        answer=trace.answer,
        own_thinking=own.thinking,
        own_answer=own.answer,
        task=trace.task,
        phase=phase,
    )


def usable(trace: Trace) -> bool:
    """Return whether a trace can be learnt from as it stands: closed, answered, right."""
    return bool(trace.closed and trace.correct and trace.answer.strip())


def tokens_of(trace: Trace) -> int:
    """Return the tokens of a completion, or about so many where they were not counted."""
    return trace.usage.completion_tokens if trace.usage else max(1, len(trace.thinking) // 4)
