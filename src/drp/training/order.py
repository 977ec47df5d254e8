"""Order of examples: a function of seed and epoch, so that an interrupted training meets what it has not yet seen."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from drp.training.parts import shared_out


class EpochSampler(Sampler[int]):
    """A sampler whose order in an epoch depends on nothing that happened before.

    Samplers draw their order from a generator that moves on with every epoch. A process that resumes within an epoch has
    a fresh one: it skips as many batches as were trained, but of another order, so that examples are trained twice and
    others never.

    Args:
        sampler: Any sampler with a ``generator``, such as those of transformers and TRL.
        seed: With the epoch, what the order depends on.
        epoch: Tells the epoch, from 0, when an iteration begins.
        blank: Index of an example without weight, which fills the epoch up to ``multiple``.
        multiple: What the length of an epoch is a multiple of, so that every process gets as many batches.
        shared: How many processes share every ``multiple`` examples, and the length of each example: they are dealt so that
            none has more tokens than the others.
    """

    def __init__(
        self,
        sampler: Any,
        seed: int,
        epoch: Callable[[], int],
        *,
        blank: int | None = None,
        multiple: int = 1,
        shared: tuple[int, Sequence[int]] | None = None,
    ) -> None:
        self.sampler, self.seed, self.epoch = sampler, seed, epoch
        self.blanks = [] if blank is None else [blank] * (-len(sampler) % multiple)
        self.multiple, self.shared = multiple, shared

    def __len__(self) -> int:
        return len(self.sampler) + len(self.blanks)

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch())
        order = [*self.sampler, *self.blanks]
        if self.shared is None:
            yield from order
            return
        processes, lengths = self.shared
        for start in range(0, len(order), self.multiple):
            batch = order[start : start + self.multiple]
            for hand in shared_out([lengths[i] for i in batch], processes):
                yield from (batch[n] for n in hand)


class OrderedByEpoch:
    """Mixed into a Hugging Face ``Trainer``: its training sampler becomes an `EpochSampler`."""

    def epochs_behind(self) -> int:
        """Return how many epochs have been trained in full."""
        return int(self.state.epoch or 0)  # 1.3 within the second, 2.0 after its last step

    def _get_train_sampler(self, *positional: Any, **named: Any) -> EpochSampler:
        sampler = super()._get_train_sampler(*positional, **named)
        return EpochSampler(sampler, self.args.seed, self.epochs_behind)
