"""One device for a training, the one that was asked for, however many are visible."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

from typing import TypeVar

import torch
from transformers import TrainingArguments

A = TypeVar("A", bound=TrainingArguments)


def forward_batch(batch: int, most: int) -> int:
    """Return the largest part of a batch, of ``most`` examples or fewer, that divides it without a rest."""
    return next(size for size in range(min(most, batch), 0, -1) if batch % size == 0)


def on_one_device(args: A, device: torch.device) -> A:
    """Return the trainer's settings, bound to ``device``.

    With several visible GPUs the trainer would take the first, whatever was asked for, and spread every batch over
    all of them, so that a batch of 8 on two GPUs would be one of 16. There is no public setting for either, so the
    answers that the settings keep after looking for devices are replaced, in accelerate's state too.
    """
    if device.type != "cuda" or args.world_size > 1:  # one of several processes has its own device
        return args
    here = torch.device("cuda", torch.cuda.current_device()) if str(device) == "cuda" else device
    torch.cuda.set_device(here)
    args.__dict__["_setup_devices"] = here  # where a cached property keeps its value
    args._n_gpu = 1
    if args.distributed_state is not None:
        args.distributed_state.device = here
    return args
