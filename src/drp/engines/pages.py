"""Caches of the rows that are decoded together, in pages: a row holds as many as it has filled.

Traces have long tails. If every slot had room for the longest, memory would hold a third of the rows that it can; so
memory is cut into pages of 128 positions, a table says which are whose, and a row takes one when it needs it.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from drp.engines import rooms
from drp.engines.nucleus import kernels

ATTENTION = "drp_pages"
PAGE = 128
"""Positions of a page."""
SMALLEST_PART = 256
"""Fewest positions that are worth a program of their own."""
MOST_PARTS = 32
NOBODYS = 0
"""The page into which padding and idle slots write."""
_now: "list[Pages]" = []
"""Whose forward pass it is: the library's attention is told its layer, and not the cache."""


def _attend(module: torch.nn.Module, query: Tensor, *states: Any, **options: Any) -> tuple[Tensor, None]:
    """Attention as ``AttentionInterface`` wants it: over the pages for one new token a row, else a causal prefill's."""
    pages = _now[0]
    if pages.position is None:
        return rooms.attend(module, query, *states, **options)
    layer: Any = module
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    return pages.attend(layer.layer_idx, query[:, :, 0].contiguous(), scale)[:, None], None


AttentionInterface.register(ATTENTION, _attend)


def _attend_plainly(
    query: Tensor, store: tuple[Tensor, Tensor], table: Tensor, position: Tensor, scale: float
) -> Tensor:
    """Return what :func:`drp.engines.kernels.attend` returns, by tensor operations: pages are copied side by side."""
    rows, heads, size = query.shape
    # (rows, pages, PAGE, key heads, size) becomes (rows, key heads, positions, size).
    keys, values = (part[table[:rows].long()].flatten(1, 2).transpose(1, 2) for part in store)
    grouped = query.view(rows, keys.shape[1], -1, size)
    mask = torch.arange(keys.shape[2], device=query.device) <= position.unsqueeze(-1)
    out = scaled_dot_product_attention(grouped, keys, values, attn_mask=mask[:, None, None], scale=scale)
    return out.reshape(rows, heads, size)


