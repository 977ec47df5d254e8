"""Caches of the rows that are decoded together: whole rooms, one a slot, allocated once.

That is what a CPU has, and a GPU without Triton; for others see :mod:`drp.engines.pages`.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
# pyright: reportPrivateUsage=false

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ATTENTION = "drp_slots"
MEMORY_SHARE = 0.7
"""Most of the free GPU memory that caches may take."""


def attend(
    _: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **__: object,
) -> tuple[Tensor, None]:
    """Attention as ``AttentionInterface`` wants it, for one new token a row or a causal prefill.

    For one token the query heads that share a key head stand where tokens would, so that keys and
    values are read once and never repeated.
    """
    rows, heads, new, size = query.shape
    # Shapes: query (rows, heads, new, size), key and value (rows, key heads, positions, size). With 8 heads on 2 key heads,
    # query heads 0-3 read key head 0: as (rows, 2, 4, size) they are four "tokens" of it. Every token may see all positions
    # that the mask allows, so it does not matter that they are one token's heads.
    if new == 1:
        query = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
        out = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
        return out.reshape(rows, 1, heads, value.shape[-1]), None
    shared = heads // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend)


class Places:
    """Where the rows of one forward pass live: shared by all layers of a cache."""

    def __init__(self) -> None:
        self.rows: Tensor | slice = slice(0, 0)
        """Slots that are written."""
        self.position: Tensor | None = None
        """Where each row's new token goes; ``None`` during a prefill, which writes from 0."""
        self.length = 0
        """Positions that attention spans."""


class _SlotLayer(DynamicLayer):
    """One layer's keys and values of all slots, each written at its own position."""

    def __init__(self, slots: int, room: int, at: Places) -> None:
        super().__init__()
        self.slots, self.room, self.at = slots, room, at
        self.store: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store states of shape (rows, heads, new, size); return what the new tokens attend to."""
        if self.store is None:
            self.store = (self._room(key_states), self._room(value_states))
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        keys, values = self.store
        at = self.at
        if at.position is None:
            width = key_states.shape[2]
            keys[at.rows, :, :width], values[at.rows, :, :width] = key_states, value_states
            return key_states, value_states
        # One new token a row, row i in slot i: written at (i, its own position). Beyond a row's position stand zeros or what
        # the slot's last owner left, which the mask hides.
        count = len(at.position)
        index = torch.arange(count, device=key_states.device)
        keys[index, :, at.position] = key_states[:, :, 0]
        values[index, :, at.position] = value_states[:, :, 0]
        return keys[:count, :, : at.length], values[:count, :, : at.length]

    def _room(self, states: Tensor) -> Tensor:
        """Return room for all slots, laid out so that one position's states lie together."""
        # Stored as (slots, room, heads, size) and seen as (slots, heads, room, size): writing a token touches one block.
        _, heads, _, size = states.shape
        return states.new_zeros((self.slots, self.room, heads, size)).transpose(1, 2)

    def get_seq_length(self) -> int:
        """Return 0: positions are given explicitly."""
        return 0


def token_bytes(model: PreTrainedModel) -> int:
    """Return how many bytes the keys and values of one token take, of all layers together."""
    config: Any = model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize


def free_bytes(device: torch.device) -> int:
    """Return how much of a GPU's memory caches may take."""
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info(device)[0] * MEMORY_SHARE)


class Rooms:
    """A room for every slot, as long as the longest row may become.

    Args:
        model: The model whose keys and values are kept.
        slots: Rows decoded together; fewer where GPU memory does not hold their rooms.
        room: Positions of a room.
    """

    attention = ATTENTION
    """What the model calls for attention."""

    def __init__(self, model: PreTrainedModel, slots: int, room: int) -> None:
        if model.device.type == "cuda":
            slots = max(1, min(slots, free_bytes(model.device) // (token_bytes(model) * room)))
        self.slots, self.room, self.at = slots, room, Places()
        cache: Any = DynamicCache(config=model.config)
        cache.layers[:] = [_SlotLayer(slots, room, self.at) for _ in cache.layers]
        self.cache: Any = cache

    def hold(self, slot: int, tokens: int, spare: int = 0) -> bool:
        """Return whether there is memory for a row's first tokens: always."""
        _ = slot, tokens, spare
        return True

    def let_go(self, slot: int) -> None:
        """Take a row's memory back: it stays the slot's own."""

    def idle(self, first: int, last: int) -> None:
        """Say that slots ride along without a row: they write into rooms of their own."""

    def move(self, holes: Sequence[int], movers: Sequence[int]) -> None:
        """Let rows change their slots."""
        for layer in self.cache.layers:
            for part in layer.store or ():
                part[list(holes)] = part[list(movers)]

    def shape_of(self, rows: int, length: int) -> int:
        """Return what of a length makes another graph: all of it."""
        _ = rows
        return length

    def prefill(self, first: int, lengths: Sequence[int], width: int) -> None:
        """Say where the next forward pass writes: whole prompts, padded to ``width``, from a slot on."""
        _ = width
        self.at.rows, self.at.position = slice(first, first + len(lengths)), None

    def step(self, position: Tensor, length: int) -> Tensor | None:
        """Say where the next forward pass writes: one token a row, which attends to ``length`` positions; return the mask."""
        self.at.position, self.at.length = position, length
        mask = torch.arange(length, device=position.device) <= position.unsqueeze(-1)
        return mask[:, None, None]
