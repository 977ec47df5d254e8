"""Reinforcement with a limit on length: GRPO by TRL, completions by our own decoder.

A completion that has not ended by the limit scores 0, so the student learns to arrive in time
(ThinkPrune); a length term in the reward makes earlier arrivals better still. Limits tighten from
round to round, and every round goes on from its shortest checkpoint that is still accurate enough.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
# pyright: reportMissingTypeStubs=false

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from drp.engines.base import request_seed
from drp.engines.slots import SlotDecoder, fits
from drp.engines.transformers_engine import load_model, load_tokenizer
from drp.errors import TrainingError
from drp.text.thinking import OPEN, split_thinking
from drp.training.settings import RlSettings, TrainSettings
from drp.training.sft import Listener, save_student

Right = Callable[[str, str], bool]
"""Whether an answer part gives the gold answer."""


@dataclass(frozen=True)
class Task:
    """One problem to practise on."""

    prompt: str
    """As rendered by the chat template."""
    gold: str


@dataclass(frozen=True)
class Look:
    """One checkpoint's figures on the problems set aside."""

    step: int
    accuracy: float
    tokens: float


class _Practice:
    """Completions of the model under training, and what they score."""

    def __init__(self, tokenizer: Any, settings: RlSettings, right: Right, seed: int) -> None:
        self.tokenizer, self.settings, self.right, self.seed = tokenizer, settings, right, seed
        self.limit = settings.limits[0]
        self.decoder: SlotDecoder | None = None
        self.opened: bool = False
        self.calls = self.sampled = 0

    def complete(self, model: Any, prompts: Sequence[list[int]], temperature: float) -> list[list[int]]:
        """Return one completion of each prompt."""
        inner = model.base_model.model if hasattr(model, "peft_config") else model
        if self.decoder is None or self.decoder.model is not inner:
            if not fits(inner):
                raise TrainingError("reinforcement needs a model with plain full attention in every layer")
            slots = min(512, self.settings.prompts * self.settings.generations)
            self.decoder = SlotDecoder(inner, [self.tokenizer.eos_token_id], slots)
        self.calls += 1
        seeds = [request_seed("rl", self.seed, self.calls, i) for i in range(len(prompts))]
        training = inner.training
        checkpointing = getattr(inner, "is_gradient_checkpointing", False)
        inner.eval()
        if checkpointing:
            inner.gradient_checkpointing_disable()
        try:
            rows = dict(
                self.decoder.decode(
                    prompts, seeds, temperature=temperature, top_p=1.0, max_new_tokens=self.limit
                )
            )
        finally:
            if checkpointing:
                inner.gradient_checkpointing_enable()
            inner.train(training)
        self.sampled += sum(map(len, rows.values()))
        return [rows[i] for i in range(len(prompts))]

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Complete a step's prompts, as TRL asks for it: each prompt stands there once a generation."""
        ids = [self.tokenizer(p, add_special_tokens=False)["input_ids"] for p in prompts]
        model = trainer.accelerator.unwrap_model(trainer.model)
        return {
            "prompt_ids": ids,
            "completion_ids": self.complete(model, ids, self.settings.temperature),
            "logprobs": None,
        }

    def right_at(self, ids: list[int], gold: str) -> bool:
        """Return whether a completion ended in time with the right answer."""
        if not ids or ids[-1] != self.tokenizer.eos_token_id:
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
        ids = [self.tokenizer(t.prompt, add_special_tokens=False)["input_ids"] for t in tasks]
        found = self.complete(model, ids, 0.6)
        right = [self.right_at(c, t.gold) for c, t in zip(found, tasks, strict=True)]
        return Look(step, sum(right) / len(tasks), sum(map(len, found)) / len(tasks))


