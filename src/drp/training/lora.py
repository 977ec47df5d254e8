"""The adapter of a training, and its product added to the frozen layer's in one pass."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from functools import partial
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear
from torch import nn
from torch.nn.functional import linear

from drp.training.settings import TrainSettings


def new_adapter(settings: TrainSettings) -> LoraConfig:
    """Return the adapter that settings ask for."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def fuse(model: Any) -> int:
    """Let every plain adapted layer of a model add its adapter's product as it is computed.

    ``base(x) + B(A(x)) * scale`` as it is written makes the product, scales it and adds it: three passes over an output
    that is as wide as the layer. ``addmm`` does all in the multiplication by ``B``. The way back is as it was.

    Returns:
        How many layers it was done to: those with one adapter without dropout, bias or variant.
    """
    count = 0
    for module in model.modules():
        if type(module) is not Linear or len(module.active_adapters) != 1 or module.merged:
            continue
        name = module.active_adapters[0]
        plain = (
            name in module.lora_A
            and name not in module.lora_variant
            and isinstance(module.lora_dropout[name], nn.Identity)
            and not module.lora_bias[name]
        )
        if plain:
            scale = float(module.scaling[name])
            a, b = cast(nn.Linear, module.lora_A[name]), cast(nn.Linear, module.lora_B[name])
            module.forward = partial(_forward, module, a, b, scale)
            count += 1
    return count


def _forward(layer: Linear, a: nn.Linear, b: nn.Linear, scale: float, x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = layer.base_layer(x)
    if layer.disable_adapters:  # as the reference of a preference is read
        return out
    low = linear(x, a.weight)
    wide = out.shape[-1]
    return torch.addmm(
        out.reshape(-1, wide), low.reshape(-1, low.shape[-1]), b.weight.t(), alpha=scale
    ).reshape(out.shape)
