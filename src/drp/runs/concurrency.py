"""Running many coroutines with a limit on how many are under way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def as_they_land(
    starters: Iterable[Callable[[], Coroutine[Any, Any, T]]], limit: int
) -> AsyncIterator[T]:
    """Yield results as they come, started in order, at most ``limit`` under way at once.

    The first error ends it: what is still under way is cancelled, and the error is raised.
    """
    waiting = iter(starters)
    flying: set[asyncio.Task[T]] = set()
    try:
        while True:
            while len(flying) < limit and (start := next(waiting, None)) is not None:
                flying.add(asyncio.create_task(start()))
            if not flying:
                return
            landed, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            for task in landed:
                yield task.result()
    finally:
        for task in flying:
            task.cancel()
