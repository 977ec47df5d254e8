"""Drawing from a large vocabulary without sorting it.

What may be drawn is all that is more likely than some token at the edge, and of the tokens exactly as likely as that one
the first few in the order of the vocabulary: that is what a stable sort would give. The edge is found by bisection:
floats are ordered as integers are, so that each pass over the logits halves an interval of integers. The draw itself
needs no order: it walks the vocabulary up to where the running sum of weights passes a random number.

On a GPU one kernel does all of it (:mod:`drp.engines.nucleus_kernel`); elsewhere the same steps run as tensor operations.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

import math
import os
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from drp.engines.base import Sampling
from drp.errors import out_of_memory

BLOCK = 512
"""Weights are summed in blocks first, so that no running sum of the whole vocabulary is written."""
FIRST = 1024
"""On a CPU the edge is looked for among so many most likely tokens first."""
TINY = 1e-37
TRIED_ROWS = 64
TIED_ROWS = 3
"""Of so many rows sums in another order may draw a neighbour: 0.4 % do of flat logits in bfloat16."""
Kernel = Callable[[Tensor, Tensor, Sampling, float, int], Tensor]
"""What draws: logits, random numbers in single precision, filters, the gap and the shift of :func:`draw`."""


@lru_cache
def kernels(device: str) -> bool:
    """Return whether kernels run on a kind of device: on a GPU, or wherever Triton is told to interpret them."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return (device == "cuda" or interpreted) and find_spec("triton") is not None


def draw(logits: Tensor, uniforms: Tensor, how: Sampling) -> Tensor:
    """Draw one token a row, with filters as :func:`drp.engines.sampling.sample` has them.

    Args:
        logits: Shape (rows, vocabulary).
        uniforms: One number in [0, 1) a row.
        how: Temperature above 0, and filters.

    Returns:
        Token ids, int64 of shape (rows,).
    """
    # A token at the edge of the nucleus and all below it have the mass 1 - top_p at least, so its weight is at least that
    # share of the most likely one's, over the size of the vocabulary: the search begins there. (min_p leaves less; exp(-3) more.)
    share = max((1 - how.top_p) * (how.min_p or 1.0), TINY) / logits.shape[-1]
    gap = how.temperature * (3 - math.log(share))
    shift = {torch.bfloat16: 16, torch.float16: 13}.get(logits.dtype, 0)
    if kernels(logits.device.type):
        from drp.engines import nucleus_kernel

        filters = (how.temperature, how.top_p, how.top_k, how.min_p)
        if _trusted(nucleus_kernel.draw, logits.device, logits.dtype, logits.shape[-1], filters, gap, shift):
            return nucleus_kernel.draw(logits.contiguous(), single(uniforms), how, gap, shift)
    return _draw(logits, single(uniforms), how, gap, shift)


@lru_cache(maxsize=256)
def _trusted(
    kernel: Kernel,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
    filters: tuple[float, float, int, float],
    gap: float,
    shift: int,
) -> bool:
    """Return whether a kernel draws what the tensor operations draw; tried once, before it is first used."""
    temperature, top_p, top_k, min_p = filters
    how = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p)
    try:
        unlike = rows_unlike(kernel, device, dtype, size, how, gap, shift)
        found = f"it draws other tokens in {unlike} of {TRIED_ROWS} rows" if unlike > TIED_ROWS else ""
    except Exception as error:  # no compiler, a card too old: the tensor operations need none of it
        if out_of_memory(error):
            raise
        found = f"it failed with {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if found:
        warnings.warn(
            f"the kernel that draws tokens is not used on {device}: {found}. Tensor operations draw, more slowly",
            RuntimeWarning,
            stacklevel=3,
        )
    return not found


def rows_unlike(
    kernel: Kernel, device: torch.device, dtype: torch.dtype, size: int, how: Sampling, gap: float, shift: int
) -> int:
    """Return in how many of :data:`TRIED_ROWS` rows a kernel draws another token than the tensor operations."""
    generator = torch.Generator(device).manual_seed(0)
    scores = torch.randn((TRIED_ROWS, size), generator=generator, device=device)
    # From flat to peaked, and each with a random number of its own.
    logits = (scores * torch.linspace(1, 6, TRIED_ROWS, device=device).unsqueeze(-1)).to(dtype)
    uniforms = single((torch.arange(TRIED_ROWS, device=device) * 27 % TRIED_ROWS + 0.5) / TRIED_ROWS)
    drawn = kernel(logits, uniforms, how, gap, shift)
    return int((drawn != _draw(logits, uniforms, how, gap, shift)).sum())


def single(uniforms: Tensor) -> Tensor:
    """Return numbers in [0, 1) in single precision, in which those next to 1 would become 1."""
    return uniforms.float().clamp(max=1 - 2.0**-24)