def parts_for(rows: int, key_heads: int, longest: int, processors: int) -> int:
    """Return into how many parts attention cuts the longest row: enough to keep a card's processors busy."""
    wanted = max(-(-4 * processors // (rows * key_heads)), -(-longest // 2048))
    most = min(MOST_PARTS, -(-longest // SMALLEST_PART))
    return 1 << (max(1, min(wanted, most)) - 1).bit_length()


class _PagedLayer(DynamicLayer):
    """One layer's keys and values, each of shape (pages, PAGE, key heads, size)."""

    def __init__(self, pages: "Pages") -> None:
        super().__init__()
        self.pages = pages
        self.store: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store states of shape (rows, heads, new, size) and return them: attention finds the others by the table."""
        if self.store is None:
            heads, size = key_states.shape[1], key_states.shape[3]
            shape = (self.pages.count, PAGE, heads, size)
            self.store = (key_states.new_zeros(shape), value_states.new_zeros(shape))
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        page, place = self.pages.target()
        for part, states in zip(self.store, (key_states, value_states), strict=True):
            part[page, place] = states.transpose(1, 2)
        return key_states, value_states

    def get_seq_length(self) -> int:
        """Return 0: positions are given explicitly."""
        return 0


class Pages:
    """Pages that rows share. See :class:`drp.engines.rooms.Rooms` for what the methods promise.

    Args:
        model: The model whose keys and values are kept.
        slots: Most rows decoded together.
        room: Most positions of a row.
        count: Pages; ``None`` for as many as GPU memory holds, and no more than all rows at their longest need.
    """

    attention = ATTENTION

    def __init__(self, model: PreTrainedModel, slots: int, room: int, count: int | None = None) -> None:
        self.slots, self.room, self.model = slots, room, model
        self.most = -(-room // PAGE)
        if count is None and model.device.type != "cuda":
            count = slots * self.most
        elif count is None:
            count = rooms.free_bytes(model.device) // (rooms.token_bytes(model) * PAGE)
        # Whatever the memory, one row at its longest must fit, or nothing would ever be decoded.
        self.count = 1 + max(self.most, min(count, slots * self.most))
        self.free = list(range(self.count - 1, NOBODYS, -1))
        self.held: list[list[int]] = [[] for _ in range(slots)]
        self.table = torch.zeros((slots, self.most), dtype=torch.int32, device=model.device)
        self._changed: dict[tuple[int, int], int] = {}
        config: Any = model.config.get_text_config()
        self.key_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        cuda = model.device.type == "cuda"
        self.processors = torch.cuda.get_device_properties(model.device).multi_processor_count if cuda else 2
        self._page, self._place = self.table, self.table
        self.position: Tensor | None = None
        self.parts = 1
        cache: Any = DynamicCache(config=model.config)
        cache.layers[:] = [_PagedLayer(self) for _ in cache.layers]
        self.cache: Any = cache

    def create(self) -> None:
        """Take the memory now, for a plain model of which no forward pass has shown its shapes yet."""
        config: Any = self.model.config.get_text_config()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (self.count, PAGE, self.key_heads, size)
        for layer in self.cache.layers:
            keys, values = (
                torch.zeros(shape, dtype=self.model.dtype, device=self.table.device) for _ in "kv"
            )
            layer.store, layer.is_initialized = (keys, values), True
            layer.dtype, layer.device = keys.dtype, keys.device

    def hold(self, slot: int, tokens: int, spare: int = 0) -> bool:
        """Give a row the pages of its first tokens; return whether there were enough, with ``spare`` ones left."""
        held = self.held[slot]
        missing = -(-tokens // PAGE) - len(held)
        if missing > 0 and missing + spare > len(self.free):
            return False
        for _ in range(missing):
            self._changed[slot, len(held)] = self.free[-1]
            held.append(self.free.pop())
        return True

    def let_go(self, slot: int) -> None:
        """Take a row's pages back."""
        self.free += reversed(self.held[slot])
        self.held[slot] = []

    def idle(self, first: int, last: int) -> None:
        """Say that slots ride along without a row: what they write goes to nobody's page."""
        self.write()
        self.table[first:last] = NOBODYS

    def move(self, holes: Sequence[int], movers: Sequence[int]) -> None:
        """Let rows change their slots: only the table changes."""
        self.write()
        self.table[list(holes)] = self.table[list(movers)]
        for hole, mover in zip(holes, movers, strict=True):
            self.held[hole], self.held[mover] = self.held[mover], []

    def write(self) -> None:
        """Bring the table on the GPU up to date."""
        if not self._changed:
            return
        places = torch.tensor(list(self._changed)).to(self.table.device)
        pages = torch.tensor(list(self._changed.values()), dtype=torch.int32).to(self.table.device)
        self.table[places[:, 0], places[:, 1]] = pages
        self._changed.clear()

    def prefill(self, first: int, lengths: Sequence[int], width: int) -> None:
        """Say where the next forward pass writes: prompts of the given lengths, padded to ``width``, from a slot on."""
        self.write()
        device = self.table.device
        place = torch.arange(width, device=device)
        inside = place < torch.tensor(list(lengths)).to(device).unsqueeze(-1)
        page = self.table[first : first + len(lengths)][:, place // PAGE].long()
        self._page, self._place = torch.where(inside, page, NOBODYS), place % PAGE
        self.position, _now[:] = None, [self]

    def step(self, position: Tensor, length: int) -> None:
        """Say where the next forward pass writes: one token a row, of which the longest has ``length`` positions."""
        self.position, _now[:] = position, [self]
        self.parts = self.shape_of(len(position), length)
        page = self.table[: len(position)].gather(1, (position // PAGE).unsqueeze(-1))
        self._page, self._place = page.long(), (position % PAGE).unsqueeze(-1)

    def shape_of(self, rows: int, length: int) -> int:
        """Return into how many parts attention cuts a row of ``length`` positions."""
        return parts_for(rows, self.key_heads, length, self.processors)

    def target(self) -> tuple[Tensor, Tensor]:
        """Return page and place of every token of this forward pass, each of shape (rows, new) or broadcast to it."""
        return self._page, self._place

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Return what one new token a row attends to; query of shape (rows, heads, size), and so is what it returns."""
        store, position = self.cache.layers[layer].store, self.position
        assert position is not None  # for pyright: asked for one new token a row only
        if kernels(query.device.type):
            from drp.engines.kernels import attend

            return attend(query, store, self.table, position, scale, self.parts)
        return _attend_plainly(query, store, self.table, position, scale)
