"""Activations computed again on the way back, in as many layers as the device's memory asks for and no more.

With an adapter on frozen weights this costs half as much time again, so every layer that need not do it counts. What a layer keeps
for a token is measured in the first step, on the device, since it depends on the adapter, the attention and the
number format.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

MARGIN = 0.08
"""Share of the device's memory that is left free: blocks of different sizes leave gaps."""


@dataclass(frozen=True)
class Kept:
    """What was measured of one part in which every layer but one was computed again."""

    layer: float
    """Bytes that a layer keeps for a token."""
    rest: float
    """Bytes for a token at the peak, without what that one layer kept."""


def layers_kept(tokens: int, layers: int, room: float, kept: Kept) -> int:
    """Return in how many of the layers the activations of so many tokens fit into ``room`` bytes."""
    left = room - tokens * kept.rest
    return max(0, min(layers, int(left / (tokens * kept.layer)) if kept.layer else layers))


class Recompute:
    """Decides before each forward pass which layers compute their activations again.

    Args:
        model: What is trained.
        wanted: In every layer, in none, or ``auto``: in as many as it takes.
    """

    def __init__(self, model: Any, wanted: bool | Literal["auto"]) -> None:
        self.layers: list[Any] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
        self.wanted = wanted if self.layers else False
        self.kept: Kept | None = None
        again: Callable[..., Any] = functools.partial(checkpoint, use_reentrant=False)
        for layer in self.layers:
            layer._gradient_checkpointing_func = again
        self._keep(0 if self.wanted else len(self.layers))

    def _keep(self, count: int) -> None:
        """Let the last ``count`` layers keep their activations: the way back frees them before it computes any again."""
        self.keeping = count
        for number, layer in enumerate(reversed(self.layers)):
            layer.gradient_checkpointing = number >= count

    @contextmanager
    def part(self, tokens: int, device: torch.device) -> Generator[None]:
        """Choose the layers for one part, forward and back."""
        if self.wanted != "auto":
            yield
        elif self.kept is not None:
            self._keep(layers_kept(tokens, len(self.layers), room_on(device), self.kept))
            yield
        else:
            self._keep(1)
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            seen: list[int] = []

            def look(*_: object) -> None:
                seen.append(torch.cuda.memory_allocated(device))

            layer = self.layers[-1]
            hooks = [layer.register_forward_pre_hook(look), layer.register_forward_hook(look)]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()
            kept = (seen[1] - seen[0]) / tokens
            peak = (torch.cuda.max_memory_allocated(device) - before) / tokens
            self.kept = Kept(kept, max(0.0, peak - kept))


def room_on(device: torch.device) -> float:
    """Return how many bytes a forward pass and its way back may take, less a margin. Waits for nothing on the device."""
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached - MARGIN * total