class _Watch(TrainerCallback):
    """Looks at checkpoints, remembers the shortest that is accurate enough, and passes the log on."""

    def __init__(
        self, practice: _Practice, tasks: Sequence[Task], settings: RlSettings, tell: Callable[..., None]
    ) -> None:
        self.practice, self.tasks, self.settings, self.tell = practice, tasks, settings, tell
        self.first: Look | None = None
        self.best: Look | None = None
        self.weights: dict[str, torch.Tensor] = {}

    def consider(self, model: Any, step: int) -> None:
        look = self.practice.look(model, self.tasks, step)
        self.first = self.first or look
        enough = look.accuracy >= (1 - self.settings.most_loss) * self.first.accuracy
        if self.best is None or (enough and look.tokens <= self.best.tokens):
            self.best = look
            self.weights = {name: value.detach().clone() for name, value in _weights(model).items()}

    def on_train_begin(self, *_: Any, **fields: Any) -> None:
        """Look where the round begins."""
        self.consider(fields["model"], 0)

    def on_step_end(self, *positional: Any, **fields: Any) -> None:
        """Look now and then."""
        step = int(positional[1].global_step)
        if step % max(1, self.settings.steps // self.settings.looks) == 0:
            self.consider(fields["model"], step)

    def on_log(self, *positional: Any, **fields: Any) -> None:
        """Pass one line of the trainer's log on."""
        logs = fields.get("logs") or {}
        if "reward" in logs:
            self.tell(int(positional[1].global_step), logs)


def _weights(model: Any) -> dict[str, Any]:
    return get_peft_model_state_dict(model) if hasattr(model, "peft_config") else model.state_dict()


def reinforce(
    model_path: str,
    tasks: Sequence[Task],
    settings: RlSettings,
    lora: TrainSettings,
    out: Path,
    right: Right,
    *,
    device: str = "auto",
    dtype: str = "auto",
    listen: Listener = lambda *_: None,
) -> int:
    """Train on problems alone, one round a limit; leaves ``model/`` under ``out``. A killed round starts anew.

    Returns:
        How many tokens were sampled in this process.

    Raises:
        TrainingError: There are too few problems, or the model cannot be decoded in slots.
    """
    aside, rest = tasks[: settings.validation], tasks[settings.validation :]
    if len(rest) < settings.prompts:
        need = settings.validation + settings.prompts
        raise TrainingError(f"{len(tasks)} problems are too few: reinforcement needs {need} or more")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollouts by a function are its experiment
    tokenizer = load_tokenizer(model_path)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    practice = _Practice(tokenizer, settings, right, lora.seed)
    practice.opened = tasks[0].prompt.rstrip().endswith(OPEN)
    path, last = model_path, ""
    for number, limit in enumerate(settings.limits):
        last = str(out / f"round-{number}")
        if not (Path(last) / "model").exists():
            practice.limit = limit
            before = number * settings.steps

            def tell(step: int, logs: dict[str, Any], before: int = before) -> None:
                figures = {k: float(logs[k]) for k in ("reward", "learning_rate", "grad_norm") if k in logs}
                figures["loss"] = float(logs.get("loss", 0.0))
                figures["tokens"] = float(logs.get("completions/mean_length", 0.0))
                listen(before + step, len(settings.limits) * settings.steps, figures)

            watch = _Watch(practice, aside, settings, tell)
            _round(path, rest, settings, lora, Path(last), practice, watch, tokenizer, device, dtype)
        path = str(Path(last) / "model")
    shutil.copytree(Path(last) / "model", out / "model.tmp", dirs_exist_ok=True)
    (out / "model.tmp").rename(out / "model")
    return practice.sampled


def _round(
    path: str,
    tasks: Sequence[Task],
    settings: RlSettings,
    lora: TrainSettings,
    out: Path,
    practice: _Practice,
    watch: _Watch,
    tokenizer: Any,
    device: str,
    dtype: str,
) -> None:
    model = load_model(path, device, dtype)
    adapter = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=practice.reward,
        args=_config(settings, lora, out / "work", practice.limit, model.device),
        train_dataset=Dataset.from_list([{"prompt": t.prompt, "gold": t.gold} for t in tasks]),
        processing_class=tokenizer,
        peft_config=adapter if settings.lora else None,
        rollout_func=practice.rollout,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    tuned: Any = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora:
        set_peft_model_state_dict(tuned, watch.weights)
        save_student(tuned, tokenizer, path, out)
    else:
        tuned.load_state_dict(watch.weights)
        stored = load_model(path, "cpu", "float32")
        stored.load_state_dict(watch.weights)
        stored.to(torch.bfloat16).save_pretrained(out / "model.tmp")  # pyright: ignore[reportArgumentType]
        tokenizer.save_pretrained(out / "model.tmp")
        (out / "model.tmp").rename(out / "model")
    shutil.rmtree(out / "work", ignore_errors=True)
    practice.decoder = None


def _config(
    settings: RlSettings, lora: TrainSettings, work: Path, limit: int, device: torch.device
) -> GRPOConfig:
    batch = settings.prompts * settings.generations
    device_batch = min(settings.device_batch, batch)
    while batch % device_batch:
        device_batch -= 1
    gpu = device.type == "cuda"
    return GRPOConfig(
        output_dir=str(work),
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=batch // device_batch,
        num_generations=settings.generations,
        max_completion_length=limit,
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=10,
        beta=settings.kl,
        temperature=settings.temperature,
        bf16=gpu,
        use_cpu=not gpu,
        gradient_checkpointing=False,
        seed=lora.seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=True,
        mask_truncated_completions=False,
    )
