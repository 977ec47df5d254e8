"""Fine-tuning on targets, by TRL and PEFT: likelihood or preference, an adapter or all weights."""

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
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging
from trl import SFTConfig

from drp.engines.transformers_engine import load_tokenizer, pick_device
from drp.errors import TrainingError
from drp.runs import layout
from drp.training.collating import StepCollator
from drp.training.device import forward_batch, on_one_device
from drp.training.examples import Example
from drp.training.guard import Guard
from drp.training.likelihood import Supervised
from drp.training.loading import made_quick, packs, to_be_trained
from drp.training.lora import new_adapter
from drp.training.preferring import Preferring
from drp.training.processes import launch, process_count
from drp.training.recompute import Recompute
from drp.training.saving import save_student, save_whole
from drp.training.settings import StudentModel, TrainSettings
from drp.training.tracking import tracking

HOW = {
    "sft": "fine-tuned on traces by their likelihood",
    "preference": "fine-tuned by preference (DPO) of traces over the student's own",
    "lcpo": "fine-tuned by preference (LCPO) of traces over the student's own",
}
"""Each objective in words, for the card of an adapter."""
EXAMPLES = "examples"
"""Where the examples lie beside the checkpoints, as Arrow: every process maps them, none holds them."""
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in SFTConfig.__dataclass_fields__
)
"""What the installed transformers calls it."""
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


TRAINERS: dict[str, Any] = {"sft": Supervised, "preference": Preferring, "lcpo": Preferring}
"""The trainer of each objective."""


def _arguments(settings: TrainSettings, work: Path, device: torch.device, examples: int) -> SFTConfig:
    """Return the trainer's settings for so many examples, of which every process takes an even share."""
    gpu = device.type == "cuda"
    steps = settings.epochs * examples / settings.effective_batch
    made = SFTConfig(
        output_dir=str(work),
        per_device_train_batch_size=share_of(settings),
        gradient_accumulation_steps=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup if steps > 1 else 0,  # the first step of a warm-up has a rate of 0
        num_train_epochs=settings.epochs,
        weight_decay=settings.weight_decay,
        max_length=None,  # lengths were checked before; nothing may be cut silently here
        **{CHECKPOINTING: False},  # see recompute
        bf16=gpu,
        fp16=False,
        use_cpu=not gpu,
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number must show
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=1,
        **tracking(settings.tracker, work.parent),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=gpu,
        ddp_find_unused_parameters=False,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return on_one_device(made, device)


def share_of(settings: TrainSettings) -> int:
    """Return how many examples of each step are this process's."""
    return settings.effective_batch // int(os.environ.get("WORLD_SIZE", "1"))


def rows_of(examples: Sequence[Example], objective: str) -> list[dict[str, Any]]:
    """Return examples as the objective's trainer reads them; the last is a blank one."""
    rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
    blank = {"input_ids": rows[0]["input_ids"][:1], "labels": [-100]}
    if objective != "sft":
        for row, example in zip(rows, examples, strict=True):
            rejected, prompt = example.rejected_ids or [], example.prompt_length
            row["rejected_ids"] = example.input_ids[:prompt] + rejected
            row["rejected_labels"] = [-100] * prompt + rejected
        blank |= {"rejected_ids": blank["input_ids"], "rejected_labels": blank["labels"]}
    return [*rows, blank]


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
    Dataset.from_list(rows_of(examples, settings.objective)).save_to_disk(data)
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
    tokenizer = load_tokenizer(student.path)
    model = to_be_trained(student, settings, where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(settings.seed)
    rows = cast(Dataset, load_from_disk(str(data)))
    trainer = trainer_for(model, tokenizer, rows, settings, data.parent, where, adapter=adapter, tell=tell)
    checkpoint, _ = last_checkpoint(out)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        save = save_student if settings.lora else save_whole
        save(trainer.model, tokenizer, student.path, out, HOW[settings.objective], settings.adapter_scale)
    trainer.accelerator.wait_for_everyone()


def trainer_for(
    model: Any,
    tokenizer: Any,
    rows: Dataset,
    settings: TrainSettings,
    work: Path,
    where: torch.device,
    *,
    adapter: Path | None = None,
    tell: Listener = unheard,
) -> Any:
    """Return the trainer of a model on rows, the last of which is blank; ``perf/training.py`` times this one.

    Args:
        model: The student, without an adapter.
        tokenizer: The student's, with a token to pad with.
        rows: What `fine_tune` makes of examples.
        settings: How.
        work: Where checkpoints go.
        where: The device.
        adapter: Go on with this adapter instead of a new one.
        tell: Told about every step.
    """
    collator = StepCollator(
        tokenizer.pad_token_id,
        forward_batch(share_of(settings), settings.device_batch),
        settings.device_tokens,
        packs(model, settings, where),
    )
    trainer = TRAINERS[settings.objective](
        model=PeftModel.from_pretrained(model, str(adapter), is_trainable=True) if adapter else model,
        args=_arguments(settings, work, where, len(rows) - 1),
        train_dataset=rows,
        data_collator=collator,
        processing_class=tokenizer,
        peft_config=new_adapter(settings) if settings.lora and not adapter else None,
        callbacks=[Guard(settings.learning_rate), _Log(tell)],
    )
    trainer.settings = settings
    trainer.remove_callback(PrinterCallback)
    made_quick(trainer.model, where, settings.compile)
    if where.type == "cuda":
        trainer.recompute = Recompute(trainer.model, settings.checkpointing)
    return trainer
