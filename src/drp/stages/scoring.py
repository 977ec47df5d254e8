"""Scoring texts under the student: how natural a pruned trace is to it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from drp.engines.identity import resolve_model
from drp.engines.prompting import prompt_messages
from drp.errors import MissingExtraError
from drp.recipe import PromptSettings, StudentSettings


class Scorer(Protocol):
    """Returns the NLL per token of responses to a question."""

    async def __call__(
        self, question: str, responses: Sequence[tuple[str, str]], task: str = "maths"
    ) -> list[float]:
        """Return mean NLL per response token, in nats, of each (thinking, answer)."""
        ...


class StudentScorer:
    """Scores with the student's own weights; one call at a time."""

    def __init__(self, student: StudentSettings, prompt: PromptSettings) -> None:
        try:
            from drp.engines.transformers_engine import load_model, load_tokenizer
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        path = resolve_model(student.source)
        self.prompt, self.tags = prompt, student.thinking_tags
        self._tokenizer = load_tokenizer(path)
        self._model = load_model(path, student.device, student.dtype)
        self._one_at_a_time = asyncio.Lock()

    async def __call__(
        self, question: str, responses: Sequence[tuple[str, str]], task: str = "maths"
    ) -> list[float]:
        """Return mean NLL per response token, in nats, of each (thinking, answer)."""
        from drp.training.examples import build_example
        from drp.training.learnability import summed_nll

        messages = [m.model_dump() for m in prompt_messages(self.prompt, question, task)]
        arguments = self.prompt.template_arguments
        examples = [
            build_example(self._tokenizer, "", messages, thinking, answer, arguments, self.tags)
            for thinking, answer in responses
        ]
        async with self._one_at_a_time:
            found = await asyncio.to_thread(summed_nll, self._model, examples)
        return [total / max(1, tokens) for total, tokens in found]
