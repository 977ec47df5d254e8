"""Checkpoint evaluation: each checkpoint of a GRPO round on problems set aside, and the best of them kept."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportPrivateImportUsage=false

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from drp.engines.encoding import encode
from drp.runs.journal import write_atomically
from drp.training.rollouts import Drawn, Rollouts, Scoring, Task
from drp.training.settings import GrpoSettings

BEST, STATE = "best.safetensors", "round.json"
"""What every checkpoint of a reinforcement holds beside the trainer's own files; the state is written last."""
TEMPERATURE = 0.6
"""Of the completions that checkpoints are compared by."""


@dataclass(frozen=True)
class Evaluated:
    """One checkpoint's figures on the problems set aside."""

    step: int
    accuracy: float
    tokens: float
    """Mean new tokens."""


@dataclass(frozen=True)
class RoundState:
    """What a round knows beside what the trainer saves, so that it goes on as if nothing had happened."""

    drawn: Drawn
    first: Evaluated
    """The model that the round began with."""
    best: Evaluated
    weights: dict[str, torch.Tensor]
    """Those under training, at the best checkpoint."""

    def write(self, checkpoint: Path) -> None:
        """Put it beside the trainer's files of a checkpoint."""
        save_file({name: weight.contiguous() for name, weight in self.weights.items()}, checkpoint / BEST)
        state = asdict(self.drawn) | {"first": asdict(self.first), "best": asdict(self.best)}
        write_atomically(checkpoint / STATE, json.dumps(state) + "\n")

    @classmethod
    def read(cls, checkpoint: Path, device: torch.device) -> "RoundState":
        """Return what a checkpoint holds."""
        state = json.loads((checkpoint / STATE).read_text())
        return cls(
            Drawn(state["calls"], state["sampled"]),
            Evaluated(**state["first"]),
            Evaluated(**state["best"]),
            load_file(checkpoint / BEST, device=str(device)),
        )


class CheckpointEvaluation(TrainerCallback):
    """Evaluates the checkpoints of a round and keeps the weights of the shortest that is accurate enough.

    Args:
        rollouts: What completes the problems.
        scoring: What tells right completions.
        tasks: The problems set aside.
        settings: How often, and how much accuracy may be lost.
        state: Where an interrupted round stood.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        scoring: Scoring,
        tasks: Sequence[Task],
        settings: GrpoSettings,
        state: RoundState | None = None,
    ) -> None:
        self.rollouts, self.scoring, self.settings = rollouts, scoring, settings
        self.first = state.first if state else None
        self.best = state.best if state else None
        self.weights = state.weights if state else {}
        self._golds = [task.gold for task in tasks]
        self._prompts = [encode(rollouts.tokenizer, task.prompt) for task in tasks]

    def evaluate(self, step: int) -> Evaluated:
        """Return the figures of the model as it is now."""
        found = self.rollouts.complete(self._prompts, TEMPERATURE)
        solved = [self.scoring.solves(ids, gold) for ids, gold in zip(found, self._golds, strict=True)]
        return Evaluated(step, sum(solved) / len(found), sum(map(len, found)) / len(found))

    def consider(self, model: Any, step: int) -> None:
        """Evaluate the model as it is now, and keep its weights if it is the best so far."""
        now = self.evaluate(step)
        self.first = self.first or now
        enough = now.accuracy >= (1 - self.settings.most_loss) * self.first.accuracy
        if self.best is None or (enough and now.tokens <= self.best.tokens):
            self.best = now
            self.weights = {name: value.detach().clone() for name, value in trained_weights(model).items()}

    def on_train_begin(self, *_: Any, **fields: Any) -> None:
        """Evaluate where the round begins, unless an earlier process has."""
        if self.first is None:
            self.consider(fields["model"], 0)

    def on_step_end(self, *positional: Any, **fields: Any) -> None:
        """Evaluate at every checkpoint."""
        step = int(positional[1].global_step)
        if step % steps_between(self.settings) == 0:
            self.consider(fields["model"], step)

    def on_save(self, *positional: Any, **_: Any) -> None:
        """Put what a checkpoint of the trainer lacks beside it."""
        assert self.first and self.best
        state = RoundState(self.rollouts.drawn, self.first, self.best, self.weights)
        state.write(Path(positional[0].output_dir) / f"checkpoint-{positional[1].global_step}")


def steps_between(settings: GrpoSettings) -> int:
    """Return how many steps lie between two checkpoints."""
    return max(1, settings.steps // settings.checkpoints)


def trained_weights(model: Any) -> dict[str, Any]:
    """Return the weights under training: the adapter's, or all where there is none."""
    return get_peft_model_state_dict(model) if hasattr(model, "peft_config") else model.state_dict()
