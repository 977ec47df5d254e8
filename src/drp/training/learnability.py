"""Learnability: how natural a target is to the untrained student, as NLL per token."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from drp.training.examples import Example


@torch.inference_mode()
def summed_nll(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int = 16
) -> list[tuple[float, int]]:
    """Return for each example the summed negative log-likelihood, in nats, and the number of response tokens."""
    found: list[tuple[float, int]] = [(0.0, 0)] * len(examples)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        width = max(len(examples[i].input_ids) for i in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full((len(rows), width), -100)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(rows):
            size = len(examples[index].input_ids)
            ids[row, :size] = torch.tensor(examples[index].input_ids)
            labels[row, :size] = torch.tensor(examples[index].labels)
            mask[row, :size] = 1
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        targets = labels[:, 1:].to(model.device)
        losses = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].float().transpose(1, 2), targets, ignore_index=-100, reduction="none"
        )
        sums, counts = losses.sum(1).tolist(), (targets != -100).sum(1).tolist()
        for row, index in enumerate(rows):
            found[index] = (float(sums[row]), int(counts[row]))
    return found


def mean_nll(model: PreTrainedModel, examples: Sequence[Example], batch_size: int = 16) -> float:
    """Return the mean negative log-likelihood per response token, in nats, over all examples.

    The paper's central claim made into a number: a target far from what the student would write
    itself has a high NLL and is hard to learn without forgetting.
    """
    found = summed_nll(model, examples, batch_size)
    return sum(total for total, _ in found) / max(1, sum(tokens for _, tokens in found))
