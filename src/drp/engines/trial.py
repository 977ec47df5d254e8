"""A trial of fast decoding against the model's own forward pass, before anything is decoded with it.

A wrong kernel writes bad text and says nothing. So a decoder over pages first decodes a few short prompts, and its logits
are compared with those of one plain forward pass over the same tokens, in the same number format. Two sound ways of
computing them differ by roundings: by how much, for this model, is measured too, as the difference between its plain forward
pass over one row and over all rows at once.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from drp.engines.base import Sampling
from drp.engines.pages import Pages
from drp.engines.slots import SlotDecoder
from drp.errors import out_of_memory

if TYPE_CHECKING:
    from drp.engines.fused import FusedStep

LENGTHS = (600, 3, 150, 20, 126)
"""Prompts: with and without a whole page behind them, in several passes, one that crosses a border while it decodes."""
STEPS = 6
REPLAYED = 20
"""Tokens that are decoded with graphs: more than between two looks."""
ROUNDING = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Difference that is never a fault, as a share of the spread of the model's own logits over the vocabulary."""
MARGIN = 2.0
"""More than so many times what the model differs from itself is a fault."""
MOST = 0.2
"""More than this is one in any case: a norm without its weight or two pages in each other's place make 0.08 and more."""
SIGMAS = 6.0
"""A greedy token's logit may be so many allowed differences below the highest: the largest of a vocabulary of them."""


def settle(decoder: SlotDecoder) -> None:
    """Try a decoder over pages once; if it fails, say so and let it decode the plain way.

    What is found holds for the kernels with a model of these shapes; that its weights change later, under training, changes
    nothing in it.
    """
    decoder.tried = True
    found = fault(decoder.model, decoder.fused)
    if found:
        decoder.paged, decoder.fused = False, None
        warnings.warn(
            f"fast decoding of {decoder.model.name_or_path or type(decoder.model).__name__} on {decoder.device} is not "
            f"used: {found}. Decoding goes on with the model's own forward pass, slower and in fewer rows",
            RuntimeWarning,
            stacklevel=2,
        )


@torch.inference_mode()
def fault(model: PreTrainedModel, fused: "FusedStep | None") -> str | None:
    """Return what is wrong with decoding a model over pages, in words; ``None`` if nothing is.

    Args:
        model: The model, on its device, with the attention that it decodes and scores with elsewhere.
        fused: Its step in few launches, if that is to be used.
    """
    config: Any = model.config.get_text_config()
    context = int(getattr(config, "max_position_embeddings", 0) or 0) or max(LENGTHS) + REPLAYED
    generator = torch.Generator().manual_seed(0)
    lengths = [max(1, min(length, context - REPLAYED)) for length in LENGTHS]
    prompts = [torch.randint(config.vocab_size, (n,), generator=generator).tolist() for n in lengths]
    try:
        return _fault(model, fused, prompts)
    except Exception as error:  # no compiler, a card too old: the plain way needs none of what may fail here
        if out_of_memory(error):
            raise
        return f"it failed with {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _fault(model: PreTrainedModel, fused: "FusedStep | None", prompts: list[list[int]]) -> str | None:
    small = SlotDecoder(model, [], len(prompts), paged=True, pages=64)
    small.fused, small.tried = fused, True
    small.prefill_tokens = 2 * max(map(len, prompts))
    small.allocate(max(map(len, prompts)), REPLAYED)
    assert isinstance(small.memory, Pages)  # for pyright
    small.memory.free.sort(key=lambda page: page * 5 % 11)  # no row's pages in order
    graphed, look_every = small.graphed, small.look_every
    small.graphed, small.look_every = False, 1
    tokens, logits = _watched(small, prompts)
    alone = torch.cat([own(model, [p], [t], STEPS) for p, t in zip(prompts, tokens, strict=True)])
    noise = float(difference(own(model, prompts, tokens, STEPS), alone).max())
    found = difference(logits, alone)
    allowed = min(max(ROUNDING.get(model.dtype, 0.05), MARGIN * noise), MOST)
    worst = int(found.nan_to_num(nan=torch.inf).argmax())
    if not float(found[worst]) <= allowed:
        return (
            f"after a prompt of {len(prompts[worst])} tokens its logits differ from those of the model's own forward pass by "
            f"{float(found[worst]):.3g} of their spread, where {allowed:.2g} is rounding"
        )
    if graphed:
        small.graphed, small.look_every = True, look_every
        how = Sampling(temperature=0, max_new_tokens=REPLAYED)
        rows = dict(small.decode(prompts, range(len(prompts)), how))
        return astray(model, prompts, [rows[i] for i in range(len(prompts))], allowed)
    return None


def _watched(small: SlotDecoder, prompts: list[list[int]]) -> tuple[list[list[int]], Tensor]:
    """Decode greedily; return each row's tokens, and the logits of shape (rows, STEPS, vocabulary)."""
    seen: list[Tensor] = []
    step = small.logits

    def watched(token: Tensor, position: Tensor, length: int) -> Tensor:
        seen.append(step(token, position, length).float())
        return seen[-1]

    small.logits = watched
    try:
        rows = dict(small.decode(prompts, range(len(prompts)), Sampling(temperature=0, max_new_tokens=STEPS)))
    finally:
        small.logits = step
    return [rows[i] for i in range(len(prompts))], torch.stack(seen, 1)


def own(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], steps: int
) -> Tensor:
    """Return the model's own logits of each row's last ``steps`` tokens, of shape (rows, steps, vocabulary)."""
    # Of the last token nothing follows. Rows end together: padding stands on the left.
    rows = [[*prompt, *new[:-1]] for prompt, new in zip(prompts, tokens, strict=True)]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    call: Any = model
    result = call(
        input_ids=ids,
        attention_mask=mask,
        position_ids=places,
        use_cache=False,
        logits_to_keep=steps,
    )
    return result.logits.float()


def difference(logits: Tensor, reference: Tensor) -> Tensor:
    """Return each row's root mean square difference as a share of the spread of the reference over the vocabulary.

    Both are of shape (rows, steps, vocabulary).
    """
    spread = reference - reference.mean(-1, keepdim=True)
    return (logits - reference).flatten(1).norm(dim=1) / spread.flatten(1).norm(dim=1).clamp(min=1e-12)


def astray(
    model: PreTrainedModel, prompts: list[list[int]], rows: list[list[int]], allowed: float
) -> str | None:
    """Return which greedy row has a token that the model's own logits put below their highest, by more than is allowed."""
    reference = own(model, prompts, rows, len(rows[0]))
    chosen = torch.tensor(rows, device=reference.device).unsqueeze(-1)
    below = reference.amax(-1) - reference.gather(-1, chosen).squeeze(-1)
    far = below / reference.std(-1) > SIGMAS * allowed
    if not bool(far.any()):
        return None
    row, step = (int(x) for x in far.nonzero()[0])
    return (
        f"token {step + 1} after a prompt of {len(prompts[row])} tokens, decoded with CUDA graphs, is not the one that the "
        "model's own forward pass puts first"
    )
