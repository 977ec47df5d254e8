"""Scoring with a Hugging Face causal language model, on CPU or GPU.

:class:`PrefixCore` reads a passage once and keeps its keys and values. They hold for every prefix: in a causal model
the states of the first n positions know nothing of what comes later. So a continuation of a prefix is computed over the
first n of the passage's places (:mod:`drp.engines.paged_memory`), and nothing is ever computed twice. The last state of
the prefix predicts the first token of the continuation, so that one costs no layer at all.
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
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from drp.engines.base import Sampling
from drp.engines.graphed_passes import GraphedPasses, columns_of
from drp.engines.heads import body_output, logits_of, negative_log_likelihood, positions_at_once
from drp.engines.paged_memory import Held, PagedMemory, Row, packed
from drp.engines.plain_scoring import PlainCore
from drp.engines.scoring import Core, Extension, Passage
from drp.engines.slots import SlotDecoder

TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Most tokens of one pass; a longer text goes alone."""
FIRST_CHUNK = {"cpu": 12, "cuda": 16}
"""A continuation is computed in chunks, each as long as all before, so that a broken bound ends it early."""
MEMORY_BYTES = 2 << 30
"""Most bytes of keys and values on a CPU …"""
MEMORY_SHARE = 0.5
"""… and how much of a GPU's free memory."""
SLOTS = 128
"""So many answers are written at a time on a GPU."""
FOR_PASSAGES = 0.7
"""Share of the memory that passages may take; continuations have the rest."""


def core_for(model: PreTrainedModel, stop_ids: Sequence[int]) -> Core:
    """Return the fastest core that is exact for a model, which is in eval mode on its device."""
    return PrefixCore(model, stop_ids) if fits(model) else PlainCore(model, stop_ids)


def fits(model: Any) -> bool:
    """Return whether the memory of a model can be cut at any position: full attention in every layer, and no other state."""
    layers = DynamicCache(config=model.config).layers
    full = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    # Models that must not use SDPA cap their scores or add to them, which attention over the store does not do.
    plain = str(getattr(model.config, "_attn_implementation", None)) == "sdpa"
    return full and plain and body_output(model) is not None


