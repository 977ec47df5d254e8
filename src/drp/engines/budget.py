"""The money a run may spend: counted from usage, reserved before a request is sent, never exceeded."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from drp.engines.base import Request
from drp.engines.pricing import Price, rough_tokens
from drp.errors import BudgetError
from drp.records import Record, Usage


class Spend(Record):
    """What was asked and paid so far."""

    requests: int = 0
    usage: Usage = Usage()
    usd: float | None = None
    """Dollars at the price below; ``None`` where no price is known."""
    price: Price | None = None
    batched: int = 0
    """Requests answered by the batch API."""

    def __str__(self) -> str:
        """Say it in one line."""
        tokens = f"{self.usage.prompt_tokens:,} tokens in, {self.usage.completion_tokens:,} out"
        return tokens if self.usd is None else f"${self.usd:,.2f} ({tokens})"


class Budget:
    """Counts spending and holds requests back that might exceed the limit.

    A request reserves what it can cost at most. One that does not fit waits while others are under
    way, since they usually cost less than they reserved, and is refused when none is.
    """

    def __init__(
        self, price: Price | None = None, limit: float | None = None, *, batch: bool = False
    ) -> None:
        """Set a limit in dollars; ``None`` counts only.

        Args:
            price: The price of the model; needed for a limit.
            limit: Most dollars, those already spent included.
            batch: Whether new requests are paid at the batch price.
        """
        self.price, self.limit, self.batch = price, limit, batch
        self._requests = self._batched = 0
        self._prompt = self._completion = self._cached = 0
        self._usd = self._reserved = 0.0
        self._changed = asyncio.Condition()

    @property
    def spend(self) -> Spend:
        """What was spent so far."""
        usage = Usage(
            prompt_tokens=self._prompt, completion_tokens=self._completion, cached_tokens=self._cached
        )
        usd = self._usd if self.price else None
        return Spend(requests=self._requests, usage=usage, usd=usd, price=self.price, batched=self._batched)

    def count(self, usage: Usage, *, batch: bool) -> None:
        """Add a reply that was paid."""
        self._requests += 1
        self._batched += batch
        self._prompt += usage.prompt_tokens
        self._completion += usage.completion_tokens
        self._cached += usage.cached_tokens
        if self.price:
            self._usd += self.price.cost(usage, batch=batch)

    @asynccontextmanager
    async def room_for(self, request: Request) -> AsyncGenerator[None]:
        """Hold what a request may cost at most while it is under way.

        Raises:
            BudgetError: The limit leaves no room for it.
        """
        if self.limit is None or self.price is None:
            yield
            return
        limit = self.limit
        prompt = rough_tokens("".join(message.content for message in request.messages))
        worst = Usage(prompt_tokens=prompt, completion_tokens=request.sampling.max_new_tokens)
        most = self.price.cost(worst, batch=self.batch)
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._usd + self._reserved + most <= limit or self._reserved <= 1e-12
            )
            if self._usd + most > limit:
                raise BudgetError(
                    f"the budget of ${limit:,.2f} is used up: ${self._usd:,.2f} spent, and the next request may "
                    f"cost ${most:,.4f}. Raise prune.budget_usd and run the same command again; nothing is lost"
                )
            self._reserved += most
        try:
            yield
        finally:
            async with self._changed:
                self._reserved -= most
                self._changed.notify_all()
