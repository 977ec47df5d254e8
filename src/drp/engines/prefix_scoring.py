"""Scoring with a Hugging Face causal language model, on CPU or GPU.

:class:`PrefixCore` reads a passage once and keeps its keys and values. They hold for every prefix: in a causal model
the states of the first n positions know nothing of what comes later. So a continuation of a prefix is computed from a
copy of the first n columns, which is cheap beside the layers, and nothing is ever computed twice. The last state of
the prefix predicts the first token of the continuation, so that one costs no layer at all.

:class:`PlainCore` runs one whole forward pass for each continuation: for models whose memory cannot be cut (sliding
windows, recurrent layers), and as what :class:`PrefixCore` is measured against.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.heads import body_output, logits_of, negative_log_likelihood, positions_at_once
from drp.engines.scoring import Continuation, Core, Floats, Passage

TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of one pass, padding included; a longer text goes alone."""
FIRST_CHUNK = {"cpu": 12, "cuda": 32}
"""A continuation is computed in chunks, each twice as long as the one before, so that a broken bound ends it early."""
CACHE_BYTES = {"cpu": 2 << 30, "cuda": 16 << 30}
"""Most bytes of keys and values in one batch; all passages held take at most twice as many."""
GREEDY_ROWS = 64
ATTENTION = "drp_prefixes"
FEW = 128
"""Up to so many new tokens a row, keys and values are the larger part of what attention reads."""


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as ``AttentionInterface`` wants it, for a few new tokens a row over long prefixes.

    The query heads that share a key head stand where tokens would, so that keys and values are read once and never
    repeated: for prefixes of 4,000 tokens repeating them costs more than the rest of the layer.
    """
    rows, heads, new, size = query.shape
    group = heads // key.shape[1]
    if attention_mask is None or group == 1 or new > FEW or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    out = scaled_dot_product_attention(
        query.reshape(rows, heads // group, group * new, size),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, group, 1),
        scale=options.get("scaling"),
    )
    return out.reshape(rows, heads, new, value.shape[-1]).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


@dataclass(frozen=True)
class _Memory:
    """What is kept of a passage."""

    cache: Tensor
    """Keys and values, of shape (layers, 2, heads, positions, size)."""
    states: Tensor
    """Of the last layer, of shape (positions, hidden)."""


class _Room(DynamicLayer):
    """A cache layer over memory taken beforehand: a step writes its columns and copies nothing."""

    def __init__(self, room: Tensor, length: int) -> None:
        super().__init__()
        self.room, self.length = room, length
        self.dtype, self.device, self.is_initialized = room.dtype, room.device, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append states of shape (rows, heads, new, size); return all of them as views."""
        start, self.length = self.length, self.length + key_states.shape[-2]
        self.room[0, :, :, start : self.length] = key_states
        self.room[1, :, :, start : self.length] = value_states
        return self.room[0, :, :, : self.length], self.room[1, :, :, : self.length]

    def get_seq_length(self) -> int:
        """Return the number of cached positions."""
        return self.length


def core_for(model: PreTrainedModel, stop_ids: Sequence[int]) -> Core:
    """Return the fastest core that is exact for a model, which is in eval mode on its device."""
    return PrefixCore(model, stop_ids) if fits(model) else PlainCore(model, stop_ids)


def fits(model: Any) -> bool:
    """Return whether the memory of a model can be cut at any position: full attention in every layer, and no other state."""
    layers = DynamicCache(config=model.config).layers
    full = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    return full and body_output(model) is not None