def keys_of(values: Tensor, shift: int) -> Tensor:
    """Return integers that are ordered as floats are, less the low bits that say nothing."""
    bits = values.view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> shift


def _search(keys: Tensor, weights: Tensor, low: Tensor, high: Tensor, goal: Tensor) -> Tensor:
    """Return for each row the largest key of which, and of those above it, there is as much as ``goal``."""
    if not keys.is_cuda and keys.shape[-1] > 2 * FIRST:
        # A row whose edge is further down has too little up here, and the search looks at all of it.
        order = keys.topk(FIRST, dim=-1, sorted=False).indices
        few, some = keys.gather(-1, order), weights.gather(-1, order)
        if bool((some.sum(-1) >= goal).all()):
            keys, weights = few, some
    for _ in range(33):
        if not keys.is_cuda and not bool(
            (high > low + 1).any()
        ):  # looking would cost a synchronisation on a GPU
            break
        middle = torch.where(high > low + 1, (low + high) // 2, low)
        enough = torch.where(keys >= middle.unsqueeze(-1), weights, 0.0).sum(-1) >= goal
        going = high > low + 1
        low, high = torch.where(going & enough, middle, low), torch.where(going & ~enough, middle, high)
    return low


def _draw(logits: Tensor, uniforms: Tensor, how: Sampling, gap: float, shift: int) -> Tensor:
    values = logits.float()
    keys, most = keys_of(values, shift), values.amax(-1, keepdim=True)
    weights = torch.exp((values - most) / how.temperature)
    if how.min_p:
        weights = weights.masked_fill(weights < how.min_p, 0.0)
    least, top = keys.amin(-1).long(), keys.amax(-1).long() + 1
    edge = least - 1
    mass, ties, unit = weights.sum(-1), torch.zeros_like(edge), torch.zeros_like(most[:, 0])

    def at(key: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weight and number of tokens above a key, the number of those at it, and the weight of each."""
        over, there = keys > key.unsqueeze(-1), keys == key.unsqueeze(-1)
        each = torch.where(there, weights, 0.0).amax(-1)
        return torch.where(over, weights, 0.0).sum(-1), over.sum(-1), there.sum(-1), each

    if 0 < how.top_k < logits.shape[-1]:
        goal = torch.full_like(unit, how.top_k)
        edge = _search(keys, torch.ones_like(weights), least, top, goal)
        mass, more, there, unit = at(edge)
        ties = torch.minimum(there, how.top_k - more)
    if how.top_p < 1:
        goal = how.top_p * (mass + unit * ties)
        low = torch.maximum(torch.maximum(keys_of(most[:, 0] - gap, shift).long(), least), edge)
        cut = _search(keys, weights, low, top, goal)
        mass, _, there, unit = at(cut)
        there = torch.where(cut == edge, ties, there)
        wanted = torch.ceil((goal - mass) / unit.clamp(min=TINY)).minimum(there.float()).long()
        ties, edge = torch.maximum(wanted, (mass <= 0).long()), cut
    target = uniforms * (mass + unit * ties)
    tied = (target >= mass) & (ties > 0) & (unit > 0)
    which = ((target - mass) / unit.clamp(min=TINY)).long().minimum(ties - 1).float()
    target = torch.where(tied, which, target)
    at_edge = (keys == edge.unsqueeze(-1)).float()
    weights = torch.where(tied.unsqueeze(-1), at_edge, torch.where(keys > edge.unsqueeze(-1), weights, 0.0))
    return _walk(weights, target)


def _walk(weights: Tensor, target: Tensor) -> Tensor:
    """Return the first token of each row at which the running sum of weights passes the target."""
    rows, size = weights.shape
    blocks = torch.nn.functional.pad(weights, (0, -size % BLOCK)).view(rows, -1, BLOCK)
    sums = blocks.sum(-1)
    block, before = _first(sums, target)
    inside = blocks.gather(1, block[:, None, None].expand(-1, 1, BLOCK)).squeeze(1)
    return block * BLOCK + _first(inside, target - before)[0]


def _first(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the running sum passes the target, and the sum before it; else the last place with any weight."""
    some = weights > 0
    running = weights.cumsum(-1)
    places = torch.arange(weights.shape[1], device=weights.device)
    # Sums in another order may end below the target: then it is the last token that adds anything to the sum.
    last = torch.where(running > running - weights, places, 0).amax(-1)
    passed = some & (running > target.unsqueeze(-1))
    first = torch.where(passed.any(-1), passed.int().argmax(-1), last).unsqueeze(-1)
    return first.squeeze(-1), (running - weights).gather(1, first).squeeze(-1)
