"""What every engine offers: completions for requests, whatever runs the model."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from drp.records import Completion, Failure, Record, Usage
from drp.runs.fingerprints import UNLESS_SET


class Message(Record):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Record):
    """How completions are drawn; part of a stage's fingerprint."""

    temperature: float = Field(default=0.6, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus mass."""
    max_new_tokens: int = Field(default=12_000, ge=1)
    """Completions are cut off here; the paper's protocol uses 12,000."""
    top_k: int = Field(default=0, ge=0, json_schema_extra=UNLESS_SET)
    """Only so many of the most likely tokens may be drawn; 0 is all of them."""
    min_p: float = Field(default=0.0, ge=0, le=1, json_schema_extra=UNLESS_SET)
    """Tokens less likely than this share of the most likely one's probability are not drawn; 0 is off."""
    repetition_penalty: float = Field(default=1.0, gt=0, json_schema_extra=UNLESS_SET)
    """Divides the scores of tokens that stand in the prompt or the completion already (Keskar et al. 2019); 1 is off."""


class Request(Record):
    """One prompt to complete."""

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int = Field(ge=0, lt=2**63)
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """What the model's chat template is given besides the messages."""
    reply_schema: dict[str, Any] | None = None
    """JSON schema the reply must follow, where the endpoint can promise that."""


class Wasted(Record):
    """A reply with status 200 that is no completion: paid, and kept for people to look at."""

    raw: str
    usage: Usage


@dataclass(frozen=True)
class Reply:
    """The outcome of one request."""

    id: str
    outcome: Completion | Failure
    wasted: tuple[Wasted, ...] = ()
    """What was paid on the way and is of no use."""


class Engine(Protocol):
    """Turns requests into completions."""

    @property
    def name(self) -> str:
        """Name of the engine and its model, for records."""
        ...

    @property
    def identity(self) -> dict[str, str]:
        """What defines the model behind the engine, for fingerprints."""
        ...

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Group requests that are run together.

        Planned over all wanted requests, never over the owed ones alone, so that a resumed run
        computes in the same company, and hence the same bits, as an undisturbed one.
        """
        ...

    def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield one reply per request, as they come."""
        ...

    async def close(self) -> None:
        """Free what the engine holds."""
        ...


def request_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on nothing but ``parts``."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
