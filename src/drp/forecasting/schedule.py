"""How a batch of completions goes through the slots of the decoder: how many steps, of how many rows, reading how much.

What a step costs is linear in these three, so sums are all that is kept.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

REFILLS = 16
"""Batches of prompts that the engine holds on a GPU, to refill slots that are done; see ``engines/transformers_engine.py``."""
MOST = 4_096
"""Completions followed one by one; more are scaled."""


@dataclass(frozen=True)
class Steps:
    """Sums over all decoding steps."""

    steps: float = 0.0
    rows: float = 0.0
    """Rows computed, done ones that ride along included."""
    reads: float = 0.0
    """Positions that attention reads."""

    def __add__(self, other: "Steps") -> "Steps":
        """Return the sums of both."""
        return Steps(self.steps + other.steps, self.rows + other.rows, self.reads + other.reads)

    def scaled(self, by: float) -> "Steps":
        """Return so many times the steps."""
        return Steps(self.steps * by, self.rows * by, self.reads * by)


def schedule(lengths: Sequence[int], slots: int, batch: int, prompt: int, *, gpu: bool) -> Steps:
    """Return the steps that completions take.

    Args:
        lengths: New tokens of each, in the order in which they are asked for.
        slots: Rows decoded together.
        batch: The recipe's batch size, by which the engine counts what it holds at once.
        prompt: Tokens of a prompt.
        gpu: Whether slots are refilled and rows rounded up, as on a GPU.
    """
    held = max(1, batch * (REFILLS if gpu else 1))
    followed = lengths[: max(held, MOST // held * held)]
    total = Steps()
    for start in range(0, len(followed), held):
        total += _drain(followed[start : start + held], slots, prompt, gpu)
    return total.scaled(len(lengths) / len(followed)) if followed else total


def _drain(lengths: Sequence[int], slots: int, prompt: int, gpu: bool) -> Steps:
    """Follow one batch until its last row ends: at every end, those that go on, and the next that is put in."""
    waiting = iter(lengths)
    running: list[tuple[int, int]] = []  # (the step at which a row ends, the one at which it began)
    now, total = 0, Steps()
    while True:
        while len(running) < slots and (length := next(waiting, None)) is not None:
            heapq.heappush(running, (now + max(1, length), now))
        if not running:
            return total
        ends = running[0][0]
        steps, live = ends - now, len(running)
        # On a GPU rows are rounded up to a power of two, beyond 64 to a quarter of one, and attention reads each row's own
        # span; on a CPU it reads all rows as far as the longest.
        power = 1 << (live - 1).bit_length()
        grain = max(16, power // 4 if live > 64 else power)
        rows = min(slots, -(-live // grain) * grain) if gpu else live
        starts = [began for _, began in running]
        spans = live * (prompt + (now + ends) / 2) - (sum(starts) if gpu else live * min(starts))
        total += Steps(steps, steps * rows, steps * spans)
        now = ends
        while running and running[0][0] <= now:
            heapq.heappop(running)
