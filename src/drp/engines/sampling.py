"""Nucleus sampling whose randomness belongs to the request, not to the batch it rides in."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

import torch
from torch import Tensor

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


def sample(logits: Tensor, seeds: Tensor, step: int | Tensor, temperature: float, top_p: float) -> Tensor:
    """Draw one token per row.

    Args:
        logits: Scores of shape (rows, vocabulary).
        seeds: Row seeds, int64 of shape (rows,).
        step: Decoding step, 0-based; one number, or int64 of shape (rows,).
        temperature: 0 is greedy.
        top_p: Nucleus mass in (0, 1]; the most likely token always stays.

    Returns:
        Token ids, int64 of shape (rows,).
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, -1)
    ranked, order = probabilities.sort(stable=True, dim=-1, descending=True)
    mass = ranked.cumsum(-1)
    if top_p < 1:
        ranked = ranked.masked_fill(mass - ranked >= top_p, 0.0)
        mass = ranked.cumsum(-1)
    target = uniform(seeds, step).to(mass.dtype).unsqueeze(-1) * mass[:, -1:]
    index = (mass <= target).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    # Rounding can point past the nucleus; the last token with any mass is the right one then.
    index = torch.minimum(index, (ranked > 0).sum(-1, keepdim=True) - 1)
    return order.gather(-1, index).squeeze(-1)
