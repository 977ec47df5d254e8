"""Nucleus sampling whose randomness belongs to the request, not to the batch it rides in."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

import torch
from torch import Tensor

from drp.engines.base import Sampling
from drp.engines.nucleus import draw

SORTED = 4096
"""A vocabulary up to this size is sorted: that costs little, and a seed gives the same text on every device."""
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def uniform(seeds: Tensor, step: int | Tensor) -> Tensor:
    """Return one number in [0, 1) per row from its seed and the decoding step.

    A counter-based generator (splitmix64), so that a row draws the same numbers whatever its batch
    and its device. ``seeds`` is int64 of shape (rows,), ``step`` one number or one a row; the result is
    float64 of the shape of ``seeds``.
    """
    z = seeds + _GOLDEN * (torch.as_tensor(step, device=seeds.device) + 1)  # wraps in 64 bits
    z = (z ^ _logical_shift(z, 30)) * _MIX_1
    z = (z ^ _logical_shift(z, 27)) * _MIX_2
    z = z ^ _logical_shift(z, 31)
    return _logical_shift(z, 11).double() * 2.0**-53


def sample(
    logits: Tensor, seeds: Tensor, step: int | Tensor, how: Sampling, seen: Tensor | None = None
) -> Tensor:
    """Draw one token per row.

    Filters are applied in the order of vLLM, so that a served student draws from the same distribution:
    repetition penalty, temperature, ``min_p``, ``top_k``, ``top_p`` of what these left.

    Args:
        logits: Scores of shape (rows, vocabulary).
        seeds: Row seeds, int64 of shape (rows,).
        step: Decoding step, 0-based; one number, or int64 of shape (rows,).
        how: Temperature and filters; temperature 0 is greedy.
        seen: Tokens that stand in each row already, bool of the shape of ``logits``; for the repetition penalty.

    Returns:
        Token ids, int64 of shape (rows,).
    """
    if seen is not None:
        logits = logits.float()
        # A score above 0 is divided and one below multiplied, so that either becomes less likely.
        penal = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
        logits = torch.where(seen, penal, logits)
    if how.temperature == 0:
        return logits.argmax(-1)
    if logits.shape[-1] > SORTED:
        return draw(logits, uniform(seeds, step), how)
    probabilities = torch.softmax(logits.float() / how.temperature, -1)
    ranked, order = probabilities.sort(stable=True, dim=-1, descending=True)
    if how.min_p:
        ranked = ranked.masked_fill(ranked < how.min_p * ranked[:, :1], 0.0)
    if how.top_k:
        ranked[:, how.top_k :] = 0.0
    mass = ranked.cumsum(-1)
    if how.top_p < 1:
        left = mass[:, -1:] if how.min_p or how.top_k else 1.0
        ranked = ranked.masked_fill(mass - ranked >= how.top_p * left, 0.0)
        mass = ranked.cumsum(-1)
    total = mass[:, -1:]
    target = uniform(seeds, step).to(mass.dtype).unsqueeze(-1) * total
    # Rounded up to the whole mass, a target would point behind the last token that has any: at the least likely
    # token of all. Just below it, the first token whose mass exceeds the target always has some.
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    index = (mass <= target).sum(-1, keepdim=True)
    return order.gather(-1, index).squeeze(-1)
