"""Running coroutines: one to its end, stopped at once by Ctrl-C; many, with a limit on how many are under way."""

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
RARELY = (500_000, 50, 50)
"""Thresholds of the garbage collector where tens of thousands of records live."""


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_until_done(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; Ctrl-C stops it wherever it is.

    ``asyncio.run`` answers Ctrl-C by cancelling the task, which code that computes for minutes without
    awaiting anything never notices. A handler of our own keeps it from doing so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(coroutine)  # somebody else has decided what Ctrl-C does
    signal.signal(signal.SIGINT, _interrupt)
    try:
        return asyncio.run(coroutine)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
