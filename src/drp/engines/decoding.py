"""Batched decoding for Hugging Face causal language models.

``generate`` keeps finished rows in the batch until the longest one ends and draws from one global
random state. Reasoning traces have long tails and a run must give the same records after a crash,
so this loop drops finished rows as it goes and draws from each request's own seed.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from drp.engines.base import Sampling
from drp.engines.sampling import sample


class _RoomyLayer(DynamicLayer):
    """A cache layer that grows in blocks, so that a step writes one column and copies nothing."""

    block = 128

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.key_room: Tensor | None = None
        self.value_room: Tensor | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append states of shape (rows, heads, new, size); return all of them as views."""
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        end = self.length + key_states.shape[-2]
        self.key_room = self._fit(self.key_room, key_states, end)
        self.value_room = self._fit(self.value_room, value_states, end)
        self.key_room[:, :, self.length : end] = key_states
        self.value_room[:, :, self.length : end] = value_states
        self.length = end
        self.keys, self.values = self.key_room[:, :, :end], self.value_room[:, :, :end]
        return self.keys, self.values

    def _fit(self, room: Tensor | None, states: Tensor, end: int) -> Tensor:
        if room is not None and end <= room.shape[2]:
            return room
        rows, heads, _, size = states.shape
        larger = states.new_empty((rows, heads, end + self.block, size))
        if room is not None:
            larger[:, :, : self.length] = room[:, :, : self.length]
        return larger

    def select(self, rows: Tensor) -> None:
        """Keep only the given rows."""
        if self.key_room is not None and self.value_room is not None:
            self.key_room, self.value_room = self.key_room[rows], self.value_room[rows]

    def get_seq_length(self) -> int:
        """Return the number of cached positions."""
        return self.length


def _cache_for(model: PreTrainedModel) -> tuple[DynamicCache, bool]:
    """Return an empty cache and whether it is made of roomy layers (plain full attention only)."""
    cache = DynamicCache(config=model.config)
    roomy = bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
    if roomy:
        cache.layers[:] = [_RoomyLayer() for _ in cache.layers]
    return cache, roomy


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    how: Sampling,
    stop_ids: Sequence[int],
) -> list[list[int]]:
    """Return the generated token ids of each prompt, the stop token included where it came.

    Args:
        model: The causal language model, in eval mode on its device.
        prompts: Token ids, one sequence a row, of any lengths; padded on the left here.
        seeds: One non-negative 63-bit seed a row.
        how: How tokens are drawn; rows that have not stopped after ``max_new_tokens`` are cut there.
        stop_ids: Tokens that end a row.
    """
    device, count = model.device, len(prompts)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros((count, width), dtype=torch.long)
    mask = torch.zeros((count, width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    row_seeds = torch.tensor(list(seeds), dtype=torch.long, device=device)
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    rows = torch.arange(count, device=device)
    output = torch.full((count, how.max_new_tokens), -1, dtype=torch.int32, device=device)
    running = torch.ones(count, dtype=torch.bool, device=device)
    cache, roomy = _cache_for(model)
    seen: Tensor | None = None
    look_every = 1 if device.type == "cpu" else 16  # looking costs a synchronisation on a GPU

    for step in range(how.max_new_tokens):
        result = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = result.logits[:, -1]
        if how.repetition_penalty != 1:
            seen = torch.zeros_like(logits, dtype=torch.bool) if seen is None else seen
            # Padding is no token of the row: its places count the row's last token once more instead.
            seen.scatter_(1, torch.where(mask[:, -ids.shape[1] :] > 0, ids, ids[:, -1:]), True)
        token = sample(logits, row_seeds, step, how, seen)
        output[rows, step] = torch.where(running, token, -1).int()
        running &= ~torch.isin(token, stops)
        if (step + 1) % look_every == 0:
            alive = int(running.sum())
            if alive == 0:
                break
            if alive <= 0.85 * len(running):
                keep = running.nonzero().squeeze(-1)
                if roomy:
                    for layer in cache.layers:
                        layer.select(keep)  # type: ignore[attr-defined]
                else:
                    # Not batch_select_indices: it leaves the states of recurrent and convolution layers as they are.
                    cache.reorder_cache(keep)  # type: ignore[arg-type]
                rows, row_seeds, running = rows[keep], row_seeds[keep], running[keep]
                token, mask, position = token[keep], mask[keep], position[keep]
                seen = None if seen is None else seen[keep]
        ids = token.unsqueeze(-1)
        position = position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], -1)
    return [[int(t) for t in row if t >= 0] for row in output.tolist()]
