"""Learnability: how natural a target is to the untrained student, as NLL per token."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from drp.training.examples import Example


@torch.inference_mode()
def mean_nll(model: PreTrainedModel, examples: Sequence[Example], batch_size: int = 16) -> float:
    """Return the mean negative log-likelihood per response token, in nats, over all examples.

    The paper's central claim made into a number: a target far from what the student would write
    itself has a high NLL and is hard to learn without forgetting.
    """
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda e: len(e.input_ids))
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        width = max(len(e.input_ids) for e in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        labels = torch.full((len(batch), width), -100)
        mask = torch.zeros_like(ids)
        for row, example in enumerate(batch):
            size = len(example.input_ids)
            ids[row, :size] = torch.tensor(example.input_ids)
            labels[row, :size] = torch.tensor(example.labels)
            mask[row, :size] = 1
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        loss = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].float().flatten(0, 1),
            labels[:, 1:].flatten().to(model.device),
            ignore_index=-100,
            reduction="sum",
        )
        total += float(loss)
        tokens += int((labels[:, 1:] != -100).sum())
    return total / max(1, tokens)
