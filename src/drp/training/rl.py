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
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from drp.engines.transformers_engine import load_model, load_tokenizer, pick_device
from drp.errors import TrainingError
from drp.runs import layout
from drp.runs.journal import write_atomically
from drp.text.thinking import OPEN
from drp.training.device import on_one_device
from drp.training.practice import STATE, Practice, Right, Task, Watch, looking_every
from drp.training.saving import save_model, save_student, stored_dtype
from drp.training.settings import RlSettings, TrainSettings
from drp.training.sft import Listener, last_checkpoint


class Reinforcer(GRPOTrainer):
    """GRPO whose log probabilities are 0 at padding, under the model and under the reference alike.

    The loss holds ``exp(reference - model)`` for every position and is masked afterwards. At padding the difference of
    two sharp models may be beyond what the exponential can hold, and infinity times the mask's nothing is no number,
    in the loss and in every gradient. TRL before 1.15 returns what the models think of padding; later ones return 0.
    """

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *more: Any, **fields: Any
    ) -> Any:
        found = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *more, **fields
        )
        logps, *rest = found
        return (logps.masked_fill(attention_mask[:, -logits_to_keep:] == 0, 0.0), *rest)


def resumed_step(out: Path, settings: RlSettings) -> int:
    """Return after how many steps, over all rounds, an interrupted reinforcement under ``out`` goes on."""
    for number in range(len(settings.limits)):
        if not (out / layout.training_part("round", number) / layout.MODEL).exists():
            _, step = last_checkpoint(out / layout.training_part("round", number), STATE)
            return number * settings.steps + step
    return len(settings.limits) * settings.steps


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
    """Train on problems alone, one round a limit; leaves ``model/`` under ``out``.

    An interrupted call is continued from its last checkpoint, of which there is one for every look.

    Returns:
        How many tokens were sampled, in interrupted calls too.

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
    practice = Practice(tokenizer, settings, right, lora.seed, pick_device(device))
    practice.opened = tasks[0].prompt.rstrip().endswith(OPEN)
    path, last = model_path, ""
    for number, limit in enumerate(settings.limits):
        last = str(out / layout.training_part("round", number))
        counts = Path(last) / "counts.json"
        if (Path(last) / layout.MODEL).exists():
            practice.calls, practice.sampled = json.loads(counts.read_text())
        else:
            practice.limit = limit
            before = number * settings.steps

            def tell(step: int, logs: dict[str, Any], before: int = before) -> None:
                figures = {
                    k: float(logs[k]) for k in ("reward", "learning_rate", "grad_norm", "loss") if k in logs
                }
                figures["tokens"] = float(logs.get("completions/mean_length", 0.0))
                listen(before + step, len(settings.limits) * settings.steps, figures)

            watch = Watch(practice, aside, settings, tell)
            _round(path, rest, settings, lora, Path(last), practice, watch, tokenizer, device, dtype)
        path = str(Path(last) / layout.MODEL)
    shutil.copytree(Path(last) / layout.MODEL, out / f"{layout.MODEL}.tmp", dirs_exist_ok=True)
    (out / f"{layout.MODEL}.tmp").rename(out / layout.MODEL)
    return practice.sampled


def _round(
    path: str,
    tasks: Sequence[Task],
    settings: RlSettings,
    lora: TrainSettings,
    out: Path,
    practice: Practice,
    watch: Watch,
    tokenizer: Any,
    device: str,
    dtype: str,
) -> None:
    # All weights are trained in float32: steps of 1e-6 would be lost to bfloat16's rounding.
    model = load_model(path, device, dtype if settings.lora or dtype != "auto" else "float32")
    adapter = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    config = _config(settings, lora, out / layout.CHECKPOINTS, practice.limit, model.device)
    trainer = Reinforcer(
        model=model,
        reward_funcs=practice.reward,
        args=on_one_device(config, model.device),
        train_dataset=Dataset.from_list([{"prompt": t.prompt, "gold": t.gold} for t in tasks]),
        processing_class=tokenizer,
        peft_config=adapter if settings.lora else None,
        rollout_func=practice.rollout,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint, _ = last_checkpoint(out, STATE)
    if checkpoint:
        watch.restore(checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    write_atomically(out / "counts.json", json.dumps([practice.calls, practice.sampled]) + "\n")
    tuned: Any = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora:
        set_peft_model_state_dict(tuned, watch.weights)
        save_student(tuned, tokenizer, path, out, "reinforced (GRPO) on problems, with a limit on length")
    else:
        tuned.load_state_dict(watch.weights)
        save_model(tuned.to(stored_dtype(path)), tokenizer, out / f"{layout.MODEL}.tmp")
        (out / f"{layout.MODEL}.tmp").rename(out / layout.MODEL)
    shutil.rmtree(out / layout.CHECKPOINTS, ignore_errors=True)
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
        logging_nan_inf_filter=False,  # a loss that is no number must show
        save_strategy="steps",
        save_steps=looking_every(settings),
        save_total_limit=2,  # the newest may lack its last file
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=True,
        mask_truncated_completions=False,
    )
