"""Practising on problems: the model's completions, what they score, and which checkpoint is best."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
# pyright: reportMissingTypeStubs=false

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from drp.engines.base import Sampling, request_seed
from drp.engines.encoding import encode
from drp.engines.slots import SlotDecoder, fits
from drp.engines.transformers_engine import stop_ids
from drp.errors import TrainingError
from drp.runs.journal import write_atomically
from drp.text.thinking import split_thinking
from drp.training.guard import all_finite
from drp.training.settings import RlSettings

BEST, STATE = "best.safetensors", "practice.json"
"""What every checkpoint of a reinforcement holds beside the trainer's own files; the state is written last."""
Right = Callable[[str, str], bool]
"""Whether an answer part gives the gold answer."""


@dataclass(frozen=True)
class Task:
    """One problem to practise on."""

    prompt: str
    """As rendered by the chat template, its messages shielded (``drp.engines.encoding``)."""
    gold: str


@dataclass(frozen=True)
class Look:
    """One checkpoint's figures on the problems set aside."""

    step: int
    accuracy: float
    tokens: float


class Practice:
    """Completions of the model under training, and what they score."""

    def __init__(
        self, tokenizer: Any, settings: RlSettings, right: Right, seed: int, device: torch.device
    ) -> None:
        self.tokenizer, self.settings, self.right, self.seed = tokenizer, settings, right, seed
        self.device = device
        self.limit = settings.limits[0]
        self.decoder: SlotDecoder | None = None
        self.stops: list[int] = []
        """What ends a completion; the model says it when it first completes something."""
        self.opened: bool = False
        self.calls = self.sampled = 0

    def complete(self, model: Any, prompts: Sequence[list[int]], temperature: float) -> list[list[int]]:
        """Return one completion of each prompt."""
        inner = model.base_model.model if hasattr(model, "peft_config") else model
        if self.decoder is None or self.decoder.model is not inner:
            if not fits(inner):
                raise TrainingError("reinforcement needs a model with plain full attention in every layer")
            slots = min(512, self.settings.prompts * self.settings.generations)
            self.stops = stop_ids(inner, self.tokenizer)
            self.decoder = SlotDecoder(inner, self.stops, slots)
        self.calls += 1
        seeds = [request_seed("rl", self.seed, self.calls, i) for i in range(len(prompts))]
        training = inner.training
        checkpointing = getattr(inner, "is_gradient_checkpointing", False)
        inner.eval()
        if checkpointing:
            inner.gradient_checkpointing_disable()
        try:
            how = Sampling(temperature=temperature, top_p=1.0, max_new_tokens=self.limit)
            rows = dict(self.decoder.decode(prompts, seeds, how))
        finally:
            if checkpointing:
                inner.gradient_checkpointing_enable()
            inner.train(training)
        self.sampled += sum(map(len, rows.values()))
        return [rows[i] for i in range(len(prompts))]

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Complete a step's prompts, as TRL asks for it: each prompt stands there once a generation."""
        ids = [encode(self.tokenizer, p) for p in prompts]
        model = trainer.accelerator.unwrap_model(trainer.model)
        return {
            "prompt_ids": ids,
            "completion_ids": self.complete(model, ids, self.settings.temperature),
            "logprobs": None,
        }

    def right_at(self, ids: list[int], gold: str) -> bool:
        """Return whether a completion ended in time with the right answer."""
        if not ids or ids[-1] not in self.stops:
            return False
        text = self.tokenizer.decode(ids[:-1], skip_special_tokens=False)
        _, answer, closed = split_thinking(text, opened=self.opened)
        return closed and self.right(answer, gold)

    def reward(self, completion_ids: list[list[int]], gold: list[str], **_: object) -> list[float | None]:
        """Return the score of each completion."""
        weight = self.settings.length_weight
        return [
            (1 - weight * len(ids) / self.limit) if self.right_at(ids, g) else 0.0
            for ids, g in zip(completion_ids, gold, strict=True)
        ]

    def look(self, model: Any, tasks: Sequence[Task], step: int) -> Look:
        """Measure a checkpoint."""
        ids = [encode(self.tokenizer, t.prompt) for t in tasks]
        found = self.complete(model, ids, 0.6)
        right = [self.right_at(c, t.gold) for c, t in zip(found, tasks, strict=True)]
        return Look(step, sum(right) / len(tasks), sum(map(len, found)) / len(tasks))


