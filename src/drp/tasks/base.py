"""What every task says of itself, and the registry of tasks."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from drp.kinds import Kind, Registry
from drp.records import Record
from drp.text.answers import Reading


class Verdict(Record):
    """Whether an answer is right, and by what it was known in its text."""

    correct: bool
    reading: Reading | None = None
    """``None`` where the text has no answer."""


MathsGrader = Callable[[str, str], Verdict]
"""The grader of mathematical answers, which any task may lean on: ``maths(text, gold)``."""


class Task(Kind):
    """A kind of problem. It has no settings: which task a problem is of stands in every record, by its kind."""

    directive: ClassVar[str]
    """What a prompt asks for beside the question; ``{directive}`` in `prompt.template` stands for it."""
    unchecked: ClassVar[frozenset[str]] = frozenset()
    """Checks of pruned traces that say nothing about problems of this kind: recorded, not required."""

    def posed(self, question: str, gold: str, options: Sequence[str]) -> tuple[str, str]:
        """Return the question as it is asked and its gold answer, from a row that may list options beside them."""
        _ = options
        return question, gold

    @abstractmethod
    def grade(self, text: str, gold: str, question: str, maths: MathsGrader) -> Verdict:
        """Read the final answer that a text states, and compare it with the gold answer.

        Args:
            text: What is graded: an answer part, or a whole completion.
            gold: The gold answer.
            question: The question, for tasks whose answers point into it.
            maths: Grades mathematical answers.
        """

    @abstractmethod
    def final_answer(self, text: str, question: str) -> str | None:
        """Return the final answer that a text states, or ``None`` for none."""

    def statement(self, answer: str) -> str:
        """Return the sentence that states an answer, which ``prune.answer=short`` puts in place of the answer part."""
        return f"The answer is \\boxed{{{answer}}}."


TASKS: Registry[Task] = Registry(
    "task",
    "drp.tasks",
    Task,
    {
        "maths": "drp.tasks.maths:Maths",
        "multiple_choice": "drp.tasks.multiple_choice:MultipleChoice",
    },
)


def task_of(name: str) -> Task:
    """Return the task of a kind.

    Raises:
        ValueError: There is no such kind.
    """
    return TASKS.settings(name)(kind=name)
