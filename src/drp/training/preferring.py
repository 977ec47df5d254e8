"""Fine-tuning by pairs: a text is preferred to another of the same problem, by DPO or by LCPO.

Both are Bradley-Terry losses, ``-log sigmoid(margin)``, meaned over the pairs of a step. DPO's margin (arXiv 2305.18290) is ``beta`` times
how much more the model than the student prefers the one text to the other, and beside it stands the likelihood of the
preferred text, which the margin alone may lower. LCPO's (arXiv 2508.10164) needs no student beside the model and no likelihood: with a
text's probability ``p`` per token, the geometric mean, its margin is the difference of ``log(p / (1 - p))``. Length is in
neither: that a text is short shows only in which of the two is preferred.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

from typing import Any

import torch
from torch.nn.functional import logsigmoid

from drp.training.collating import IGNORED
from drp.training.likelihood import Supervised

SUREST = -1e-4
"""Highest mean log-probability whose odds are looked at: those of a text that is certain are infinite."""


class Preferring(Supervised):
    """Preference over parts of a step's pairs, each with its share of the means over the pairs and tokens of the step."""

    def compute_loss(self, *positional: Any, **named: Any) -> Any:
        """Return a part's share of the loss of the step; the part holds whole pairs, the preferred text of each first."""
        model, inputs = positional[:2]
        tokens, pairs = named["num_items_in_batch"].clamp(min=1)
        sums, counts = summed(model, inputs)
        # Gradients are averaged over the processes, so each counts as often as there are processes.
        share = self.accelerator.num_processes * (counts[::2] > 0) / pairs
        if self.settings.objective == "lcpo":
            odds = log_odds(sums / counts.clamp(min=1))
            return -(share * logsigmoid(odds[::2] - odds[1::2])).sum()
        student = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), student.disable_adapter():
            untrained, _ = summed(student, inputs)
        moved = sums - untrained
        preference = -(share * logsigmoid(self.settings.beta * (moved[::2] - moved[1::2]))).sum()
        likelihood = -sums[::2].sum() * self.accelerator.num_processes / tokens
        return preference + self.settings.sft_weight * likelihood


def summed(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each text of a part, and how many of its tokens have loss, padded or packed."""
    found = model(**inputs, use_cache=False, fused_lm_head=True).log_probs
    with_loss = inputs["labels"][:, 1:] != IGNORED
    found = found.masked_fill(~with_loss, 0.0)
    borders = inputs.get("cu_seq_lens_q")
    if borders is None:
        return found.sum(1), with_loss.sum(1)
    # A position foretells the one behind it, so a packed text's last foretells the next text, without loss.
    rows = torch.arange(len(borders) - 1, device=found.device).repeat_interleave(borders.diff())[:-1]
    sums, counts = found.new_zeros(len(borders) - 1), with_loss.new_zeros(len(borders) - 1, dtype=torch.long)
    return sums.index_add(0, rows, found[0]), counts.index_add(0, rows, with_loss[0].long())


def log_odds(mean: torch.Tensor) -> torch.Tensor:
    """Return ``log(p / (1 - p))`` of texts by the mean of their tokens' log-probabilities."""
    mean = mean.clamp(max=SUREST)
    return mean - torch.log(-torch.expm1(mean))
