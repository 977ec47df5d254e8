"""A model's own head, applied to states of its last layer a part at a time.

Logits are the largest thing in scoring: a trace of 12,000 tokens has 1.8 billion of them over a vocabulary of 152,000.
So the layers below run once, and the head sees only the positions that are wanted.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

LOGITS = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Most logits at a time: 128 MiB in float32, on a GPU 1 GiB."""


def logits_of(model: Any, kind: type[Any], states: Tensor) -> Tensor | None:
    """Return what the model makes of states of its last layer, scaling and capping of logits included.

    For that, its body stands aside for one call and returns the states. A few models call the parts of their body
    instead of the body; for those there is ``None``.

    Args:
        model: A causal language model.
        kind: The type of what its body returns; see :func:`body_output`.
        states: Shape (positions, hidden), after the last norm.

    Returns:
        Logits of shape (positions, vocabulary).
    """
    body, called = model.base_model, list[bool]()

    def stand_in(*_: object, **__: object) -> Any:
        called.append(True)
        return kind(last_hidden_state=states[None])

    before = vars(body).get("forward")
    body.forward = stand_in
    try:
        blank = torch.zeros((1, len(states)), dtype=torch.long, device=states.device)
        logits = model(input_ids=blank).logits[0]
    finally:
        if before is None:
            del body.forward
        else:
            body.forward = before
    return logits if called else None


@torch.inference_mode()
def body_output(model: Any) -> type[Any] | None:
    """Return the type of what a model's body returns, or ``None`` where body and head cannot be run apart."""
    if model.base_model is model:
        return None
    output = model.base_model(
        input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False
    )
    kind = cast("type[Any]", type(output))
    return None if logits_of(model, kind, output.last_hidden_state[0]) is None else kind


def positions_at_once(model: Any) -> int:
    """Return how many positions' logits have room at a time."""
    most = LOGITS["cpu" if model.device.type == "cpu" else "cuda"]
    return max(1, most // int(model.config.get_text_config().vocab_size))


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Return for each position how unlikely its target is, in nats and float32; on the device of the logits."""
    return cross_entropy(logits.float(), targets.to(logits.device), reduction="none")
