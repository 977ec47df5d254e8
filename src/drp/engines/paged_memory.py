"""Keys and values of many texts in one store, a place for every token.

A text's memory is a list of places, so texts of any lengths lie side by side, a prefix of one is its first places, and
nothing is copied when a continuation grows or a row leaves. :func:`packed` runs a model over new tokens of many rows
at once, laid end to end without padding: only attention needs to know rows, and it gathers what each of them sees.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportPrivateImportUsage=false, reportPrivateUsage=false

import threading
import weakref
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ATTENTION = "drp_paged"
ALIGNED = 16
"""Rows of a group span a multiple of so many columns; attention kernels want their masks aligned."""
NOWHERE = 0
"""The place of padding: it is written, and nobody looks at it."""
FEW = 8
"""A group is not split for the sake of less padding while it has fewer rows."""

Places = NDArray[np.int64]


@dataclass(eq=False)
class Held:
    """Places that are taken until nobody has this object any more."""

    places: Places


class PagedMemory:
    """The store, and which of its places are free.

    Args:
        model: The model whose keys and values it keeps.
        places: How many to begin with.
    """

    def __init__(self, model: PreTrainedModel, places: int) -> None:
        config: Any = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.layers = len(DynamicCache(config=model.config).layers)
        self._like = torch.empty(0, dtype=model.dtype, device=model.device)
        self._shape, self._hidden = (heads, size), int(config.hidden_size)
        self.keys = [self._like.new_empty((places, heads, size)) for _ in range(self.layers)]
        self.values = [self._like.new_empty((places, heads, size)) for _ in range(self.layers)]
        self.states = self._like.new_empty((places, self._hidden))
        """Of the last layer."""
        for store in (*self.keys, *self.values):
            store[NOWHERE] = 0  # hidden by masks, but 0 × what happens to lie there may be no number
        self.places = places
        self.grown = 0
        """How often the store had to move; who holds on to its tensors looks here."""
        self._free: Places = np.arange(places - 1, NOWHERE, -1)
        self._returned: deque[Places] = deque()

    @staticmethod
    def bytes_a_place(model: PreTrainedModel) -> int:
        """Return what one token takes."""
        config: Any = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        layers = len(DynamicCache(config=model.config).layers)
        return (2 * layers * heads * size + int(config.hidden_size)) * model.dtype.itemsize

    @property
    def free(self) -> int:
        """How many places are free."""
        while self._returned:  # what others give back, they give back whenever they end, from any thread
            self._free = np.concatenate([self._free, self._returned.popleft()])
        return len(self._free)

    def take(self, count: int) -> Held:
        """Return places; the store grows if there are too few."""
        if count > self.free:
            self._grow(count - self.free)
        self._free, taken = self._free[: len(self._free) - count], self._free[len(self._free) - count :]
        held = Held(taken)
        weakref.finalize(held, self._returned.append, taken).atexit = False
        return held

    def _grow(self, missing: int) -> None:
        more = max(missing, self.places // 4)

        def grown(store: Tensor) -> Tensor:
            return torch.cat([store, store.new_empty((more, *store.shape[1:]))])

        for layer in range(self.layers):
            self.keys[layer], self.values[layer] = grown(self.keys[layer]), grown(self.values[layer])
        self.states = grown(self.states)
        self._free = np.concatenate([np.arange(self.places + more - 1, self.places - 1, -1), self._free])
        self.places += more
        self.grown += 1


@dataclass(frozen=True)
class Row:
    """New tokens of one text."""

    ids: Sequence[int]
    """At least one."""
    before: Places
    """Where the tokens before them lie, in their order."""
    places: Places
    """Where theirs go; as many as ``ids``."""


@dataclass(frozen=True)
class Group:
    """Rows that attention treats together, padded to one shape."""

    columns: Tensor
    """What each row sees, itself included: places of shape (rows × columns)."""
    shape: tuple[int, int, int]
    """Rows, most new tokens of one, columns."""
    mask: Tensor
    """What to add to attention scores; see :func:`visible`."""
    take: Tensor | None = None
    """Of each new token in the padded shape: which of the packed ones it is; ``None``: they have that shape."""
    real: Tensor | None = None
    """Which tokens of the padded shape are no padding."""
    put: Tensor | None = None
    """Where these stand among the packed ones."""


class _Plan(threading.local):
    """What attention must know of the pass that is under way in this thread."""

    places: Tensor | None = None
    groups: Sequence[Group] = ()


_plan = _Plan()


class _PagedLayer(DynamicLayer):
    """A cache layer that puts the new tokens of a packed pass into the store and returns all of it."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.store = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Store states of shape (1, heads, new, size)."""
        assert _plan.places is not None
        keys, values = self.store
        keys.index_copy_(0, _plan.places, key_states[0].transpose(0, 1))
        values.index_copy_(0, _plan.places, value_states[0].transpose(0, 1))
        return keys, values

    def get_seq_length(self) -> int:
        """Return 0: positions are given."""
        return 0


