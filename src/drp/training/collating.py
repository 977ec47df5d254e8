"""Tensors of an optimizer step: its examples in parts, each padded or packed, and how many tokens count in it."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from drp.training.parts import parts_of

IGNORED = -100
"""The label of a token without loss."""
Row = dict[str, Any]
"""``input_ids`` and ``labels`` of one example; of a pair also ``rejected_ids`` and ``rejected_labels``."""


@dataclass
class Counts:
    """What went through the model so far, in this process."""

    useful: int = 0
    """Tokens of examples."""
    computed: int = 0
    """Tokens with padding."""
    parts: int = 0
    """Forward passes."""

    @property
    def padding(self) -> float:
        """Share of computed tokens that are padding."""
        return 1 - self.useful / self.computed if self.computed else 0.0


@dataclass
class StepCollator:
    """Makes of the examples of a step what `Supervised.training_step` takes: ``parts`` and the number of ``items``.

    A pair's two texts lie in the same part, the preferred one first; a step of pairs has two items: the tokens with loss of
    its preferred texts, and its pairs.
    """

    pad: int
    """Token that fills rows up; it is neither seen nor learnt."""
    rows: int
    """Rows of a part where no budget is set."""
    tokens: int | None = None
    """Tokens of a part, padding included."""
    packed: bool = False
    """Whether rows lie end to end instead of padded."""
    counts: Counts = field(default_factory=Counts)

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Collate the rows of a step."""
        texts = [texts_of(row) for row in rows]
        lengths = [[len(text["input_ids"]) for text in pair] for pair in texts]
        if self.tokens is None:
            groups = [list(range(n, min(n + self.rows, len(rows)))) for n in range(0, len(rows), self.rows)]
        else:
            taken = [sum(pair) if self.packed else len(pair) * max(pair) for pair in lengths]
            groups = parts_of(taken, self.tokens, packed=self.packed)
        make = packed if self.packed else padded
        parts = [make([text for n in group for text in texts[n]], self.pad) for group in groups]
        self.counts.useful += sum(map(sum, lengths))
        self.counts.computed += sum(part["input_ids"].numel() for part in parts)
        self.counts.parts += len(parts)
        with_loss = [sum(label != IGNORED for label in pair[0]["labels"][1:]) for pair in texts]
        pairs = [sum(with_loss), sum(map(bool, with_loss))]
        return {"parts": parts, "items": torch.tensor(pairs if len(texts[0]) > 1 else pairs[0])}


def texts_of(row: Row) -> list[Row]:
    """Return the texts of an example: itself, and of a pair the other one behind it."""
    if "rejected_ids" not in row:
        return [row]
    return [row, {"input_ids": row["rejected_ids"], "labels": row["rejected_labels"]}]


def padded(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    """Return rows side by side, filled up on the right."""
    most = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, value: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[value] * (most - len(row[name]))] for row in rows])

    mask = [[1] * len(row["input_ids"]) + [0] * (most - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": filled("input_ids", pad),
        "labels": filled("labels", IGNORED),
        "attention_mask": torch.tensor(mask),
    }


def packed(rows: Sequence[Row], _pad: int) -> dict[str, Any]:
    """Return rows end to end, with positions that begin anew; no row's first token is asked of the row before."""
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    borders = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to(torch.int32)
    longest = int(lengths.max())
    return {
        "input_ids": torch.tensor([[i for row in rows for i in row["input_ids"]]]),
        "labels": torch.tensor([[i for row in rows for i in (IGNORED, *row["labels"][1:])]]),
        "position_ids": torch.cat([torch.arange(int(n)) for n in lengths])[None],
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": longest,
        "max_length_k": longest,
    }
