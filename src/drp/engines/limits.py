"""How fast an endpoint is asked: concurrency that adapts, and requests and tokens per minute."""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter

WINDOW_S = 6.0
"""Per-minute limits are kept in windows of this length, so that no minute sees more than 1.1 times one."""
SLOWER = 2.5
"""Median latency over its best that counts as a queue building up at the server."""
LEAST_SAMPLE = 20


class Limits:
    """Slots for requests to one endpoint.

    Concurrency starts at its most. It halves when the endpoint says 429 (once per round of requests),
    shrinks by a tenth while the median latency stands at ``SLOWER`` times its best, and otherwise grows
    by one a round, as TCP does.
    """

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        """Set limits.

        Args:
            concurrency: Most requests in flight.
            requests_per_minute: The endpoint's limit, or ``None`` for none.
            tokens_per_minute: The same for prompt and completion tokens together.
        """
        self.most = concurrency
        self.allowed = float(concurrency)
        self.flying = 0
        self._free = asyncio.Condition()
        self._requests = self._tokens = None
        if requests_per_minute:
            self._requests = AsyncLimiter(max(1.0, requests_per_minute * WINDOW_S / 60), WINDOW_S)
        if tokens_per_minute:
            self._tokens = AsyncLimiter(max(1.0, tokens_per_minute * WINDOW_S / 60), WINDOW_S)
        self._held_until = 0.0
        self._halved = 0.0
        self._latencies: list[float] = []
        self._best: float | None = None

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncGenerator[None]:
        """Wait until a request of about ``tokens`` tokens may be sent, and hold its slot meanwhile."""
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            left = float(tokens)
            while left > 0:  # a request may be larger than a window
                part = min(left, self._tokens.max_rate)
                await self._tokens.acquire(part)
                left -= part
        async with self._free:
            await self._free.wait_for(lambda: self.flying < int(self.allowed))
            self.flying += 1
        try:
            while (wait := self._held_until - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            yield
        finally:
            self.flying -= 1
            async with self._free:
                self._free.notify(max(1, int(self.allowed) - self.flying))

    def succeeded(self, seconds: float) -> None:
        """A request took ``seconds``; a round of them decides whether to grow or to shrink."""
        self._latencies.append(seconds)
        if len(self._latencies) < max(LEAST_SAMPLE, int(self.allowed)):
            return
        median = statistics.median(self._latencies)
        self._latencies.clear()
        # The best is forgotten slowly: longer traces may have become the rule.
        self._best = min(median, self._best * 1.05) if self._best else median
        if median > SLOWER * self._best:
            self.allowed = max(1.0, self.allowed * 0.9)
        else:
            self.allowed = min(float(self.most), self.allowed + 1)

    def rejected(self, retry_after: float | None) -> None:
        """The endpoint said 429; ``retry_after`` seconds nothing more is sent."""
        now = time.monotonic()
        if retry_after:
            self._held_until = max(self._held_until, now + retry_after)
        if now - self._halved >= 1.0:  # the rest of the same round says the same thing
            self._halved = now
            self.allowed = max(1.0, self.allowed / 2)
        self._latencies.clear()
