"""A decoding step of the usual architecture in few launches: Llama, Mistral, Qwen2, Qwen3 with full attention.

At a batch of 64 a 1.5 B model's step is 1,200 small operations, and launching them takes longer than reading the weights. Here a
layer is four matrix products and six kernels. The model keeps its parameters: products that read the same states are one,
and the parameters become views of its weight. Any other model runs its own forward pass.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from drp.engines.kernels import gate, norm, turn
from drp.engines.pages import Pages

KINDS = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})


def fusable(model: Any) -> bool:
    """Return whether a model's step is what this file computes, its layers as the library made them."""
    config = model.config
    if type(model).__name__ not in KINDS or getattr(config, "hidden_act", "") != "silu":
        return False
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if size not in (32, 64, 128, 256):
        return False
    # An adapter, a quantised or a sharded layer is no plain product of its weight.
    products = [model.lm_head]
    for layer in model.model.layers:
        attention, dense = layer.self_attn, layer.mlp
        products += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        products += [dense.gate_proj, dense.up_proj, dense.down_proj]
    return all(type(product) is nn.Linear for product in products)


def _joined(products: list[Any]) -> tuple[Tensor, Tensor | None]:
    """Return weight and bias of several products as one, of which theirs become views."""
    joined = list[Tensor | None]()
    for name in ("weight", "bias"):
        parts = [getattr(product, name) for product in products]
        if any(part is None for part in parts):
            joined.append(None)
            continue
        whole = torch.cat([part.detach() for part in parts])
        for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
            part.data = view
        joined.append(whole)
    weight, bias = joined
    assert weight is not None  # for pyright: a product has a weight
    return weight, bias


@dataclass(frozen=True)
class _Layer:
    """One layer's weights."""

    before: Any
    qkv: tuple[Tensor, Tensor | None]
    gains: tuple[Tensor, Tensor] | None
    out: Any
    between: Any
    gate_up: tuple[Tensor, Tensor | None]
    down: Any
    scale: float


def _layer(layer: Any) -> _Layer:
    attention, dense = layer.self_attn, layer.mlp
    normed = hasattr(attention, "q_norm")
    return _Layer(
        before=layer.input_layernorm,
        qkv=_joined([attention.q_proj, attention.k_proj, attention.v_proj]),
        gains=(attention.q_norm.weight, attention.k_norm.weight) if normed else None,
        out=attention.o_proj,
        between=layer.post_attention_layernorm,
        gate_up=_joined([dense.gate_proj, dense.up_proj]),
        down=dense.down_proj,
        scale=attention.scaling,
    )


class FusedStep:
    """The decoding step of one model.

    Args:
        model: A model that is :func:`fusable`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        with torch.no_grad():
            self.layers = [_layer(layer) for layer in model.model.layers]
        self.eps = float(model.model.norm.variance_epsilon)

    def __call__(self, token: Tensor, position: Tensor, pages: Pages) -> Tensor:
        """Feed one token a row, all of shape (rows,); return logits of shape (rows, vocabulary)."""
        body, eps = self.model.model, self.eps
        states = body.embed_tokens(token)
        cos, sin = (part.squeeze(1) for part in body.rotary_emb(states[:, None], position[:, None]))
        residual, states = norm(states, self.layers[0].before.weight, eps)
        following = [layer.before for layer in self.layers[1:]] + [body.norm]
        for index, (layer, after) in enumerate(zip(self.layers, following, strict=True)):
            store = pages.cache.layers[index].store
            query = turn(linear(states, *layer.qkv), cos, sin, layer.gains, eps, store, pages.table, position)
            found = pages.attend(index, query, layer.scale).flatten(1)
            residual, states = norm(residual, layer.between.weight, eps, layer.out(found))
            dense = layer.down(gate(linear(states, *layer.gate_up)))
            residual, states = norm(residual, after.weight, eps, dense)
        return self.model.lm_head(states)
