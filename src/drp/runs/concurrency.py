"""Running many coroutines with a limit on how many are under way."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
RARELY = (500_000, 50, 50)
"""Thresholds of the garbage collector where tens of thousands of records live."""


async def as_they_land(
    starters: Iterable[Callable[[], Coroutine[Any, Any, T]]], limit: int
) -> AsyncIterator[T]:
    """Yield results as they come, started in order, at most ``limit`` under way at once.

    The first error ends it: what is still under way is cancelled, and the error is raised.
    """
    waiting = iter(starters)
    flying: set[asyncio.Task[T]] = set()
    landed: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    try:
        while True:
            while len(flying) < limit and (start := next(waiting, None)) is not None:
                task = asyncio.create_task(start())
                task.add_done_callback(landed.put_nowait)
                flying.add(task)
            if not flying:
                return
            task = await landed.get()
            flying.discard(task)
            yield task.result()
    finally:
        for task in flying:
            task.cancel()


@contextmanager
def rare_collections() -> Generator[None]:
    """Let the garbage collector run seldom, and not over what is loaded already.

    A stage holds tens of thousands of records, which hardly ever form cycles; walking over them again and
    again took a quarter of the time of pruning.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