@dataclass
class _Begun:
    """What is kept of a continuation under way."""

    held: Held
    """Room for its tokens but the last, which predicts nothing."""
    before: Any
    """The places of everything that its next tokens see."""
    done: int = 0
    """How many of its tokens went through the layers."""


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
        space = MEMORY_BYTES
        if self.device.type == "cuda":
            space = int(MEMORY_SHARE * torch.cuda.mem_get_info(self.device)[0])
        self.memory = PagedMemory(model, max(1, space // PagedMemory.bytes_a_place(model)))
        self.room = int(FOR_PASSAGES * self.memory.places)
        self.passes = 0
        """How often new tokens of continuations went through the layers."""
        self._passes = GraphedPasses(model, self.memory) if self.device.type == "cuda" else None
        self._slots = SlotDecoder(model, self.stop_ids, SLOTS) if self.device.type == "cuda" else None

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text, with its keys and values."""
        found: list[Passage | None] = [None] * len(texts)
        for rows in self._batches([len(ids) for ids in texts]):
            # Padding stands on the right, where causal layers never look from a real token, so no mask is needed.
            ids = pad_sequence([torch.tensor(list(texts[i])) for i in rows], batch_first=True).to(self.device)
            cache: Any = DynamicCache(config=self.model.config)
            output = self.model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
            lengths = [len(texts[i]) for i in rows]
            kept = [self.memory.take(count) for count in lengths]
            real = torch.cat([torch.arange(n) + r * ids.shape[1] for r, n in enumerate(lengths)]).to(
                self.device
            )
            places = torch.from_numpy(np.concatenate([held.places for held in kept])).to(self.device)
            states = output.last_hidden_state.flatten(0, 1)[real]
            self.memory.states[places] = states
            stores = zip(self.memory.keys, self.memory.values, cache.layers, strict=True)
            for keys, values, layer in stores:
                keys[places] = layer.keys.transpose(1, 2).flatten(0, 1)[real]
                values[places] = layer.values.transpose(1, 2).flatten(0, 1)[real]
            parts = [part[:-1] for part in states.split(lengths)]
            losses = self._losses(torch.cat(parts), [t for i in rows for t in texts[i][1:]])
            for i, held, own in zip(rows, kept, losses.split([n - 1 for n in lengths]), strict=True):
                logprobs = np.concatenate([np.zeros(1), -own.double().numpy()])
                found[i] = Passage(texts[i], logprobs, held)
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
        parts = zip(states.split(size), wanted.to(self.device).split(size), strict=True)
        found: list[Tensor] = []
        for part, ids in parts:
            logits = cast("Tensor", logits_of(self.model, self._kind, part))
            found.append(negative_log_likelihood(logits, ids))
        return torch.cat(found).cpu() if found else torch.zeros(0)

    @torch.inference_mode()
    def extend(self, extensions: Sequence[Extension]) -> None:
        """Compute the first token of every continuation that is new, and one chunk of as many as there is room for."""
        self._begin([one for one in extensions if not len(one.logprobs)])
        rows: list[tuple[Extension, _Begun, Row]] = []
        tokens = widest = 0
        for one in extensions:
            if one.finished:
                continue
            begun = one.memory or self._admit(one, alone=not rows)
            if begun is None:
                continue
            one.memory = begun
            # Chunks let a broken bound end it early; without bounds nothing can.
            count = min(one.owed, self.first_chunk + begun.done if one.asked.bounds else one.owed)
            if rows and tokens + count > self.tokens:
                continue
            width = columns_of(len(begun.before) + count)
            # Fixed shapes are as wide as their widest row, so rows of other widths wait for a pass of their own.
            if rows and (
                tokens + count > self.tokens or (self._passes and width not in (widest, widest // 2))
            ):
                continue
            tokens, widest = tokens + count, max(width, widest)
            ids = one.asked.ids[begun.done : begun.done + count]
            rows.append((one, begun, Row(ids, begun.before, begun.held.places[begun.done :][:count])))
        if rows:
            self._advance(rows)

    def _begin(self, new: Sequence[Extension]) -> None:
        if not new:
            return
        starts = [one.passage.memory.places[one.asked.start - 1] for one in new]
        states = self.memory.states[torch.tensor(starts, device=self.device)]
        firsts = -self._losses(states, [one.asked.ids[0] for one in new]).double().numpy()
        for number, one in enumerate(new):
            one.add(firsts[number : number + 1])

    def _admit(self, one: Extension, alone: bool) -> _Begun | None:
        """Return room for a continuation, or ``None`` while those under way have it all."""
        needed = len(one.asked.ids) - 1
        if needed > self.memory.free and not alone:
            return None
        return _Begun(self.memory.take(needed), one.passage.memory.places[: one.asked.start])

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Return the most likely continuation of each prompt."""
        if self._slots is None:
            return super().greedy(prompts, tokens)
        found: list[list[int]] = [[] for _ in prompts]
        how = Sampling(temperature=0, top_p=1, max_new_tokens=tokens)
        for index, ids in self._slots.decode(prompts, [0] * len(prompts), how):
            found[index] = ids
        return found

    def _advance(self, rows: Sequence[tuple[Extension, _Begun, Row]]) -> None:
        new = [row for _, _, row in rows]
        states = self._passes.run(new) if self._passes else packed(self.model, self.memory, new)
        targets = [
            target
            for one, begun, row in rows
            for target in one.asked.ids[begun.done + 1 : begun.done + 1 + len(row.ids)]
        ]
        losses = self._losses(states, targets).double().numpy()
        ends = np.cumsum([len(row.ids) for _, _, row in rows])[:-1]
        for (one, begun, row), part in zip(rows, np.split(-losses, ends), strict=True):
            one.add(part)
            begun.done += len(row.ids)
            begun.before = np.concatenate([begun.before, row.places])
            if one.finished:
                one.memory = None
            self.computed += len(row.ids)
        self.passes += 1
