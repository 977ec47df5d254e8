"""Reinforcement with a limit on length: GRPO by TRL, completions by our own decoder.

A completion that has not ended by the limit scores 0, so the student learns to arrive in time
(ThinkPrune); a length term in the reward makes earlier arrivals better still. Limits tighten from
round to round, and every round goes on from its shortest checkpoint that is still accurate enough.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
# pyright: reportMissingTypeStubs=false

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from drp.engines.transformers_engine import load_model, load_tokenizer
from drp.errors import TrainingError
from drp.runs import layout
from drp.runs.journal import write_atomically
from drp.training.checkpoints import STATE, CheckpointEvaluation, RoundState, steps_between
from drp.training.credit import advantages
from drp.training.device import forward_batch, on_one_device
from drp.training.guard import LeaveOut
from drp.training.order import OrderedByEpoch
from drp.training.rollouts import Concludes, Drawn, IsCorrect, Judge, Rollouts, Scoring, Task
from drp.training.saving import save_model, save_student, stored_dtype
from drp.training.settings import GrpoSettings, StudentModel, TrainSettings
from drp.training.sft import Listener, last_checkpoint, unheard
from drp.training.tracking import tracking

COUNTS = "counts.json"
"""What had been sampled when a round ended, in its folder."""


class Reinforcer(OrderedByEpoch, GRPOTrainer):
    """GRPO whose log probabilities are 0 at padding, under the model and under the reference alike.

    The loss holds ``exp(reference - model)`` for every position and is masked afterwards. At padding the difference of
    two sharp models may be beyond what the exponential can hold, and infinity times the mask's nothing is no number,
    in the loss and in every gradient. TRL before 1.15 returns what the models think of padding; later ones return 0.
    """

    judge: Judge | None = None
    """Set where not every token answers for the length of its completion."""
    generations: int
    """Completions a problem; set with it."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if self.judge:
            made = advantages(self.judge.latest, self.generations, batch["completion_ids"].shape[1])
            batch["advantages"] = made.to(batch["advantages"])
        return batch

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *more: Any, **fields: Any
    ) -> Any:
        found = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *more, **fields
        )
        logps, *rest = found
        return (logps.masked_fill(attention_mask[:, -logits_to_keep:] == 0, 0.0), *rest)


class _Log(TrainerCallback):
    """Passes the trainer's log on, with steps counted over all rounds."""

    def __init__(self, listen: Listener, before: int, total: int) -> None:
        self.listen, self.before, self.total = listen, before, total

    def on_log(self, *positional: Any, **fields: Any) -> None:
        """Pass one line on."""
        logs = fields.get("logs") or {}
        if "reward" in logs:
            names = ("reward", "learning_rate", "grad_norm", "loss")
            figures = {name: float(logs[name]) for name in names if name in logs}
            figures["tokens"] = float(logs.get("completions/mean_length", 0.0))
            self.listen(self.before + int(positional[1].global_step), self.total, figures)


def resumed_step(out: Path, settings: GrpoSettings) -> int:
    """Return after how many steps, over all rounds, an interrupted reinforcement under ``out`` goes on."""
    for number in range(len(settings.limits)):
        if not (out / layout.training_part("round", number) / layout.MODEL).exists():
            _, step = last_checkpoint(out / layout.training_part("round", number), STATE)
            return number * settings.steps + step
    return len(settings.limits) * settings.steps


@dataclass(frozen=True)
class Reinforcement:
    """Training on problems alone, one round a limit."""

    student: StudentModel
    settings: GrpoSettings
    adapter: TrainSettings
    """Of which rank, alpha and seed count here."""
    is_correct: IsCorrect
    listen: Listener = unheard
    concludes: Concludes | None = None
    """Needed for ``length_credit: conclusion``."""

    def run(self, tasks: Sequence[Task], out: Path) -> int:
        """Leave ``model/`` under ``out``.

        An interrupted call is continued from its last checkpoint.

        Returns:
            How many tokens were sampled, in interrupted calls too.

        Raises:
            TrainingError: There are too few problems, or the model cannot be decoded in slots.
        """
        settings = self.settings
        need = settings.validation + settings.prompts
        if len(tasks) < need:
            raise TrainingError(f"{len(tasks)} problems are too few: reinforcement needs {need} or more")
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollouts by a function are its experiment
        tokenizer = load_tokenizer(self.student.path)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        student, drawn, last = self.student, Drawn(), out
        for number in range(len(settings.limits)):
            last = out / layout.training_part("round", number)
            if not (last / layout.MODEL).exists():
                _Round(self, student, tokenizer, number, last).run(tasks, drawn)
            drawn = Drawn(*json.loads((last / COUNTS).read_text()))
            student = replace(student, path=str(last / layout.MODEL))
        shutil.copytree(last / layout.MODEL, out / f"{layout.MODEL}.tmp", dirs_exist_ok=True)
        (out / f"{layout.MODEL}.tmp").rename(out / layout.MODEL)
        return drawn.sampled