class PlainCore:
    """Runs a whole forward pass for each continuation.

    Args:
        model: A causal language model, in eval mode on its device.
        stop_ids: Tokens that end what it writes.
    """

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int]) -> None:
        self.model, self.stop_ids = model, list(stop_ids)
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 0)
        self.room = 1 << 20
        self.computed = 0
        """Positions that went through the layers so far, padding not counted."""

    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text."""
        return [Passage(ids, self._logprobs(ids)) for ids in texts]

    def extend(self, asked: Sequence[tuple[Passage, Continuation]]) -> list[Floats]:
        """Return the log-probabilities of each continuation, always all of them."""
        texts = [[*passage.ids[: one.start], *one.ids] for passage, one in asked]
        return [self._logprobs(ids)[one.start :] for ids, (_, one) in zip(texts, asked, strict=True)]

    @torch.inference_mode()
    def _logprobs(self, ids: Sequence[int]) -> Floats:
        self.computed += len(ids)
        row = torch.tensor([list(ids)], device=self.model.device)
        logits: Tensor = self.model(input_ids=row, use_cache=False).logits[0, :-1]
        size = positions_at_once(self.model)
        parts = zip(logits.split(size), row[0, 1:].split(size), strict=True)
        losses = [negative_log_likelihood(*part).cpu() for part in parts]
        return -torch.cat([torch.zeros(1), *losses]).double().numpy()

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Return the most likely continuation of each prompt."""
        how = Sampling(temperature=0, top_p=1, max_new_tokens=tokens)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        found: list[list[int]] = [[] for _ in prompts]
        for first in range(0, len(order), GREEDY_ROWS):
            rows = order[first : first + GREEDY_ROWS]
            written = decode(self.model, [prompts[i] for i in rows], [0] * len(rows), how, self.stop_ids)
            for row, output in zip(rows, written, strict=True):
                found[row] = output
        return found


@dataclass
class _Row:
    """A continuation under way."""

    index: int
    memory: _Memory
    asked: Continuation
    logprobs: Floats

    @property
    def owed(self) -> int:
        """How many of its tokens must still go through the layers, to predict those after them."""
        return len(self.asked.ids) - len(self.logprobs)


