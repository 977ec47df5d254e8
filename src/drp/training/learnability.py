"""Learnability: how natural a target is to the untrained student, as NLL per token."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from drp.engines.heads import logits_of, negative_log_likelihood, positions_at_once
from drp.training.examples import Example

TOKENS = 8192
"""Most tokens of one pass, padding included; a longer text goes alone."""


@torch.inference_mode()
def summed_nll(model: PreTrainedModel, examples: Sequence[Example]) -> list[tuple[float, int]]:
    """Return for each example the summed negative log-likelihood, in nats, and the number of response tokens."""
    found: list[tuple[float, int]] = [(0.0, 0)] * len(examples)
    for rows in _batches(examples):
        spans = [_scored(examples[i]) for i in rows]
        targets = torch.cat(
            [torch.tensor(examples[i].input_ids[a:b]) for i, (a, b) in zip(rows, spans, strict=True)]
        )
        losses = torch.cat([*_losses(model, [examples[i].input_ids for i in rows], spans, targets)])
        parts = losses.split([end - start for start, end in spans])
        for index, part in zip(rows, parts, strict=True):
            found[index] = (float(part.sum()), len(part))
    return found


def mean_nll(model: PreTrainedModel, examples: Sequence[Example]) -> float:
    """Return the mean negative log-likelihood per response token, in nats, over all examples.

    The paper's central claim made into a number: a target far from what the student would write
    itself has a high NLL and is hard to learn without forgetting.
    """
    found = summed_nll(model, examples)
    return sum(total for total, _ in found) / max(1, sum(tokens for _, tokens in found))


def _scored(example: Example) -> tuple[int, int]:
    """Return from where to where an example is scored; nothing comes before the very first token to predict it."""
    return max(1, example.prompt_length), max(1, len(example.input_ids))


def _batches(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Yield indices of examples of similar length, at most ``TOKENS`` of them with their padding."""
    batch: list[int] = []
    for index in sorted(range(len(examples)), key=lambda i: len(examples[i].input_ids)):
        if batch and (len(batch) + 1) * len(examples[index].input_ids) > TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _losses(
    model: Any, rows: Sequence[list[int]], spans: Sequence[tuple[int, int]], targets: Tensor
) -> Iterator[Tensor]:
    """Yield the NLL of all scored tokens, row after row, so many at a time as their logits have room."""
    # Padding stands on the right, where causal layers never look from a real token, so no mask is needed.
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(
        model.device
    )
    size = positions_at_once(model)
    output = None if model.base_model is model else model.base_model(input_ids=ids, use_cache=False)
    if output is None or logits_of(model, type(output), output.last_hidden_state[0, :1]) is None:
        for row, (start, end), wanted in zip(
            ids, spans, targets.split([b - a for a, b in spans]), strict=True
        ):
            logits = model(input_ids=row[None, :end]).logits[0, start - 1 : end - 1]
            for part in zip(logits.split(size), wanted.split(size), strict=True):
                yield negative_log_likelihood(*part).cpu()
        return
    states = torch.cat([h[a - 1 : b - 1] for h, (a, b) in zip(output.last_hidden_state, spans, strict=True)])
    for part, wanted in zip(states.split(size), targets.split(size), strict=True):
        logits = cast("Tensor", logits_of(model, type(output), part))
        yield negative_log_likelihood(logits, wanted).cpu()