class Watch(TrainerCallback):
    """Looks at checkpoints, remembers the shortest that is accurate enough, and passes the log on.

    What it and the practice know is saved inside every checkpoint of the trainer, so that a round goes on
    from its last one as if nothing had happened.
    """

    def __init__(
        self, practice: Practice, tasks: Sequence[Task], settings: RlSettings, tell: Callable[..., None]
    ) -> None:
        self.practice, self.tasks, self.settings, self.tell = practice, tasks, settings, tell
        self.first: Look | None = None
        self.best: Look | None = None
        self.weights: dict[str, torch.Tensor] = {}
        self.left_out = 0
        """Steps left out in a row."""

    def consider(self, model: Any, step: int) -> None:
        """Look at the model as it is now, and keep its weights if it is the best so far."""
        look = self.practice.look(model, self.tasks, step)
        self.first = self.first or look
        enough = look.accuracy >= (1 - self.settings.most_loss) * self.first.accuracy
        if self.best is None or (enough and look.tokens <= self.best.tokens):
            self.best = look
            self.weights = {name: value.detach().clone() for name, value in trained_weights(model).items()}

    def on_train_begin(self, *_: Any, **fields: Any) -> None:
        """Look where the round begins, unless an earlier process has."""
        if self.first is None:
            self.consider(fields["model"], 0)

    def on_step_end(self, *positional: Any, **fields: Any) -> None:
        """Look now and then."""
        step = int(positional[1].global_step)
        if step % looking_every(self.settings) == 0:
            self.consider(fields["model"], step)

    def on_pre_optimizer_step(self, *_: Any, **fields: Any) -> None:
        """Leave a step out whose gradient is no number, rather than lose the model to it.

        Raises:
            TrainingError: It is the fifth in a row.
        """
        if all_finite(p.grad for p in fields["model"].parameters() if p.grad is not None):
            self.left_out = 0
            return
        self.left_out += 1
        fields["optimizer"].zero_grad()
        if self.left_out == 5:
            raise TrainingError(
                "five steps in a row had gradients that are no numbers; lower rl.learning_rate"
            )

    def on_save(self, *positional: Any, **_: Any) -> None:
        """Put what a checkpoint of the trainer lacks beside it; the state file comes last."""
        folder = Path(positional[0].output_dir) / f"checkpoint-{positional[1].global_step}"
        assert self.first and self.best
        save_file({n: w.contiguous() for n, w in self.weights.items()}, folder / BEST)
        state = {"calls": self.practice.calls, "sampled": self.practice.sampled}
        looks = {"first": asdict(self.first), "best": asdict(self.best)}
        write_atomically(folder / STATE, json.dumps(state | looks) + "\n")

    def restore(self, checkpoint: Path) -> None:
        """Take up what a checkpoint says."""
        state = json.loads((checkpoint / STATE).read_text())
        self.practice.calls, self.practice.sampled = state["calls"], state["sampled"]
        self.first, self.best = Look(**state["first"]), Look(**state["best"])
        self.weights = load_file(checkpoint / BEST, device=str(self.practice.device))

    def on_log(self, *positional: Any, **fields: Any) -> None:
        """Pass one line of the trainer's log on."""
        logs = fields.get("logs") or {}
        if "reward" in logs:
            self.tell(int(positional[1].global_step), logs)


def looking_every(settings: RlSettings) -> int:
    """Return how many steps lie between two looks, and between two checkpoints."""
    return max(1, settings.steps // settings.looks)


def trained_weights(model: Any) -> dict[str, Any]:
    """Return the weights under training: the adapter's, or all where there is none."""
    return get_peft_model_state_dict(model) if hasattr(model, "peft_config") else model.state_dict()
