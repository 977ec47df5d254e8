"""What tokens cost: a dated table of list prices, and the money spent so far."""

from pydantic import Field

from drp.engines.providers import PRESETS
from drp.records import Record, Usage


class Price(Record):
    """List price of a model in US dollars per million tokens."""

    input: float = Field(ge=0)
    """Prompt tokens."""
    output: float = Field(ge=0)
    """Completion tokens, reasoning included."""
    cached_input: float | None = Field(default=None, ge=0)
    """Prompt tokens read from the provider's cache; left out: as `input`."""
    batch_factor: float = Field(default=0.5, gt=0, le=1)
    """What the batch API costs as a share of this."""
    on: str = ""
    """When the price was read."""

    def cost(self, usage: Usage, *, batch: bool = False) -> float:
        """Return dollars for a usage."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        dollars = (
            (usage.prompt_tokens - cached) * self.input
            + cached * cached_price
            + usage.completion_tokens * self.output
        ) / 1e6
        return dollars * (self.batch_factor if batch else 1.0)


PRICES: dict[str, Price] = {
    "gpt-4o": Price(input=2.50, output=10.00, cached_input=1.25, on="2026-05-21"),
    "gpt-4o-mini": Price(input=0.15, output=0.60, cached_input=0.075, on="2026-05-21"),
    "gpt-3.5-turbo": Price(input=0.50, output=1.50, on="2026-10-23, its last day"),
    "gpt-5.4": Price(input=2.50, output=15.00, cached_input=0.25, on="2026-04-30"),
    "gpt-5.4-mini": Price(input=0.75, output=4.50, cached_input=0.075, on="2026-04-30"),
    "gemini-2.0-flash": Price(input=0.10, output=0.40, cached_input=0.025, on="2026-05-21"),
    "deepseek/deepseek-chat-v3-0324": Price(input=0.27, output=1.10, batch_factor=1.0, on="2025-03-24"),
    "deepseek-v4-flash": Price(
        input=0.14, output=0.28, cached_input=0.0028, batch_factor=1.0, on="2026-04-30"
    ),
}
"""By the model's name at its provider. Prices change: `prune.price` in the recipe overrides them."""


def price_of(model: str) -> Price | None:
    """Return the list price of a model or preset, or ``None`` where the table does not know it."""
    return PRICES.get(PRESETS[model].model if model in PRESETS else model)


def rough_tokens(text: str) -> int:
    """Return about how many tokens a text has; a little high, for safety.

    A token of English and formulas has three letters or more, one of Chinese or of symbols often less than one sign.
    """
    plain = sum(map(str.isascii, text)) if not text.isascii() else len(text)
    return plain // 3 + 3 * (len(text) - plain) // 2 + 8