def _attend(
    _: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    scaling: float | None = None,
    **__: object,
) -> tuple[Tensor, None]:
    """Attention as ``AttentionInterface`` wants it, for packed tokens over the store.

    Shapes: query (1, heads, new, size), key and value (places, key heads, size). The query heads that share a key head
    stand where tokens would, so that keys and values are never repeated.
    """
    heads, size = query.shape[1], query.shape[3]
    shared = heads // key.shape[1]
    tokens = query[0].transpose(0, 1)
    out = tokens.new_empty((len(tokens), heads, value.shape[-1]))
    for group in _plan.groups:
        rows, new, columns = group.shape
        asks = tokens if group.take is None else tokens.index_select(0, group.take)
        asks = asks.reshape(rows, new, key.shape[1], shared, size).permute(0, 2, 3, 1, 4)
        seen_keys = key.index_select(0, group.columns).view(rows, columns, *key.shape[1:]).transpose(1, 2)
        seen_values = value.index_select(0, group.columns).view(rows, columns, *value.shape[1:])
        found = scaled_dot_product_attention(
            asks.reshape(rows, key.shape[1], shared * new, size),
            seen_keys,
            seen_values.transpose(1, 2),
            attn_mask=group.mask,
            scale=scaling,
        )
        found = found.view(rows, key.shape[1], shared, new, -1).permute(0, 3, 1, 2, 4)
        found = found.reshape(rows * new, heads, -1)
        if group.put is None or group.real is None:
            return found[None], None
        out.index_copy_(0, group.put, found.index_select(0, group.real))
    return out[None], None


AttentionInterface.register(ATTENTION, _attend)


@contextmanager
def attending(model: PreTrainedModel) -> Generator[None]:
    """Let a model attend over stores while this lasts."""
    before = str(model.config._attn_implementation)
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@torch.inference_mode()
def packed(model: PreTrainedModel, memory: PagedMemory, rows: Sequence[Row]) -> Tensor:
    """Run new tokens of many rows through the layers; return their states, of shape (tokens, hidden), row after row.

    What they leave behind goes to their places in ``memory``.
    """

    def there(values: Places) -> Tensor:
        return torch.from_numpy(values).to(model.device)

    ids = np.concatenate([np.asarray(row.ids, dtype=np.int64) for row in rows])
    positions = np.concatenate([np.arange(len(row.before), len(row.before) + len(row.ids)) for row in rows])
    places = np.concatenate([row.places for row in rows])
    groups = [_group(part, rows, model) for part in _groups(rows)]
    with attending(model):
        return run(model, memory, there(ids), there(positions), there(places), groups)


def run(
    model: PreTrainedModel,
    memory: PagedMemory,
    ids: Tensor,
    positions: Tensor,
    places: Tensor,
    groups: Sequence[Group],
) -> Tensor:
    """Run one pass of a model that is :func:`attending`; return the states of its tokens.

    Args:
        model: The model.
        memory: Where keys and values are.
        ids: New tokens, one after the other.
        positions: Of each, its position in its text.
        places: Of each, where it goes.
        groups: Who sees what.
    """
    cache: Any = DynamicCache(config=model.config)
    cache.layers[:] = [_PagedLayer(k, v) for k, v in zip(memory.keys, memory.values, strict=True)]
    _plan.places, _plan.groups = places, groups
    try:
        return model.base_model(
            input_ids=ids[None],
            attention_mask=torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device),  # taken as it is
            position_ids=positions[None],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[0]
    finally:
        _plan.places, _plan.groups = None, ()


def visible(last: Tensor, new: int, columns: int, model: PreTrainedModel) -> Tensor:
    """Return what to add to attention scores so that each of ``new`` tokens sees its own column and those before.

    Args:
        last: Of each row, the column of its first new token.
        new: New tokens a row.
        columns: Columns a row.
        model: Whose heads share keys, and whose precision counts.

    Returns:
        Shape (rows, 1, heads that share a key × new, columns).
    """
    config: Any = model.config.get_text_config()
    shared = config.num_attention_heads // (
        getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    )
    column = torch.arange(columns, device=last.device)
    seen = column <= (last[:, None] + torch.arange(new, device=last.device))[:, :, None]
    mask = torch.zeros((), dtype=model.dtype, device=last.device).where(seen, torch.finfo(model.dtype).min)
    return mask[:, None].repeat(1, 1, shared, 1)


def _groups(rows: Sequence[Row]) -> list[list[int]]:
    """Return indices of rows that are of similar shape: new tokens within a power of two, columns within a factor of two."""

    def shape(index: int) -> tuple[int, int]:
        return (len(rows[index].ids) - 1).bit_length(), len(rows[index].before)

    groups: list[list[int]] = []
    for index in sorted(range(len(rows)), key=shape):
        group = groups[-1] if groups else []
        if group:
            (size, least), (own, columns) = shape(group[0]), shape(index)
            if (size == own and columns <= 2 * least) or len(group) < FEW:
                group.append(index)
                continue
        groups.append([index])
    return groups


def _group(indices: Sequence[int], rows: Sequence[Row], model: PreTrainedModel) -> Group:
    counts = np.array([len(rows[i].ids) for i in indices])
    befores = np.array([len(rows[i].before) for i in indices])
    firsts = np.concatenate([[0], np.cumsum([len(row.ids) for row in rows])])[list(indices)]
    new, columns = int(counts.max()), -(-int((befores + counts).max()) // ALIGNED) * ALIGNED
    seen = np.zeros((len(indices), columns), dtype=np.int64)
    for at, index in enumerate(indices):
        row = rows[index]
        seen[at, : len(row.before)] = row.before
        seen[at, len(row.before) : len(row.before) + len(row.places)] = row.places
    within = np.arange(new) < counts[:, None]
    take = np.where(within, firsts[:, None] + np.arange(new), firsts[:, None])

    def there(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(model.device)

    return Group(
        columns=there(seen.reshape(-1)),
        shape=(len(indices), new, columns),
        take=there(take.reshape(-1)),
        real=there(np.flatnonzero(within)),
        put=there(take[within]),
        mask=visible(there(befores), new, columns, model),
    )
