"""Packed passes in few fixed shapes, each captured once as a CUDA graph and replayed.

A pass of a 1.5B model is some thousand kernels. Launching them one by one from Python takes longer than running them, so
the new tokens of all rows are cut into pieces of one length, and numbers of pieces and columns are rounded up.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from drp.engines.paged_memory import NOWHERE, Group, PagedMemory, Row, attending, run, visible

PIECE = 16
"""New tokens of a piece."""
PIECES = (32, 128, 256, 512, 768, 1024)
"""Of a pass; beyond that, multiples of the last."""
LEAST_COLUMNS = 256


@dataclass(frozen=True)
class _Inputs:
    """What a pass reads, at addresses that stay."""

    ids: Tensor
    positions: Tensor
    places: Tensor
    columns: Tensor
    last: Tensor

    def fill(self, pieces: Sequence[Row], shape: tuple[int, int]) -> Tensor:
        """Write pieces into them; return which of the tokens are no padding."""
        count, columns = shape
        ids, places = (np.full((count, PIECE), value, dtype=np.int64) for value in (0, NOWHERE))
        seen, last = np.full((count, columns), NOWHERE, dtype=np.int64), np.zeros(count, dtype=np.int64)
        real = np.zeros((count, PIECE), dtype=bool)
        for at, piece in enumerate(pieces):
            before, new = len(piece.before), len(piece.ids)
            ids[at, :new], places[at, :new], real[at, :new] = piece.ids, piece.places, True
            seen[at, :before], seen[at, before : before + new] = piece.before, piece.places
            last[at] = before
        positions = last[:, None] + np.arange(PIECE)
        sources = (ids, positions, places, seen, last)
        targets = (self.ids, self.positions, self.places, self.columns, self.last)
        for target, source in zip(targets, sources, strict=True):
            target.copy_(torch.from_numpy(source.reshape(-1)))
        return torch.from_numpy(np.flatnonzero(real)).to(self.ids.device)


class GraphedPasses:
    """Runs packed passes.

    Args:
        model: The model, on its device.
        memory: Where its keys and values are.
    """

    def __init__(self, model: PreTrainedModel, memory: PagedMemory) -> None:
        self.model, self.memory = model, memory
        self.graphed = model.device.type == "cuda"
        self._inputs: dict[tuple[int, int], _Inputs] = {}
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._captured_at = memory.grown

    @torch.inference_mode()
    def run(self, rows: Sequence[Row]) -> Tensor:
        """Run new tokens through the layers; return their states, of shape (tokens, hidden), row after row."""
        pieces = [piece for row in rows for piece in _cut(row)]
        shape = (
            next((n for n in PIECES if n >= len(pieces)), -(-len(pieces) // PIECES[-1]) * PIECES[-1]),
            columns_of(max(len(piece.before) + len(piece.ids) for piece in pieces)),
        )
        if shape not in self._inputs:
            self._inputs[shape] = self._room(*shape)
        real = self._inputs[shape].fill(pieces, shape)
        if not self.graphed:
            with attending(self.model):
                return self._pass(shape)[real]
        if self._captured_at != self.memory.grown:
            self._graphs.clear()
            self._captured_at = self.memory.grown
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(shape)
        graph, states = self._graphs[shape]
        graph.replay()
        return states[real]

    def _room(self, count: int, columns: int) -> _Inputs:
        def zeros(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.long, device=self.model.device)

        tokens = count * PIECE
        return _Inputs(zeros(tokens), zeros(tokens), zeros(tokens), zeros(count * columns), zeros(count))

    def _pass(self, shape: tuple[int, int]) -> Tensor:
        (count, columns), inputs = shape, self._inputs[shape]
        mask = visible(inputs.last, PIECE, columns, self.model)
        group = Group(inputs.columns, (count, PIECE, columns), mask)
        return run(self.model, self.memory, inputs.ids, inputs.positions, inputs.places, [group])

    def _capture(self, shape: tuple[int, int]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        device = self.model.device
        with attending(self.model):
            aside = torch.cuda.Stream(device)
            aside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(aside):  # libraries allocate on their first call, which no graph may hold
                self._pass(shape)
            torch.cuda.current_stream(device).wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            pool = next((held.pool() for held, _ in self._graphs.values()), None)
            with torch.cuda.graph(graph, pool=pool):
                states = self._pass(shape)
        return graph, states


def columns_of(count: int) -> int:
    """Return how many columns a pass has for a text of so many tokens: half a power of two, so that few shapes do."""
    power = max(LEAST_COLUMNS, 1 << (count - 1).bit_length())
    return power * 3 // 4 if count <= power * 3 // 4 else power


def _cut(row: Row) -> list[Row]:
    """Return a row's new tokens in pieces, each of which sees those before it."""
    if len(row.ids) <= PIECE:
        return [row]
    whole = np.concatenate([row.before, row.places])
    before = len(row.before)
    return [
        Row(row.ids[at : at + PIECE], whole[: before + at], row.places[at : at + PIECE])
        for at in range(0, len(row.ids), PIECE)
    ]
