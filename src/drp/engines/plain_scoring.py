"""Scoring with one whole forward pass for each continuation.

For models whose memory cannot be cut (sliding windows, recurrent layers), and as what
:class:`drp.engines.prefix_scoring.PrefixCore` is measured against.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from drp.engines.attention import attention_paid
from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.heads import negative_log_likelihood, positions_at_once
from drp.engines.scoring import Extension, Floats, Passage

GREEDY_ROWS = 64


class PlainCore:
    """Runs a whole forward pass for each continuation.

    Args:
        model: A causal language model, in eval mode on its device.
        stop_ids: Tokens that end what it writes.
    """

    def __init__(self, model: PreTrainedModel, stop_ids: Sequence[int]) -> None:
        self.model, self.stop_ids = model, list(stop_ids)
        self.context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 0)
        self.room = 1 << 20
        self.computed = 0
        """Positions that went through the layers so far, padding not counted."""

    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text."""
        return [Passage(ids, self._logprobs(ids)) for ids in texts]

    def extend(self, extensions: Sequence[Extension]) -> None:
        """Compute all of each continuation."""
        for one in extensions:
            ids = [*one.passage.ids[: one.asked.start], *one.asked.ids]
            one.add(self._logprobs(ids)[one.asked.start :])

    @torch.inference_mode()
    def _logprobs(self, ids: Sequence[int]) -> Floats:
        self.computed += len(ids)
        row = torch.tensor([list(ids)], device=self.model.device)
        logits: Tensor = self.model(input_ids=row, use_cache=False).logits[0, :-1]
        size = positions_at_once(self.model)
        parts = zip(logits.split(size), row[0, 1:].split(size), strict=True)
        losses = [negative_log_likelihood(*part).cpu() for part in parts]
        return -torch.cat([torch.zeros(1), *losses]).double().numpy()

    def attention(self, texts: Sequence[tuple[Sequence[int], slice]]) -> list[Floats]:
        """Return the attention that some tokens of each text pay; see :func:`drp.engines.attention.attention_paid`."""
        self.computed += sum(len(ids) for ids, _ in texts)
        return [attention_paid(self.model, ids, queries) for ids, queries in texts]

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Return the most likely continuation of each prompt."""
        how = Sampling(temperature=0, top_p=1, max_new_tokens=tokens)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        found: list[list[int]] = [[] for _ in prompts]
        for first in range(0, len(order), GREEDY_ROWS):
            rows = order[first : first + GREEDY_ROWS]
            written = decode(self.model, [prompts[i] for i in rows], [0] * len(rows), how, self.stop_ids)
            for row, output in zip(rows, written, strict=True):
                found[row] = output
        return found

    def give_up(self) -> None:
        """Do nothing: a batch is computed within seconds."""
