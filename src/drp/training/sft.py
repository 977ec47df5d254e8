"""Fine-tuning a LoRA adapter on targets, by TRL and PEFT: likelihood or preference."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from drp.engines.transformers_engine import load_tokenizer, pick_device
from drp.errors import TrainingError
from drp.runs import layout
from drp.training.device import on_one_device
from drp.training.examples import Example
from drp.training.guard import Guard
from drp.training.saving import save_student
from drp.training.settings import TrainSettings

HOW = {
    "sft": "fine-tuned on traces by their likelihood",
    "preference": "fine-tuned by preference (DPO) of traces over the student's own",
}
"""Each objective in words, for the card of an adapter."""
Listener = Callable[[int, int, dict[str, float]], None]
"""Told about every logged step: step, total steps, figures."""


class _Log(TrainerCallback):
    def __init__(self, listen: Listener) -> None:
        self.listen = listen

    def on_log(self, *positional: Any, **fields: Any) -> None:
        """Pass one line of the trainer's log on."""
        state, logs = positional[1], fields.get("logs")
        if logs and "loss" in logs:
            figures = {
                k: float(logs[k]) for k in ("loss", "learning_rate", "grad_norm", "epoch") if k in logs
            }
            self.listen(int(state.global_step), int(state.max_steps), figures)


class _Preference(DPOTrainer):
    """DPO on pairs that are tokenised already, so that prompts are exactly those of generation."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def _common(settings: TrainSettings, work: Path, device: torch.device, steps: float) -> dict[str, Any]:
    """Return the settings of the trainer that do not depend on the objective."""
    device_batch = min(settings.device_batch, settings.effective_batch)
    while settings.effective_batch % device_batch:
        device_batch -= 1
    gpu = device.type == "cuda"
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": settings.effective_batch // device_batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup if steps > 1 else 0,  # the first step of a warm-up has a rate of 0
        "num_train_epochs": settings.epochs,
        "weight_decay": settings.weight_decay,
        "max_length": None,  # lengths were checked before; nothing may be cut silently here
        **_checkpointing(gpu and settings.checkpointing),
        "bf16": gpu,
        "fp16": False,
        "use_cpu": not gpu,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number must show
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": gpu,
    }


def _trainer(
    model: Any, tokenizer: Any, examples: Sequence[Example], settings: TrainSettings, work: Path,
    device: torch.device, adapter: LoraConfig | None, callbacks: Sequence[TrainerCallback],
) -> SFTTrainer | DPOTrainer:  # fmt: skip
    steps = settings.epochs * len(examples) / settings.effective_batch
    common = _common(settings, work, device, steps)
    shared: dict[str, Any] = {
        "model": model, "processing_class": tokenizer, "peft_config": adapter, "callbacks": list(callbacks),
    }  # fmt: skip
    if settings.objective == "preference":
        pairs = [
            {"prompt_ids": e.input_ids[: e.prompt_length], "chosen_ids": e.input_ids[e.prompt_length :],
             "rejected_ids": e.rejected_ids}
            for e in examples
        ]  # fmt: skip
        weights = [1.0, settings.sft_weight]
        return _Preference(
            args=on_one_device(
                DPOConfig(loss_type=["sigmoid", "sft"], loss_weights=weights, beta=settings.beta, **common),
                device,
            ),
            train_dataset=Dataset.from_list(pairs),
            **shared,
        )
    return SFTTrainer(
        args=on_one_device(
            SFTConfig(
                packing=False,
                train_sampling_strategy="group_by_length",
                dataset_kwargs={"skip_prepare_dataset": True},
                **common,
            ),
            device,
        ),
        train_dataset=Dataset.from_list([{"input_ids": e.input_ids, "labels": e.labels} for e in examples]),
        **shared,
    )


def _checkpointing(wanted: bool) -> dict[str, Any]:
    """Return the setting under the name that the installed transformers gives it."""
    known = SFTConfig.__dataclass_fields__
    return {
        "activation_checkpointing"
        if "activation_checkpointing" in known
        else "gradient_checkpointing": wanted
    }


def last_checkpoint(out: Path, written_last: str = "trainer_state.json") -> tuple[Path | None, int]:
    """Return the newest whole checkpoint of an interrupted training under ``out``, and its step (0: there is none)."""
    states = (out / layout.CHECKPOINTS).glob(f"checkpoint-*/{written_last}")
    found = {int(state.parent.name.rpartition("-")[2]): state.parent for state in states}
    return (found[max(found)], max(found)) if found else (None, 0)


def fine_tune(
    model_path: str,
    examples: Sequence[Example],
    settings: TrainSettings,
    out: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    adapter: Path | None = None,
    listen: Listener = lambda *_: None,
) -> None:
    """Fine-tune a student on examples; leaves ``adapter/`` and ``model/`` under ``out``.

    Continues from the last checkpoint under ``out`` if an earlier call was interrupted; one that ended by itself
    because something was no number leaves none. The merged model keeps the dtype of the student's own weights on file.

    Args:
        model_path: The student.
        examples: What to train on.
        settings: How.
        out: Where results go.
        device: Where to train.
        dtype: Number format of the weights.
        adapter: Go on with this adapter instead of a new one.
        listen: Told about every step.

    Raises:
        TrainingError: There is nothing to train on, or a loss, gradient or weight is not a finite number.
    """
    if not examples:
        raise TrainingError("no training example is left; see errors.jsonl of the train and prune stages")
    logging.disable_progress_bar()
    where = pick_device(device)
    kind = ("bfloat16" if where.type == "cuda" else "float32") if dtype == "auto" else dtype
    tokenizer = load_tokenizer(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, kind))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    work = out / layout.CHECKPOINTS
    torch.manual_seed(settings.seed)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    tuned: Any = PeftModel.from_pretrained(model, str(adapter), is_trainable=True) if adapter else model
    callbacks = [Guard(settings.learning_rate), _Log(listen)]
    trainer = _trainer(
        tuned, tokenizer, examples, settings, work, where, None if adapter else lora, callbacks
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint, _ = last_checkpoint(out)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        save_student(
            trainer.model, tokenizer, model_path, out, HOW[settings.objective], settings.adapter_scale
        )
    except TrainingError:
        shutil.rmtree(work, ignore_errors=True)  # what led there must not be gone on with
        raise
    shutil.rmtree(work)
