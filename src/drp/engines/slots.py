"""Continuous batching in slots: static caches, one CUDA graph per shape, finished rows replaced at once.

Every row of the batch is a slot with a position of its own, so a finished row's slot takes the next
prompt without padding or moving anything. Caches are allocated once and every decoding step is the
same work at the same addresses, so on a GPU it is captured as a CUDA graph and replayed: a small
model's step costs no launch overhead. On a CPU the same step runs as it is.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
# pyright: reportPrivateUsage=false

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from drp.engines.base import Sampling
from drp.engines.sampling import sample

ATTENTION = "drp_slots"
LENGTH_STEP = 128
"""Attention spans a multiple of so many positions on a GPU: one graph each."""
PREFILL_TOKENS = 32_768
MEMORY_SHARE = 0.7
"""Most of the free GPU memory that caches may take."""

Done = tuple[int, list[int]]
"""A finished row: its index among the prompts and its new token ids, the stop token included."""


def _attend(
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


AttentionInterface.register(ATTENTION, _attend)


class _Slots:
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

    def __init__(self, slots: int, room: int, at: _Slots) -> None:
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


def fits(model: PreTrainedModel) -> bool:
    """Return whether a model can be decoded in slots: plain full attention in every layer."""
    layers = DynamicCache(config=model.config).layers
    config: Any = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) or getattr(config, "sliding_window", None)
    plain = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    return plain and not capped and config._attn_implementation in ("sdpa", ATTENTION)


class SlotDecoder:
    """Decodes prompts in a fixed number of slots; caches and graphs serve one call after another.

    Args:
        model: A causal language model for which :func:`fits` is true, in eval mode on its device.
        stop_ids: Tokens that end a row.
        slots: Rows decoded together; fewer where GPU memory does not hold their caches.
    """

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int], slots: int) -> None:
        self.model, self.wanted = model, slots
        self.device: torch.device = model.device
        self.graphed = self.device.type == "cuda"
        self.look_every = 16 if self.graphed else 1  # looking costs a synchronisation on a GPU
        self.stops = torch.tensor(list(stop_ids), dtype=torch.long, device=self.device)
        self.room = self.limit_room = self.slots = 0
        self.seen: Tensor | None = None
        """Which tokens stand in each slot's prompt and completion, bool of shape (slots, vocabulary)."""
        self.at = _Slots()
        self.flying = self.drawn = 0
        """Rows under way, and tokens drawn by all so far, about (a row that ends between two looks counts up to the second)."""

    def _allocate(self, prompt: int, limit: int) -> None:
        """Make room for prompts and new tokens of the given lengths; graphs of smaller rooms go."""
        # -(-a // b) * b rounds a up to a multiple of b: 200 and 56 need 256, 200 and 57 need 384.
        room = -(-(prompt + limit) // LENGTH_STEP) * LENGTH_STEP
        if room <= self.room and limit <= self.limit_room:
            return
        self.cache: Any = None
        self.seen = None
        self.graphs: dict[tuple[int, int, Sampling], torch.cuda.CUDAGraph] = {}
        self.room, self.limit_room = max(room, self.room), max(limit, self.limit_room)
        self.slots = self._affordable()
        cache: Any = DynamicCache(config=self.model.config)
        cache.layers[:] = [_SlotLayer(self.slots, self.room, self.at) for _ in cache.layers]
        self.cache = cache

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros((self.slots, *shape), dtype=dtype, device=self.device)

        self.token, self.position, self.step, self.seed = zeros(), zeros(), zeros(), zeros()
        self.last = zeros()
        """Each row's limit of new tokens, less one."""
        self.done = zeros(dtype=torch.bool)
        self.output = zeros(self.limit_room, dtype=torch.int32)

    def _affordable(self) -> int:
        if not self.graphed:
            return self.wanted
        torch.cuda.empty_cache()
        config: Any = self.model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        # Bytes of one slot: keys and values, of every layer, head and position.
        row = 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize * self.room
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(1, min(self.wanted, int(free * MEMORY_SHARE / row)))

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        how: Sampling,
    ) -> Iterator[Done]:
        """Yield each row as it ends; rows that have not stopped after ``max_new_tokens`` end there.

        Args:
            prompts: Token ids, one sequence a row, of any lengths.
            seeds: One non-negative 63-bit seed a row.
            how: How tokens are drawn.
        """
        before = str(self.model.config._attn_implementation)
        self.model.set_attn_implementation(ATTENTION)
        try:
            self._allocate(max(map(len, prompts)), how.max_new_tokens)
            self._remember(how)
            yield from self._run(prompts, seeds, how)
        finally:
            self.model.set_attn_implementation(before)

    def _remember(self, how: Sampling) -> None:
        """Make room for which tokens each row has seen, where a penalty asks for that."""
        if how.repetition_penalty != 1 and self.seen is None:
            config: Any = self.model.config.get_text_config()
            self.seen = torch.zeros((self.slots, config.vocab_size), dtype=torch.bool, device=self.device)

    def _run(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], how: Sampling) -> Iterator[Done]:
        owner: list[int] = []  # the prompt in each slot in use
        following = 0
        while following < len(prompts) or owner:
            free = self.slots - len(owner)
            # Filling stops decoding for a prefill, so slots that are free wait until they are a sixteenth of all.
            if following < len(prompts) and free >= max(1, self.slots // 16):
                taken = list(range(following, min(following + free, len(prompts))))
                self._fill(len(owner), [prompts[i] for i in taken], [seeds[i] for i in taken], how)
                owner += taken
                following += len(taken)
            self.flying = len(owner)
            self._advance(len(owner), how)
            self.drawn += len(owner) * self.look_every
            ended = self.done[: len(owner)].nonzero().flatten().tolist()
            if not ended:
                continue
            lengths = (self.step[ended]).tolist()
            for row, length, ids in zip(ended, lengths, self.output[ended].tolist(), strict=True):
                yield owner[row], ids[:length]
            owner = self._compact(owner, set(ended))
            self.flying = len(owner)

    def _fill(self, first: int, prompts: list[Sequence[int]], seeds: list[int], how: Sampling) -> None:
        """Put prompts into the slots from ``first`` on: all but their last token goes into the caches."""
        end = first + len(prompts)
        lengths = torch.tensor([len(p) for p in prompts])
        self.position[first:end] = (lengths - 1).to(self.device)
        self.token[first:end] = torch.tensor([p[-1] for p in prompts]).to(self.device)
        self.seed[first:end] = torch.tensor(seeds, dtype=torch.long).to(self.device)
        self.last[first:end] = how.max_new_tokens - 1
        self.step[first:end] = 0
        self.done[first:end] = False
        if how.repetition_penalty != 1 and self.seen is not None:
            self.seen[first:end] = False
            for row, prompt in enumerate(prompts, first):
                self.seen[row, torch.tensor(list(prompt)).to(self.device)] = True
        # The last token of a prompt is not prefilled: the first step feeds it, and draws what follows from its logits.
        width = int(lengths.max()) - 1
        per_pass = max(1, PREFILL_TOKENS // max(1, width))
        for start in range(0, len(prompts) if width else 0, per_pass):
            part = prompts[start : start + per_pass]
            ids = torch.zeros((len(part), width), dtype=torch.long)
            for row, prompt in enumerate(part):
                ids[row, : len(prompt) - 1] = torch.tensor(list(prompt[:-1]))
            # Padding stands on the right, where no real token sees it; decoding overwrites it.
            self.at.rows, self.at.position = slice(first + start, first + start + len(part)), None
            places = torch.arange(width, device=self.device).expand(len(part), -1)
            mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=self.device)  # taken as it is
            self._forward(ids.to(self.device), mask, places)

    def _advance(self, rows: int, how: Sampling) -> None:
        """Decode ``look_every`` tokens of the first ``rows`` slots."""
        needed = int(self.position[:rows].max()) + self.look_every
        if not self.graphed:
            self._step(rows, min(needed, self.room), how)
            return
        length = min(-(-needed // LENGTH_STEP) * LENGTH_STEP, self.room)
        # Sizes are powers of two from 16 on and spans multiples of 128, so few shapes, and graphs, serve all steps.
        size = min(self.slots, max(16, 1 << (rows - 1).bit_length()))
        self.done[rows:size] = True  # slots beyond the rows in use ride along and change nothing
        key = (size, length, how)
        if key not in self.graphs:
            self.graphs[key] = self._capture(*key)
        for _ in range(self.look_every):
            self.graphs[key].replay()

    def _capture(self, size: int, length: int, how: Sampling) -> torch.cuda.CUDAGraph:
        # The step that warms up is a real one and must leave no trace: what it changed is put back. The caches need not be: it
        # wrote the present token's keys and values, which the first replay writes again, the same.
        state = (self.token, self.position, self.step, self.done, self.output, *self._seen())
        saved = [part.clone() for part in state]
        aside = torch.cuda.Stream(self.device)
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):  # libraries allocate on their first call, which no graph may hold
            self._step(size, length, how)
        torch.cuda.current_stream(self.device).wait_stream(aside)
        for part, value in zip(state, saved, strict=True):
            part.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(size, length, how)
        return graph

    def _step(self, rows: int, length: int, how: Sampling) -> None:
        """Feed each row's newest token and draw the next; rows that are done stay as they are."""
        token, position, step = self.token[:rows], self.position[:rows], self.step[:rows]
        done, output = self.done[:rows], self.output[:rows]
        self.at.position, self.at.length = position, length
        mask = torch.arange(length, device=self.device) <= position.unsqueeze(-1)
        result = self._forward(token.unsqueeze(-1), mask[:, None, None], position.unsqueeze(-1))
        seen = self.seen[:rows] if how.repetition_penalty != 1 and self.seen is not None else None
        drawn = sample(result.logits[:, -1], self.seed[:rows], step, how, seen)
        if seen is not None:
            seen.scatter_(1, drawn.unsqueeze(-1), True)
        # Nothing here may depend on values on the host, or the graph could not replay it: rows that are done are computed like
        # all others, and write what they hold already. (A row that is done may stand one step beyond the output: clamped.)
        place = step.clamp(max=self.limit_room - 1).unsqueeze(-1)
        output.scatter_(
            1, place, torch.where(done, output.gather(1, place).squeeze(-1), drawn.int()).unsqueeze(-1)
        )
        ends = (torch.isin(drawn, self.stops) | (step >= self.last[:rows])) & ~done
        goes_on = ~done & ~ends
        token.copy_(torch.where(done, token, drawn))
        step += (~done).long()
        position += goes_on.long()
        done |= ends

    def _forward(self, ids: Tensor, mask: Tensor, places: Tensor) -> Any:
        """Run the model on tokens at places, both of shape (rows, new), over the caches."""
        return self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )

    def _seen(self) -> tuple[Tensor, ...]:
        return () if self.seen is None else (self.seen,)

    def _compact(self, owner: list[int], ended: set[int]) -> list[int]:
        """Move the last rows still under way into slots that ended; return who is where."""
        # Rows 0..4 with 1 and 4 ended: 3 stay, the hole is 1, the mover 3, and rows 0, 3, 2 are then 0, 1, 2.
        kept = len(owner) - len(ended)
        holes = sorted(row for row in ended if row < kept)
        movers = [row for row in range(kept, len(owner)) if row not in ended]
        if holes:
            to = torch.tensor(holes, device=self.device)
            source = torch.tensor(movers, device=self.device)
            state = (
                self.token,
                self.position,
                self.step,
                self.seed,
                self.last,
                self.done,
                self.output,
                *self._seen(),
            )
            for part in (*state, *(part for layer in self.cache.layers for part in layer.store)):
                part[to] = part[source]
            for hole, mover in zip(holes, movers, strict=True):
                owner[hole] = owner[mover]
        return owner[:kept]
