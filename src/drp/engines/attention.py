"""How much attention the end of a text pays to each of its tokens: one plain forward pass that returns weights.

The usual attention kernels never form the weights. So the model is put to the eager one for one pass, and of each layer only
the wanted rows are kept; a layer's weights still take heads × tokens² numbers while it runs, so this is for short texts.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from drp.engines.scoring import Floats
from drp.errors import EngineError

DEEPER = 0.5
"""Of so many layers, the last ones, the attention is averaged: the first look at neighbours."""


@torch.inference_mode()
def attention_paid(model: Any, ids: Sequence[int], queries: slice) -> Floats:
    """Return the attention that some tokens pay to each token of a text, averaged over them, heads and the deeper layers.

    Args:
        model: A causal language model, in eval mode on its device.
        ids: The text.
        queries: The tokens that pay it.

    Raises:
        EngineError: The model's attention returns no weights.
    """
    rows: list[Tensor] = []

    def keep(_module: object, _arguments: object, output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, Tensor) and weights.dim() == 4:
            rows.append(weights[0, :, queries].float().mean(dim=(0, 1)).cpu())

    layers = [
        module
        for name, module in model.named_modules()
        if name.endswith(("self_attn", ".attn", ".attention"))
    ]
    with _eager(model):
        hooks = [layer.register_forward_hook(keep) for layer in layers]
        try:
            model.base_model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
    if not rows:
        raise EngineError(
            "this student's attention returns no weights; use teacher student, which needs none"
        )
    deeper = rows[int(len(rows) * (1 - DEEPER)) :]
    return torch.stack(deeper).mean(dim=0).double().numpy()


@contextmanager
def _eager(model: Any) -> Generator[None]:
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
