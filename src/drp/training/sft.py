"""Fine-tuning a LoRA adapter on targets, by TRL and PEFT: likelihood or preference."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset, disable_progress_bars, load_from_disk
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.utils import logging
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from drp.engines.identity import pretrained
from drp.engines.transformers_engine import load_tokenizer, pick_device, pick_dtype
from drp.errors import TrainingError
from drp.runs import layout
from drp.training.device import forward_batch, on_one_device
from drp.training.examples import Example
from drp.training.guard import Guard
from drp.training.order import EpochSampler, OrderedByEpoch
from drp.training.processes import launch, process_count
from drp.training.saving import save_student
from drp.training.settings import StudentModel, TrainSettings
from drp.training.tracking import tracking

HOW = {
    "sft": "fine-tuned on traces by their likelihood",
    "preference": "fine-tuned by preference (DPO) of traces over the student's own",
}
"""Each objective in words, for the card of an adapter."""
EXAMPLES = "examples"
"""Where the examples lie beside the checkpoints, as Arrow: every process maps them, none holds them."""
Listener = Callable[[int, int, dict[str, float]], None]
"""Told about every logged step: step, total steps, figures."""


def unheard(_step: int, _total: int, _figures: dict[str, float]) -> None:
    """Tell nobody."""


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


class _Supervised(OrderedByEpoch, SFTTrainer):
    """SFT whose batches hold the same examples however many processes share them."""

    train_dataset: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        # The last row is blank: its tokens have no loss and count for nothing in the mean over a batch.
        rows = (train_dataset if train_dataset is not None else self.train_dataset)["input_ids"][:-1]
        batch = self.args.train_batch_size * self.args.world_size
        return EpochSampler(
            LengthGroupedSampler(
                batch * self.args.gradient_accumulation_steps, lengths=[len(r) for r in rows]
            ),
            self.args.seed,
            self.epochs_behind,
            blank=len(rows),
            multiple=batch if self.args.world_size > 1 else 1,
        )


class _Preference(OrderedByEpoch, DPOTrainer):
    """DPO on pairs that are tokenised already, so that prompts are exactly those of generation."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


TRAINERS: dict[str, Any] = {"sft": _Supervised, "preference": _Preference}
"""The trainer of each objective."""


def _arguments(
    settings: TrainSettings, work: Path, device: torch.device, examples: int
) -> SFTConfig | DPOConfig:
    """Return the trainer's settings for so many examples, of which every process takes an even share."""
    share = settings.effective_batch // int(os.environ.get("WORLD_SIZE", "1"))
    device_batch = forward_batch(share, settings.device_batch)
    gpu = device.type == "cuda"
    steps = settings.epochs * examples / settings.effective_batch
    common: dict[str, Any] = {
        "output_dir": str(work),
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": share // device_batch,
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
        **tracking(settings.tracker, work.parent),
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": gpu,
        "ddp_find_unused_parameters": False,
    }
    if settings.objective == "preference":
        weights = [1.0, settings.sft_weight]
        made = DPOConfig(loss_type=["sigmoid", "sft"], loss_weights=weights, beta=settings.beta, **common)
    else:
        made = SFTConfig(
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            **common,
        )
    return on_one_device(made, device)


def _rows(examples: Sequence[Example], objective: str) -> list[dict[str, Any]]:
    """Return examples as the objective's trainer reads them; those of likelihood end with a blank one."""
    if objective != "preference":
        blank = {"input_ids": examples[0].input_ids[:1], "labels": [-100]}
        return [*({"input_ids": e.input_ids, "labels": e.labels} for e in examples), blank]
    return [
        {
            "prompt_ids": e.input_ids[: e.prompt_length],
            "chosen_ids": e.input_ids[e.prompt_length :],
            "rejected_ids": e.rejected_ids,
        }
        for e in examples
    ]


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
    student: StudentModel,
    examples: Sequence[Example],
    settings: TrainSettings,
    out: Path,
    *,
    adapter: Path | None = None,
    listen: Listener = unheard,
) -> None:
    """Fine-tune a student on examples; leaves ``adapter/`` and ``model/`` under ``out``.

    Continues from the last checkpoint under ``out`` if an earlier call was interrupted; one that ended by itself
    because something was no number leaves none. The merged model keeps the dtype of the student's own weights on file.

    Args:
        student: The student, where it is trained and in which number format.
        examples: What to train on.
        settings: How.
        out: Where results go.
        adapter: Go on with this adapter instead of a new one.
        listen: Told about every step.

    Raises:
        TrainingError: There is nothing to train on, or a loss, gradient or weight is not a finite number.
    """
    if not examples:
        raise TrainingError("no training example is left; see errors.jsonl of the train and prune stages")
    count = process_count(settings.processes, student.device, settings.effective_batch)
    work = out / layout.CHECKPOINTS
    data = work / EXAMPLES
    disable_progress_bars()
    Dataset.from_list(_rows(examples, settings.objective)).save_to_disk(data)
    arguments = (student, data, settings, out, adapter)
    try:
        if count == 1:
            _train(*arguments, tell=listen)
        else:
            launch(count, _train, arguments, listen)
    except TrainingError:
        shutil.rmtree(work, ignore_errors=True)  # what led there must not be gone on with
        raise
    shutil.rmtree(work)


def _train(
    student: StudentModel,
    data: Path,
    settings: TrainSettings,
    out: Path,
    adapter: Path | None,
    *,
    tell: Listener,
) -> None:
    """Train in this process, which may be one of several; the first of them saves."""
    logging.disable_progress_bar()
    where = pick_device(student.device)
    dtype = getattr(torch, pick_dtype(student.device, student.dtype))
    tokenizer = load_tokenizer(student.path)
    model = AutoModelForCausalLM.from_pretrained(**pretrained(student.path), dtype=dtype)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(settings.seed)
    rows = cast(Dataset, load_from_disk(str(data)))
    trainer = TRAINERS[settings.objective](
        model=PeftModel.from_pretrained(model, str(adapter), is_trainable=True) if adapter else model,
        args=_arguments(settings, data.parent, where, len(rows)),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=None if adapter else _new_adapter(settings),
        callbacks=[Guard(settings.learning_rate), _Log(tell)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint, _ = last_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        how = HOW[settings.objective]
        save_student(trainer.model, tokenizer, student.path, out, how, settings.adapter_scale)
    trainer.accelerator.wait_for_everyone()


def _new_adapter(settings: TrainSettings) -> LoraConfig:
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