class PrefixCore(PlainCore):
    """Computes continuations from the kept keys and values of their passages, in batches.

    Args:
        model: A causal language model for which :func:`fits` is true, in eval mode on its device.
        stop_ids: Tokens that end what it writes.
    """

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int]) -> None:
        super().__init__(model, stop_ids)
        self.device: torch.device = model.device
        self._kind = cast("type[Any]", body_output(model))
        kind = "cpu" if self.device.type == "cpu" else "cuda"
        self.tokens, self.first_chunk = TOKENS[kind], FIRST_CHUNK[kind]
        config: Any = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        layers = len(DynamicCache(config=model.config).layers)
        a_token = 2 * layers * heads * size * model.dtype.itemsize
        self.columns = max(1, CACHE_BYTES[kind] // a_token)
        self.room = 2 * self.columns

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text, with its keys and values."""
        found: list[Passage | None] = [None] * len(texts)
        for rows in self._batches([len(ids) for ids in texts]):
            # Padding stands on the right, where causal layers never look from a real token, so no mask is needed.
            ids = pad_sequence([torch.tensor(list(texts[i])) for i in rows], batch_first=True).to(self.device)
            cache: Any = DynamicCache(config=self.model.config)
            output = self.model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
            kept = [torch.stack((layer.keys, layer.values)) for layer in cache.layers]
            states = [output.last_hidden_state[r, : len(texts[i])].clone() for r, i in enumerate(rows)]
            losses = self._losses(
                torch.cat([s[:-1] for s in states]), [t for i in rows for t in texts[i][1:]]
            ).split([len(texts[i]) - 1 for i in rows])
            for r, i in enumerate(rows):
                own = torch.stack([layer[:, r, :, : len(texts[i])] for layer in kept])
                logprobs = np.concatenate([np.zeros(1), -losses[r].double().numpy()])
                found[i] = Passage(texts[i], logprobs, _Memory(own, states[r]))
                self.computed += len(texts[i])
        return [passage for passage in found if passage is not None]

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield indices of texts of similar length, at most ``tokens`` together with their padding."""
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
            if batch and (len(batch) + 1) * lengths[index] > self.tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _losses(self, states: Tensor, targets: Sequence[int]) -> Tensor:
        """Return the NLL of each target after its state, on the CPU; logits are made a part at a time."""
        size, wanted = positions_at_once(self.model), torch.tensor(list(targets), dtype=torch.long)
        parts = zip(states.split(size), wanted.split(size), strict=True)
        found: list[Tensor] = []
        for part, ids in parts:
            logits = cast("Tensor", logits_of(self.model, self._kind, part))
            found.append(negative_log_likelihood(logits, ids))
        return torch.cat(found).cpu() if found else torch.zeros(0)

    @torch.inference_mode()
    def extend(self, asked: Sequence[tuple[Passage, Continuation]]) -> list[Floats]:
        """Return the log-probabilities of each continuation, up to a broken bound."""
        before = str(getattr(self.model.config, "_attn_implementation", None))
        if before == "sdpa":
            self.model.set_attn_implementation(ATTENTION)
        try:
            return self._extend(asked)
        finally:
            self.model.set_attn_implementation(before)

    def _extend(self, asked: Sequence[tuple[Passage, Continuation]]) -> list[Floats]:
        states = torch.stack([passage.memory.states[one.start - 1] for passage, one in asked])
        firsts = -self._losses(states, [one.ids[0] for _, one in asked]).double().numpy()
        rows = [_Row(n, p.memory, one, firsts[n : n + 1]) for n, (p, one) in enumerate(asked)]
        found = [row.logprobs for row in rows]
        for batch in self._groups([row for row in rows if _goes_on(row)]):
            for row in self._finish(batch):
                found[row.index] = row.logprobs
        return found

    def _groups(self, rows: Sequence[_Row]) -> Iterator[list[_Row]]:
        """Yield rows of similar length, as many as a pass and the memory for their keys and values have room for."""
        batch: list[_Row] = []
        widest = longest = 0
        for row in sorted(rows, key=lambda r: (r.asked.start + r.owed, r.owed)):
            wide, long = max(widest, row.asked.start), max(longest, row.owed)
            count = len(batch) + 1
            full = count * min(long, self.first_chunk) > self.tokens or count * (wide + long) > self.columns
            if batch and full:
                yield batch
                batch, wide, long = [], row.asked.start, row.owed
            batch.append(row)
            widest, longest = wide, long
        if batch:
            yield batch

    def _finish(self, rows: list[_Row]) -> Iterator[_Row]:
        """Compute a batch chunk by chunk; yield each row when it is complete or a bound is broken."""
        width = max(row.asked.start for row in rows)
        memory = self._room(rows, width)
        mask = torch.zeros((len(rows), memory.shape[-2]), dtype=torch.long)
        for number, row in enumerate(rows):
            mask[number, width - row.asked.start :] = 1
        mask, done, chunk = mask.to(self.device), 0, self.first_chunk
        while rows:
            step = min(chunk, max(row.owed for row in rows))
            states = self._step(rows, memory, mask, width, done, step)
            counts = [min(step, row.owed) for row in rows]
            targets = [
                t for r, n in zip(rows, counts, strict=True) for t in r.asked.ids[done + 1 : done + 1 + n]
            ]
            real = torch.cat([states[r, :n] for r, n in enumerate(counts)])
            losses = self._losses(real, targets).double().numpy()
            parts = np.split(-losses, np.cumsum(counts)[:-1])
            for row, part in zip(rows, parts, strict=True):
                row.logprobs = np.concatenate([row.logprobs, part])
            going = [_goes_on(row) for row in rows]
            yield from (row for row, on in zip(rows, going, strict=True) if not on)
            rows = [row for row, on in zip(rows, going, strict=True) if on]
            if rows and not all(going):
                keep = torch.tensor(going).nonzero().squeeze(-1).to(self.device)
                mask, memory = mask[keep], memory[:, :, keep]
            done, chunk = done + step, 2 * chunk

    def _room(self, rows: Sequence[_Row], width: int) -> Tensor:
        """Return memory for a batch, prefixes copied in: they end at column ``width``, where the continuations begin."""
        layers, two, heads, _, size = rows[0].memory.cache.shape
        columns = width + max(row.owed for row in rows)
        memory = rows[0].memory.cache.new_zeros((layers, two, len(rows), heads, columns, size))
        for number, row in enumerate(rows):
            start = row.asked.start
            memory[:, :, number, :, width - start : width] = row.memory.cache[..., :start, :]
        return memory

    def _step(
        self, rows: Sequence[_Row], memory: Tensor, mask: Tensor, width: int, done: int, step: int
    ) -> Tensor:
        """Run the next ``step`` tokens of every row through the layers; return states of shape (rows, step, hidden)."""
        ids = torch.zeros((len(rows), step), dtype=torch.long)
        for number, row in enumerate(rows):
            part = torch.tensor(list(row.asked.ids[done : done + min(step, row.owed)]))
            ids[number, : len(part)] = part
            self.computed += len(part)
        starts = torch.tensor([row.asked.start for row in rows])
        positions = starts[:, None] + torch.arange(done, done + step)
        cache: Any = DynamicCache(config=self.model.config)
        cache.layers[:] = [_Room(layer, width + done) for layer in memory]
        return self.model.base_model(
            input_ids=ids.to(self.device),
            attention_mask=mask[:, : width + done + step],
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


def _goes_on(row: _Row) -> bool:
    return row.owed > 0 and not row.asked.broken(row.logprobs)
