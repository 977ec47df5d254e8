"""The draw of :mod:`drp.engines.nucleus` as one Triton kernel: a program a row, which reads its logits a few times."""

# Triton ships no types, and inside a kernel Python's are not what runs.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false, reportUnnecessaryComparison=false
# pyright: reportConstantRedefinition=false, reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false
# ruff: noqa: N803, PLR0913

import torch
import triton
import triton.language as tl
from torch import Tensor

from drp.engines.base import Sampling


@triton.jit
def _key(value, SHIFT: tl.constexpr):
    # The bits of a float, read as an integer, order floats above 0; those below 0 are turned round. What comes from 16 bits
    # has 16 bits that say nothing.
    bits = value.to(tl.int32, bitcast=True)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> SHIFT


@triton.jit
def _value(key, SHIFT: tl.constexpr):
    full = key << SHIFT
    if SHIFT > 0:
        full = tl.where(key < 0, full | ((1 << SHIFT) - 1), full)
    return (full ^ ((full >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _load(row, at, size, most, rate, min_p, MIN_P: tl.constexpr, SHIFT: tl.constexpr):
    """Return keys and weights of the tokens ``at``; a token that is not there, or that min-p leaves out, has no weight."""
    inside = at < size
    value = tl.load(row + at, mask=inside, other=float("-inf")).to(tl.float32)
    weight = tl.exp((value - most) * rate)
    if MIN_P:
        weight = tl.where(weight < min_p, 0.0, weight)
    return _key(value, SHIFT), weight, inside


@triton.jit
def _search(
    row, size, most, rate, min_p, low, high, goal,
    COUNT: tl.constexpr, MIN_P: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the largest key of which, and of those above it, there is as much as ``goal``; quarters at a time."""
    while high > low + 1:
        step = tl.maximum((high >> 2) - (low >> 2), 1)
        first, second, third = low + step, low + 2 * step, low + 3 * step
        one = tl.zeros((BLOCK,), tl.float32)
        two = tl.zeros((BLOCK,), tl.float32)
        three = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, size, BLOCK):
            key, weight, inside = _load(
                row, start + tl.arange(0, BLOCK), size, most, rate, min_p, MIN_P, SHIFT
            )
            if COUNT:
                weight = tl.where(inside, 1.0, 0.0)
            one += tl.where(key >= first, weight, 0.0)
            two += tl.where((key >= second) & (second < high), weight, 0.0)
            three += tl.where((key >= third) & (third < high), weight, 0.0)
        if (tl.sum(three, 0) >= goal) & (third < high):
            low = third
        elif (tl.sum(two, 0) >= goal) & (second < high):
            low, high = second, tl.minimum(third, high)
        elif tl.sum(one, 0) >= goal:
            low, high = first, tl.minimum(second, high)
        else:
            high = first
    return low


@triton.jit
def _above(
    row, size, most, rate, min_p, key_at,
    MIN_P: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the weight and the number of tokens above a key, and the number of those at it."""
    mass = tl.zeros((BLOCK,), tl.float32)
    more = tl.zeros((BLOCK,), tl.int32)
    ties = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, size, BLOCK):
        key, weight, inside = _load(row, start + tl.arange(0, BLOCK), size, most, rate, min_p, MIN_P, SHIFT)
        mass += tl.where(key > key_at, weight, 0.0)
        more += tl.where((key > key_at) & inside, 1, 0)
        ties += tl.where((key == key_at) & inside, 1, 0)
    return tl.sum(mass, 0), tl.sum(more, 0), tl.sum(ties, 0)


@triton.jit
def _draw(
    logits, uniforms, drawn, stride, size, rate, gap, top_p, top_k, min_p,
    TOP_P: tl.constexpr, TOP_K: tl.constexpr, MIN_P: tl.constexpr, SHIFT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = logits + tl.program_id(0).to(tl.int64) * stride
    highest = tl.full((BLOCK,), float("-inf"), tl.float32)
    lowest = tl.full((BLOCK,), float("inf"), tl.float32)
    for start in range(0, size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(row + at, mask=at < size, other=float("-inf")).to(tl.float32)
        highest = tl.maximum(highest, value)
        lowest = tl.minimum(lowest, tl.where(at < size, value, float("inf")))
    most = tl.max(highest, 0)
    least = _key(tl.min(lowest, 0), SHIFT)
    none = least - 1
    top = _key(most, SHIFT) + 1
    mass, _, _ = _above(row, size, most, rate, min_p, none, MIN_P, SHIFT, BLOCK)

    # All above the key ``edge`` may be drawn, and of those at it the first ``ties``, in the order of the vocabulary.
    edge = none
    ties = 0
    unit = 0.0
    if TOP_K:
        edge = _search(row, size, most, rate, min_p, least, top, top_k * 1.0, True, MIN_P, SHIFT, BLOCK)
        mass, more, there = _above(row, size, most, rate, min_p, edge, MIN_P, SHIFT, BLOCK)
        ties = tl.minimum(there, top_k - more)
        unit = tl.exp((_value(edge, SHIFT) - most) * rate)
        if MIN_P:
            unit = tl.where(unit < min_p, 0.0, unit)
    if TOP_P:
        goal = top_p * (mass + unit * ties)
        low = tl.maximum(tl.maximum(_key(most - gap, SHIFT), least), edge)
        cut = _search(row, size, most, rate, min_p, low, top, goal, False, MIN_P, SHIFT, BLOCK)
        mass, _, there = _above(row, size, most, rate, min_p, cut, MIN_P, SHIFT, BLOCK)
        unit = tl.exp((_value(cut, SHIFT) - most) * rate)
        if MIN_P:
            unit = tl.where(unit < min_p, 0.0, unit)
        there = tl.where(cut == edge, ties, there)
        wanted = tl.ceil((goal - mass) / tl.maximum(unit, 1e-37))
        ties = tl.maximum(tl.minimum(wanted, there.to(tl.float32)).to(tl.int32), tl.where(mass > 0, 0, 1))
        edge = cut

    target = tl.load(uniforms + tl.program_id(0)) * (mass + unit * ties)
    tied = (target >= mass) & (ties > 0) & (unit > 0)
    which = tl.minimum(((target - mass) / tl.maximum(unit, 1e-37)).to(tl.int32), ties - 1).to(tl.float32)
    target = tl.where(tied, which, target)
    # The block in which the running sum passes the target, or (sums in another order may end below it) the last one that
    # adds anything to the sum; and likewise in the block.
    begin = 0
    block = 0
    before = 0.0
    base = 0.0
    going = True
    while going & (begin < size):
        key, weight, inside = _load(row, begin + tl.arange(0, BLOCK), size, most, rate, min_p, MIN_P, SHIFT)
        weight = tl.where(tied, tl.where((key == edge) & inside, 1.0, 0.0), tl.where(key > edge, weight, 0.0))
        here = tl.sum(weight, 0)
        block = tl.where(before + here > before, begin, block)
        base = tl.where(before + here > before, before, base)
        before += here
        going = before <= target
        begin += BLOCK
    at = block + tl.arange(0, BLOCK)
    key, weight, inside = _load(row, at, size, most, rate, min_p, MIN_P, SHIFT)
    weight = tl.where(tied, tl.where((key == edge) & inside, 1.0, 0.0), tl.where(key > edge, weight, 0.0))
    running = base + tl.cumsum(weight, 0)
    passed = (running > target) & (weight > 0)
    first = tl.min(tl.where(passed, at, size), 0)
    last = tl.max(tl.where(running > running - weight, at, 0), 0)
    tl.store(drawn + tl.program_id(0), tl.where(first < size, first, last).to(tl.int64))


def draw(logits: Tensor, uniforms: Tensor, how: Sampling, gap: float, shift: int) -> Tensor:
    """Draw one token a row; see :func:`drp.engines.nucleus.draw`."""
    rows, size = logits.shape
    drawn = torch.empty(rows, dtype=torch.long, device=logits.device)
    _draw[(rows,)](
        logits, uniforms, drawn, logits.stride(0), size,
        1.0 / how.temperature, gap, how.top_p, how.top_k, how.min_p,
        TOP_P=how.top_p < 1, TOP_K=0 < how.top_k < size, MIN_P=how.min_p > 0, SHIFT=shift,
        BLOCK=4096 if logits.is_cuda else 1024, num_warps=16,
    )  # fmt: skip
    return drawn
