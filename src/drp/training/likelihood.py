"""Fine-tuning by likelihood: a step's examples go through the model in parts, and count as if they went at once."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportPrivateImportUsage=false

from contextlib import nullcontext
from typing import Any, cast

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTTrainer

from drp.training.order import EpochSampler, OrderedByEpoch
from drp.training.recompute import Recompute
from drp.training.settings import TrainSettings


class Supervised(OrderedByEpoch, SFTTrainer):
    """SFT whose batch is all that this process has of an optimizer step, and whose steps hold the same examples in any case.

    The trainer accumulates nothing: a batch comes from `StepCollator` in parts, each of which goes forward and back with its
    share of the step's mean over tokens. So the parts may be as large as fits, as many as it takes and different in number from one
    process to the next, and a checkpoint counts whole steps only.
    """

    train_dataset: Any
    settings: TrainSettings
    """Set once it is made."""
    recompute: Recompute | None = None
    """Set where layers may compute their activations again."""

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        # The last row is blank: its tokens have no loss and count for nothing in the mean over a batch.
        rows = train_dataset if train_dataset is not None else self.train_dataset
        names = [name for name in ("input_ids", "rejected_ids") if name in rows.column_names]
        lengths = [sum(map(len, ids)) for ids in zip(*(rows[name] for name in names), strict=True)][:-1]
        processes = self.args.world_size
        batch = self.args.train_batch_size * processes
        return EpochSampler(
            LengthGroupedSampler(batch, lengths=lengths),
            self.args.seed,
            self.epochs_behind,
            blank=len(lengths),
            multiple=batch if processes > 1 else 1,
            shared=(processes, [*lengths, 0]) if processes > 1 else None,
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        count = torch.stack([batch["items"] for batch in batch_samples]).sum(0).to(device)
        gathered = self.accelerator.gather(count) if self.args.world_size > 1 else count
        return cast(torch.Tensor, gathered).view(-1, *count.shape).sum(0)

    def training_step(self, *positional: Any, **named: Any) -> torch.Tensor:
        """Go forward and back with each part of a step; gradients are exchanged with the last."""
        model, inputs, *more = positional
        items = named.get("num_items_in_batch", more[0] if more else None)
        parts, total = inputs["parts"], torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            how = self.recompute.part(part["input_ids"].numel(), self.args.device) if self.recompute else None
            with nullcontext() if last else self.accelerator.no_sync(model), how or nullcontext():
                total += super().training_step(model, part, items)
        return total

    def compute_loss(self, *positional: Any, **named: Any) -> Any:
        """Return a part's share of the loss of the step, by TRL's head, which makes no logits where there is no label.

        TRL's own reads entropy and accuracy of each part from the device, and waits for them.
        """
        model, inputs = positional[:2]
        items = named.get("num_items_in_batch")
        if self.aux_loss_enabled or items is None:
            return super().compute_loss(*positional, **named)
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        # Gradients are averaged over the processes, so each counts as often as there are processes.
        return -outputs.log_probs.sum() / items.clamp(min=1) * self.accelerator.num_processes

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Return 0: nobody reads it, and the trainer looks for it in a batch of another shape."""
        return 0
