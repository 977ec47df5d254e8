"""Triton kernels of a decoding step: what is small between the matrix products, attention over pages, the draw.

Between two matrix products of a layer the library's own code runs some thirty small operations. Each reads and writes
little, so what it costs is its launch; here they are four kernels. Roundings are those of the library's code, operation by
operation, so that outputs stay the same but for the order of sums.
"""

# Triton ships no types, and inside a kernel Python's are not what runs.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false, reportUnnecessaryComparison=false
# pyright: reportConstantRedefinition=false, reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false
# ruff: noqa: N803, PLR0913

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from drp.engines.pages import PAGE, SMALLEST_PART


@triton.jit
def _norm(x, more, weight, total, out, size, eps, ADD: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * size
    at = tl.arange(0, WIDTH)
    inside = at < size
    value = tl.load(x + row + at, mask=inside, other=0.0)
    kind = value.dtype
    if ADD:
        other = tl.load(more + row + at, mask=inside, other=0.0)
        value = (value.to(tl.float32) + other.to(tl.float32)).to(kind)
        tl.store(total + row + at, value, mask=inside)
    wide = value.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 0) / size + eps)
    normal = (wide * scale).to(kind).to(tl.float32)
    gain = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row + at, (normal * gain).to(kind), mask=inside)


def norm(x: Tensor, weight: Tensor, eps: float, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return ``x + more`` and its RMS norm times ``weight``; both of shape (rows, size), as ``x`` is."""
    rows, size = x.shape
    out = torch.empty_like(x)
    total = x if more is None else torch.empty_like(x)
    _norm[(rows,)](
        x, x if more is None else more, weight, total, out, size, eps,
        ADD=more is not None, WIDTH=triton.next_power_of_2(size), num_warps=8 if size > 1024 else 4,
    )  # fmt: skip
    return total, out


@triton.jit
def _gate(both, out, size, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    gate = tl.load(both + row * 2 * size + at, mask=inside, other=0.0)
    up = tl.load(both + row * 2 * size + size + at, mask=inside, other=0.0)
    kind = gate.dtype
    wide = gate.to(tl.float32)
    act = (wide / (1.0 + tl.exp(-wide))).to(kind).to(tl.float32)
    tl.store(out + row * size + at, (act * up.to(tl.float32)).to(kind), mask=inside)


def gate(both: Tensor) -> Tensor:
    """Return SiLU of the first half of each row times the second half."""
    rows, size = both.shape[0], both.shape[1] // 2
    out = both.new_empty((rows, size))
    _gate[(rows, triton.cdiv(size, 1024))](both, out, size, BLOCK=1024, num_warps=4)
    return out


@triton.jit
def _turn(
    qkv, cos, sin, query_gain, key_gain, eps, query, keys, values, table, position, table_width,
    HEADS: tl.constexpr, KEY_HEADS: tl.constexpr, SIZE: tl.constexpr, NORM: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    at = tl.arange(0, SIZE)
    half: tl.constexpr = SIZE // 2
    across = (at + half) % SIZE
    source = qkv + row * (HEADS + 2 * KEY_HEADS) * SIZE + head * SIZE
    value = tl.load(source + at)
    kind = value.dtype
    if head < HEADS + KEY_HEADS:
        x = value.to(tl.float32)
        y = tl.load(source + across).to(tl.float32)
        if NORM:
            gain = query_gain
            if head >= HEADS:
                gain = key_gain
            scale = 1.0 / tl.sqrt(tl.sum(x * x, 0) / SIZE + eps)
            x = (
                ((x * scale).to(kind).to(tl.float32) * tl.load(gain + at).to(tl.float32))
                .to(kind)
                .to(tl.float32)
            )
            y = (
                ((y * scale).to(kind).to(tl.float32) * tl.load(gain + across).to(tl.float32))
                .to(kind)
                .to(tl.float32)
            )
        y = tl.where(at < half, -y, y)
        turned = (x * tl.load(cos + row * SIZE + at).to(tl.float32)).to(kind).to(tl.float32)
        turned += (y * tl.load(sin + row * SIZE + at).to(tl.float32)).to(kind).to(tl.float32)
        value = turned.to(kind)
    if head < HEADS:
        tl.store(query + (row * HEADS + head) * SIZE + at, value)
    else:
        place = tl.load(position + row)
        page = tl.load(table + row * table_width + place // PAGE).to(tl.int64)
        target = (page * PAGE + place % PAGE) * KEY_HEADS * SIZE
        if head < HEADS + KEY_HEADS:
            tl.store(keys + target + (head - HEADS) * SIZE + at, value)
        else:
            tl.store(values + target + (head - HEADS - KEY_HEADS) * SIZE + at, value)


def turn(
    qkv: Tensor, cos: Tensor, sin: Tensor, gains: tuple[Tensor, Tensor] | None, eps: float,
    store: tuple[Tensor, Tensor], table: Tensor, position: Tensor,
) -> Tensor:  # fmt: skip
    """Rotate queries and keys to their positions, put keys and values into their pages; return the queries.

    Args:
        qkv: Shape (rows, (heads + 2 key heads) * size).
        cos: Of each row's position, shape (rows, size); ``sin`` likewise.
        sin: See ``cos``.
        gains: Weights of the norms of queries and keys, where the model has them.
        eps: Of these norms.
        store: Keys and values, each of shape (pages, PAGE, key heads, size).
        table: Each row's pages in order, int32 of shape (rows, pages of the longest row).
        position: Where each row's token stands, int64 of shape (rows,).

    Returns:
        Shape (rows, heads, size).
    """
    rows = len(qkv)
    keys, values = store
    _, _, key_heads, size = keys.shape
    heads = qkv.shape[1] // size - 2 * key_heads
    query = qkv.new_empty((rows, heads, size))
    query_gain, key_gain = gains or (cos, cos)
    _turn[(rows, heads + 2 * key_heads)](
        qkv, cos, sin, query_gain, key_gain, eps, query, keys, values, table, position, table.stride(0),
        HEADS=heads, KEY_HEADS=key_heads, SIZE=size, NORM=gains is not None, PAGE=PAGE, num_warps=1,
    )  # fmt: skip
    return query


@triton.jit
def _attend(
    query, keys, values, table, position, out, parts, sums, scale, table_width,
    KEY_HEADS: tl.constexpr, GROUP: tl.constexpr, PADDED: tl.constexpr, SIZE: tl.constexpr, PAGE: tl.constexpr,
    BLOCK: tl.constexpr, PARTS: tl.constexpr, LEAST: tl.constexpr, TENSOR_CORES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    part = tl.program_id(2)
    length = (tl.load(position + row) + 1).to(tl.int32)
    # Each row is cut by its own length, so that what it computes does not depend on its company.
    share = tl.maximum(tl.cdiv(tl.cdiv(length, PARTS), BLOCK) * BLOCK, LEAST)
    start = part * share
    end = tl.minimum(start + share, length)
    if start < length:
        group = tl.arange(0, PADDED)
        at = tl.arange(0, SIZE)
        heads = head * GROUP + group
        mine = (row * KEY_HEADS * GROUP + heads)[:, None] * SIZE + at[None, :]
        q = tl.load(query + mine, mask=(group < GROUP)[:, None], other=0.0)
        most = tl.full((PADDED,), float("-inf"), tl.float32)
        total = tl.zeros((PADDED,), tl.float32)
        found = tl.zeros((PADDED, SIZE), tl.float32)
        for first in range(start, end, BLOCK):
            column = first + tl.arange(0, BLOCK)
            page = tl.load(table + row * table_width + first // PAGE).to(tl.int64)
            place = (page * PAGE + first % PAGE + tl.arange(0, BLOCK)) * KEY_HEADS + head
            inside = (column < end)[:, None]
            k = tl.load(keys + place[:, None] * SIZE + at[None, :], mask=inside, other=0.0)
            v = tl.load(values + place[:, None] * SIZE + at[None, :], mask=inside, other=0.0)
            if TENSOR_CORES:
                score = tl.dot(q, tl.trans(k)) * scale
            else:
                score = tl.sum(q[:, None, :] * k[None, :, :], 2) * scale
            score = tl.where((column < end)[None, :], score, float("-inf"))
            above = tl.maximum(most, tl.max(score, 1))
            weight = tl.exp(score - above[:, None])
            shrink = tl.exp(most - above)
            total = total * shrink + tl.sum(weight, 1)
            if TENSOR_CORES:
                found = found * shrink[:, None] + tl.dot(weight.to(v.dtype), v)
            else:
                found = found * shrink[:, None] + tl.sum(weight[:, :, None] * v[None, :, :], 1)
            most = above
        if PARTS == 1:
            found = found / total[:, None]
            tl.store(out + mine, found.to(out.dtype.element_ty), mask=(group < GROUP)[:, None])
        else:
            slot = (row * KEY_HEADS * GROUP + heads) * PARTS + part
            tl.store(parts + slot[:, None] * SIZE + at[None, :], found, mask=(group < GROUP)[:, None])
            tl.store(sums + slot * 2, most, mask=group < GROUP)
            tl.store(sums + slot * 2 + 1, total, mask=group < GROUP)


@triton.jit
def _gather(
    parts, sums, position, out,
    SIZE: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr, LEAST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = row * tl.num_programs(1) + tl.program_id(1)
    length = (tl.load(position + row) + 1).to(tl.int32)
    share = tl.maximum(tl.cdiv(tl.cdiv(length, PARTS), BLOCK) * BLOCK, LEAST)
    part = tl.arange(0, PARTS)
    used = part * share < length
    at = tl.arange(0, SIZE)
    most = tl.load(sums + (slot * PARTS + part) * 2, mask=used, other=float("-inf"))
    weight = tl.exp(most - tl.max(most, 0))
    total = tl.sum(tl.load(sums + (slot * PARTS + part) * 2 + 1, mask=used, other=0.0) * weight, 0)
    found = tl.load(
        parts + (slot * PARTS + part)[:, None] * SIZE + at[None, :], mask=used[:, None], other=0.0
    )
    found = tl.sum(found * weight[:, None], 0) / total
    tl.store(out + slot * SIZE + at, found.to(out.dtype.element_ty))


def attend(
    query: Tensor, store: tuple[Tensor, Tensor], table: Tensor, position: Tensor, scale: float, parts: int
) -> Tensor:
    """Return what one new token a row attends to, of the shape of ``query``: (rows, heads, size).

    Keys and values are read where they lie, each row's up to its own position, and once for all query heads that share
    a key head. For the other arguments see :func:`turn`; ``parts`` is what :func:`drp.engines.pages.parts_for` says.
    """
    rows, heads, size = query.shape
    keys, values = store
    key_heads = keys.shape[2]
    group = heads // key_heads
    cores = query.dtype != torch.float32
    padded = max(16 if cores else 1, triton.next_power_of_2(group))
    block = 64 if cores else max(8, min(64, 2048 // (padded * size) * 4))
    out = torch.empty_like(query)
    split, sums = out, out
    if parts > 1:
        split = query.new_empty((rows, heads, parts, size), dtype=torch.float32)
        sums = query.new_empty((rows, heads, parts, 2), dtype=torch.float32)
    shape: dict[str, Any] = {"SIZE": size, "BLOCK": block, "PARTS": parts, "LEAST": SMALLEST_PART}
    _attend[(rows, key_heads, parts)](
        query, keys, values, table, position, out, split, sums, scale, table.stride(0),
        KEY_HEADS=key_heads, GROUP=group, PADDED=padded, PAGE=PAGE, TENSOR_CORES=cores, **shape,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    if parts > 1:
        _gather[(rows, heads)](split, sums, position, out, **shape, num_warps=2)
    return out