@dataclass(frozen=True)
class _Round:
    """One round of a reinforcement: from a student to its best checkpoint under one limit."""

    how: Reinforcement
    student: StudentModel
    tokenizer: Any
    number: int
    out: Path

    def run(self, tasks: Sequence[Task], drawn: Drawn) -> None:
        settings, seed, limit = self.how.settings, self.how.adapter.seed, self._limit
        model, checkpoint = self._load(), last_checkpoint(self.out, STATE)[0]
        state = RoundState.read(checkpoint, model.device) if checkpoint else None
        rollouts = Rollouts(model, self.tokenizer, settings, limit, seed, state.drawn if state else drawn)
        tags = self.student.tags
        scoring = Scoring(
            self.tokenizer,
            rollouts.stops,
            tags.end(tasks[0].prompt),
            self.how.is_correct,
            limit,
            settings.length_weight,
            tags,
            settings.length_by_pass_rate,
            self.how.concludes if settings.length_credit == "conclusion" else None,
        )
        judge = Judge(scoring)
        aside, rest = tasks[: settings.validation], tasks[settings.validation :]
        evaluation = CheckpointEvaluation(rollouts, scoring, aside, settings, state)
        log = _Log(self.how.listen, self.number * settings.steps, len(settings.limits) * settings.steps)
        trainer = Reinforcer(
            model=model,
            reward_funcs=judge.reward,
            args=on_one_device(self._config(model.device), model.device),
            train_dataset=Dataset.from_list([{"prompt": t.prompt, "gold": t.gold} for t in rest]),
            processing_class=self.tokenizer,
            peft_config=self._lora(),
            rollout_func=rollouts.draw,
            callbacks=[evaluation, LeaveOut(), log],
        )
        if settings.length_credit == "conclusion":
            trainer.judge, trainer.generations = judge, settings.generations
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        counts = [rollouts.drawn.calls, rollouts.drawn.sampled]
        write_atomically(self.out / COUNTS, json.dumps(counts) + "\n")
        self._save(trainer.accelerator.unwrap_model(trainer.model), evaluation.weights)
        shutil.rmtree(self.out / layout.CHECKPOINTS, ignore_errors=True)
        rollouts.close()

    @property
    def _limit(self) -> int:
        return self.how.settings.limits[self.number]

    def _load(self) -> Any:
        # All weights are trained in float32: steps of 1e-6 would be lost to bfloat16's rounding.
        given = self.how.settings.lora or self.student.dtype != "auto"
        return load_model(self.student.path, self.student.device, self.student.dtype if given else "float32")

    def _lora(self) -> LoraConfig | None:
        if not self.how.settings.lora:
            return None
        adapter = self.how.adapter
        return LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )

    def _save(self, tuned: Any, weights: dict[str, torch.Tensor]) -> None:
        """Save the model with the weights of its best checkpoint."""
        if self.how.settings.lora:
            set_peft_model_state_dict(tuned, weights)
            how = "reinforced (GRPO) on problems, with a limit on length"
            save_student(tuned, self.tokenizer, self.student.path, self.out, how)
        else:
            tuned.load_state_dict(weights)
            half = self.out / f"{layout.MODEL}.tmp"
            save_model(tuned.to(stored_dtype(self.student.path)), self.tokenizer, half)
            half.rename(self.out / layout.MODEL)

    def _config(self, device: torch.device) -> GRPOConfig:
        settings = self.how.settings
        batch = settings.prompts * settings.generations
        device_batch = forward_batch(batch, settings.device_batch)
        gpu = device.type == "cuda"
        return GRPOConfig(
            output_dir=str(self.out / layout.CHECKPOINTS),
            per_device_train_batch_size=device_batch,
            gradient_accumulation_steps=batch // device_batch,
            num_generations=settings.generations,
            max_completion_length=self._limit,
            max_steps=settings.steps,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=10,
            beta=settings.kl,
            temperature=settings.temperature,
            bf16=gpu,
            use_cpu=not gpu,
            gradient_checkpointing=False,
            seed=self.how.adapter.seed,
            logging_steps=1,
            logging_nan_inf_filter=False,  # a loss that is no number must show
            save_strategy="steps",
            save_steps=steps_between(settings),
            save_total_limit=2,  # the newest may lack its last file
            **tracking(self.how.adapter.tracker, self.out),
            disable_tqdm=True,
            shuffle_dataset=True,
            mask_truncated_completions=False,
        )
