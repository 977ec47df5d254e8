"""Figures that are no numbers end a training or cost it a step, and weights that are none are never saved."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback

from drp.errors import TrainingError


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Return whether every value is a finite number; looks at all tensors at once, and waits for the device once."""
    found = [t for t in tensors if t.is_floating_point() and t.numel()]
    # The largest magnitude is finite where all are, and no number where one is none; it cannot overflow as a sum of squares does.
    return not found or bool(torch.isfinite(get_total_norm(found, norm_type=math.inf)))


def demand_finite(model: Any, what: str) -> None:
    """Refuse a model that has a weight that is no finite number.

    Raises:
        TrainingError: It has one.
    """
    bad = [name for name, weight in model.named_parameters() if not all_finite([weight.detach()])]
    if bad:
        raise TrainingError(
            f"{what} is not saved: {len(bad)} of its tensors hold values that are not finite numbers "
            f"(first {bad[0]}). Lower the learning rate or the scale of the adapter, or set student.dtype=float32"
        )


class Guard(TrainerCallback):
    """Ends a training at the first loss, gradient or weight that is not a finite number.

    The trainer by itself logs such a loss as 0.0 and goes on, and an optimizer spreads one such gradient over all
    weights. The gradient is looked at before the step is taken, the weights after it and before any checkpoint.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def _stop(self, step: int, what: str) -> None:
        raise TrainingError(
            f"training step {step}: {what} is not a finite number, so nothing was saved. Lower "
            f"train.learning_rate (now {self.learning_rate:g}); if that does not help, set student.dtype=float32"
        )

    def on_pre_optimizer_step(self, *positional: Any, **fields: Any) -> None:
        """Look at the gradient."""
        if not all_finite(p.grad for p in fields["model"].parameters() if p.grad is not None):
            self._stop(int(positional[1].global_step) + 1, "the gradient")

    def on_step_end(self, *positional: Any, **fields: Any) -> None:
        """Look at what the step made of the weights."""
        if not all_finite(p.detach() for p in fields["model"].parameters() if p.requires_grad):
            self._stop(int(positional[1].global_step), "a weight")

    def on_log(self, *positional: Any, **fields: Any) -> None:
        """Look at the loss, and at the gradient's norm, which may overflow where no part of it does."""
        logs = fields.get("logs") or {}
        for name, what in (("loss", "the loss"), ("grad_norm", "the norm of the gradient")):
            if name in logs and not math.isfinite(float(logs[name])):
                self._stop(int(positional[1].global_step), what)


class LeaveOut(TrainerCallback):
    """Leaves a step out whose gradient is no number, rather than lose the model to it."""

    def __init__(self) -> None:
        self.in_a_row = 0

    def on_pre_optimizer_step(self, *_: Any, **fields: Any) -> None:
        """Look at the gradient.

        Raises:
            TrainingError: It is the fifth step in a row that is left out.
        """
        if all_finite(p.grad for p in fields["model"].parameters() if p.grad is not None):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        fields["optimizer"].zero_grad()
        if self.in_a_row == 5:
            raise TrainingError(
                "five steps in a row had gradients that are no numbers; lower method.learning_rate"
            )
