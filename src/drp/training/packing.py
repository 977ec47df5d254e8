"""Rows end to end in one sequence, each of which sees only itself: no padding is computed, and none is looked at.

Positions start anew with every row. Attention reads where rows begin: on a GPU by torch's own kernel for rows of many
lengths (`torch.nn.attention.varlen`), elsewhere row by row. Where FlashAttention is installed and asked for, it does the same.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false

import inspect
from itertools import pairwise
from typing import Any, cast

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from drp.errors import TrainingError

PACKED = "drp_packed"
"""The name under which transformers finds this attention."""
NEEDS = ("cu_seq_lens_q", "max_length_q")
_KNOWN = frozenset(inspect.signature(varlen_attn).parameters)
"""What this version of torch's kernel can be told; looked up once, since a compiled layer could not look."""


def why_not_packed(model: Any, device: torch.device) -> str | None:
    """Return why rows of a model cannot be packed on a device, or ``None``: only plain full attention keeps them apart."""
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "attn_logit_softcapping", None):
        return "it has layers other than plain full attention"
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if windowed:
        return "its attention is a sliding window"
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if device.type == "cuda" and (width > 256 or torch.cuda.get_device_capability(device) < (8, 0)):
        return "torch's kernel for it needs a GPU of Ampere or later, and heads of at most 256"
    return None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    dropout: float = 0.0,
    scaling: float | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each row; shapes are transformers' (1, heads, tokens, width) in and (1, tokens, heads, width) out.

    Args:
        module: The attention layer.
        query: Of every token.
        key: Of every token, with fewer heads where these are shared.
        value: Like ``key``.
        attention_mask: Not looked at.
        dropout: Share of weights dropped; the kernel for rows of many lengths has none.
        scaling: Of the products; the usual one if there is none.
        **named: ``cu_seq_lens_q``, where each row begins and the last ends, and ``max_length_q``, the longest row.

    Raises:
        TrainingError: The model asks for what this attention cannot do.
    """
    strange = [n for n in ("softcap", "s_aux", "sliding_window", "position_bias") if named.get(n) is not None]
    if strange or any(named.get(name) is None for name in NEEDS):
        raise TrainingError(
            f"{type(module).__name__} cannot be trained on packed rows ({', '.join(strange) or 'rows are not marked'}). "
            "Set train.packing=false"
        )
    borders: torch.Tensor = named["cu_seq_lens_q"]
    if query.device.type != "cuda" or dropout:
        return _row_by_row(query, key, value, borders.tolist(), dropout, scaling), None
    number_format = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    if number_format == torch.float32:
        return _row_by_row(query, key, value, borders.tolist(), dropout, scaling), None
    # In the number format of the others: the rotary embedding may have made float32 of query and key.
    q, k, v = (t[0].transpose(0, 1).to(number_format) for t in (query, key, value))
    found = _varlen(q, k, v, borders, int(named["max_length_q"]), scaling)
    return found[None], None


def _row_by_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    borders: list[int],
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    shared = key.shape[1] != query.shape[1]
    rows = [
        scaled_dot_product_attention(
            query[:, :, a:b],
            key[:, :, a:b],
            value[:, :, a:b],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=shared,
        )
        for a, b in pairwise(borders)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2)


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    borders: torch.Tensor,
    longest: int,
    scaling: float | None,
) -> torch.Tensor:
    """Call torch's kernel for rows of many lengths, as this version of torch knows it; shapes are (tokens, heads, width)."""
    more: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in _KNOWN else {"is_causal": True}
    if scaling is not None and "scale" in _KNOWN:
        more["scale"] = scaling
    elif scaling is not None:
        query = query * (scaling * query.shape[-1] ** 0.5)
    if key.shape[1] != query.shape[1] and "enable_gqa" in _KNOWN:
        more["enable_gqa"] = True
    elif key.shape[1] != query.shape[1]:
        times = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
    found = varlen_attn(query, key, value, borders, borders, longest, longest, **more)
    return cast(torch.Tensor, found)


def _no_mask(*_: Any, **__: Any) -> None:
    """Rows are told apart by where they begin."""


AttentionInterface.register(PACKED, attend)
AttentionMaskInterface.register(PACKED, _no_mask)
