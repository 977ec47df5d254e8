"""Rollouts: the completions that GRPO trains on, and what they score."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from drp.engines.base import Sampling, request_seed
from drp.engines.encoding import encode
from drp.engines.slots import SlotDecoder, fits
from drp.engines.transformers_engine import stop_ids
from drp.errors import TrainingError
from drp.text.thinking import THINK, Tags, split_thinking
from drp.training.credit import Score, tokens_until
from drp.training.settings import GrpoSettings

MOST_SLOTS = 512
"""Most completions decoded together."""
IsCorrect = Callable[[str, str], bool]
"""Whether an answer part is right: ``is_correct(answer, gold)``, with the task's own ``gold``."""
Concludes = Callable[[str, str, str], int | None]
"""How many characters of a thinking there are up to the end of its conclusion: ``concludes(gold, thinking, answer)``."""


@dataclass(frozen=True)
class Task:
    """One problem to draw rollouts of."""

    prompt: str
    """As rendered by the chat template, its messages shielded (``drp.engines.encoding``)."""
    gold: str


@dataclass(frozen=True)
class Drawn:
    """What a reinforcement has sampled so far, over all rounds and processes."""

    calls: int = 0
    """Batches of completions; the next one's number is part of its seeds."""
    sampled: int = 0
    """Tokens."""


class Rollouts:
    """Draws completions of the model under training, in slots that serve one batch after another.

    Args:
        model: The model itself: training changes its weights, or those of an adapter put into its layers.
        tokenizer: Its tokenizer.
        settings: Rollouts a step, and their temperature.
        limit: Most new tokens of a completion.
        seed: Seed of the reinforcement.
        drawn: What was sampled before.

    Raises:
        TrainingError: The model cannot be decoded in slots.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any,
        settings: GrpoSettings,
        limit: int,
        seed: int,
        drawn: Drawn,
    ) -> None:
        if not fits(model):
            raise TrainingError("reinforcement needs a model with plain full attention in every layer")
        self.tokenizer, self.settings = tokenizer, settings
        self.limit, self.seed, self.drawn = limit, seed, drawn
        self.stops = stop_ids(model, tokenizer)
        """What ends a completion."""
        self._decoder = SlotDecoder(
            model, self.stops, min(MOST_SLOTS, settings.prompts * settings.generations)
        )

    def complete(self, prompts: Sequence[list[int]], temperature: float) -> list[list[int]]:
        """Return one completion of each prompt, the stop token included."""
        model: Any = self._decoder.model
        number = self.drawn.calls + 1
        seeds = [request_seed("rl", self.seed, number, i) for i in range(len(prompts))]
        training, checkpointing = model.training, getattr(model, "is_gradient_checkpointing", False)
        model.eval()
        if checkpointing:
            model.gradient_checkpointing_disable()
        try:
            how = Sampling(temperature=temperature, top_p=1.0, max_new_tokens=self.limit)
            rows = dict(self._decoder.decode(prompts, seeds, how))
        finally:
            if checkpointing:
                model.gradient_checkpointing_enable()
            model.train(training)
        self.drawn = Drawn(number, self.drawn.sampled + sum(map(len, rows.values())))
        return [rows[i] for i in range(len(prompts))]

    def draw(self, prompts: list[str], _: Any) -> dict[str, Any]:
        """Complete a step's prompts, as TRL asks for it: each prompt stands there once a generation."""
        ids = [encode(self.tokenizer, p) for p in prompts]
        return {
            "prompt_ids": ids,
            "completion_ids": self.complete(ids, self.settings.temperature),
            "logprobs": None,
        }

    def close(self) -> None:
        """Let the caches go, which the trainer's cycles would hold."""
        del self._decoder


@dataclass(frozen=True)
class Scoring:
    """What a completion scores: 1 for a right answer in time, less a share for its length, or else 0."""

    tokenizer: Any
    stops: Sequence[int]
    """What ends a completion; one that ends in none of them was cut off at the limit."""
    opened: bool
    """Whether prompts end in the opening tag of the thinking."""
    is_correct: IsCorrect
    limit: int
    length_weight: float = 0.0
    tags: Tags = THINK
    by_pass_rate: bool = False
    """Whether the weight counts times the share of a problem's completions that are right."""
    concludes: Concludes | None = None
    """Finds the conclusion, where only tokens behind it are held against a completion."""

    def solves(self, ids: list[int], gold: str) -> bool:
        """Return whether a completion ended in time with the right answer."""
        return self._read(ids, gold) is not None

    def _read(self, ids: list[int], gold: str) -> tuple[str, str, str] | None:
        """Return the text, thinking and answer of a completion that ended in time with the right answer."""
        if not ids or ids[-1] not in self.stops:
            return None
        text = self.tokenizer.decode(ids[:-1], skip_special_tokens=False)
        thinking, answer, closed = split_thinking(text, opened=self.opened, tags=self.tags)
        return (text, thinking, answer) if closed and self.is_correct(answer, gold) else None

    def scores(self, completion_ids: Sequence[list[int]], gold: Sequence[str]) -> list[Score]:
        """Return what each of a step's completions scores; ``gold`` tells which are of the same problem."""
        read = [self._read(ids, g) for ids, g in zip(completion_ids, gold, strict=True)]
        drawn, solved = Counter(gold), Counter(g for g, found in zip(gold, read, strict=True) if found)
        made: list[Score] = []
        for ids, problem, found in zip(completion_ids, gold, read, strict=True):
            if found is None:
                made.append(Score(right=False))
                continue
            rate = solved[problem] / drawn[problem] if self.by_pass_rate else 1.0
            start = self._start(ids, problem, *found)
            share = (len(ids) - start) / self.limit
            made.append(Score(right=True, length=-self.length_weight * rate * share, start=start))
        return made

    def _start(self, ids: list[int], problem: str, text: str, thinking: str, answer: str) -> int:
        """Return the first token that is held against a right completion; all are, where no sentence concludes."""
        end = self.concludes(problem, thinking, answer) if self.concludes and self.length_weight else None
        return 0 if end is None else tokens_until(self.tokenizer, ids, text.index(thinking) + end)


@dataclass
class Judge:
    """Scores a step's completions as TRL asks for it, and remembers them until the advantages are made of them."""

    scoring: Scoring
    latest: Sequence[Score] = ()

    def reward(self, completion_ids: list[list[int]], gold: list[str], **_: object) -> list[float | None]:
        """Return the score of each completion."""
        self.latest = self.scoring.scores(completion_ids, gold)
        return [score.reward for score in self.latest]
