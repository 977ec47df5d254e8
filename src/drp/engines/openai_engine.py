"""The engine for any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, or a provider."""

import asyncio
import ipaddress
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from drp.engines.base import Message, Reply, Request, Wasted
from drp.engines.chat_replies import SHOWN, BadReplyError, read_reply
from drp.engines.endpoint_errors import (
    Meaning,
    clamped,
    lost,
    meaning,
    mend,
    nobody_listens,
    pause,
    retry_after,
    said,
)
from drp.engines.limits import Limits
from drp.engines.pricing import rough_tokens
from drp.engines.providers import PRESETS, PROVIDERS, Provider, ProviderName, provider_of, request_body
from drp.errors import EngineError
from drp.records import Completion, Failure, Usage
from drp.runs.concurrency import as_they_land
from drp.runs.stage import Say, silent
from drp.text.thinking import THINK, Tags

Prepare = Callable[[AsyncOpenAI], Awaitable[None]]
"""Gets a server ready for requests."""
Found = TypeVar("Found")
CHAT = "/chat/completions"
LOOK_AGAIN_S = 2.0
"""Seconds between looks whether a server that went away is back."""
PROBE = Message(role="user", content="1 + 1 = ?")
PROBE_TOKENS = 16


class OpenAIEngine:
    """Sends requests concurrently; the key comes from the environment and goes nowhere else."""

    def __init__(  # noqa: PLR0913  an endpoint is told apart by all of these; recipes give them as EndpointSettings
        self,
        model: str,
        *,
        provider: ProviderName | None = None,
        base_url: str | None = None,
        key_variable: str | None = None,
        concurrency: int = 32,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        timeout_s: float = 600.0,
        max_retries: int = 6,
        restart_s: float = 300.0,
        omit: tuple[str, ...] = (),
        extra: dict[str, Any] | None = None,
        setup: str | None = None,
        thinks: bool = False,
        prefilled: bool = False,
        tags: Tags = THINK,
        prepare: Prepare | None = None,
        say: Say = silent,
    ) -> None:
        """Connect to an endpoint.

        Args:
            model: A preset, or the model's name at the endpoint.
            provider: Whose parameters are sent; left out: told from the model and the URL.
            base_url: URL of the endpoint; left out: the provider's.
            key_variable: Environment variable that holds the key; left out: the provider's.
            concurrency: Most requests in flight.
            requests_per_minute: The endpoint's limit, if any.
            tokens_per_minute: The same for tokens in and out.
            timeout_s: Seconds after which a request is given up or tried again.
            max_retries: How often a request is tried again, with back-off, Retry-After honoured.
            restart_s: How long a server that has answered before may be away.
            omit: Parameters not to send, for models that refuse them.
            extra: Parameters to add to every request; they are part of the engine's identity.
            setup: Identity of these settings; what is final under them may be tried again under others.
            thinks: Whether replies are a student's traces: text that was cut off or never closed has no answer.
            prefilled: Whether the student's template opens the thinking itself.
            tags: What the model writes around its thinking.
            prepare: What the server needs before the first request, and again after it was away.
            say: Told when the server goes away and comes back.

        Raises:
            EngineError: No key and no ``base_url``, or a provider's key would cross a network unencrypted.
        """
        self.provider: Provider = PROVIDERS[provider_of(model, provider, base_url)]
        self.url, self.variable, key = _where(self.provider, base_url, key_variable)
        preset = PRESETS.get(model)
        self.model = preset.model if preset else model
        if preset and preset.schema_format:
            self.provider = self.provider.model_copy(update={"schema_format": preset.schema_format})
        self.omit, self.extra, self.setup = omit, extra or {}, setup
        self.thinks, self.prefilled, self.tags, self.say = thinks, prefilled, tags, say
        self.timeout_s, self.max_retries, self.restart_s = timeout_s, max_retries, restart_s
        self.concurrency = concurrency
        self.limits = Limits(concurrency, requests_per_minute, tokens_per_minute)
        self.client = AsyncOpenAI(
            api_key=key or "none",
            base_url=self.url,
            timeout=timeout_s,
            max_retries=0,  # trying again is done here, where the limits see it
            http_client=DefaultAioHttpClient(),
        )
        self._answered = self._away = self._refusing = False
        self._probing, self._preparing = asyncio.Lock(), asyncio.Lock()
        self._prepare, self._prepared = prepare, prepare is None

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.model

    @property
    def flying(self) -> int:
        """How many requests are in flight."""
        return self.limits.flying

    @property
    def drawn(self) -> int:
        """0: an endpoint says what it drew when a reply ends."""
        return 0

    @property
    def identity(self) -> dict[str, str]:
        """The model's name and extra parameters; where it is served does not matter."""
        extra = {"extra": repr(sorted(self.extra.items()))} if self.extra else {}
        return {"model": self.model} | extra

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request on its own: an endpoint batches as it likes."""
        return [[request] for request in requests]

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield replies as they arrive, at most ``concurrency`` requests in flight."""
        starters = [partial(self._one, request) for batch in batches for request in batch]
        if len(starters) == 1:
            yield await starters[0]()
            return
        async for reply in as_they_land(starters, self.concurrency):
            yield reply

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON body of a request."""
        return request_body(self.provider, self.model, request, self.omit, self.extra)

    async def _one(self, request: Request) -> Reply:
        body = self.body(request)
        tokens = rough_tokens("".join(m.content for m in request.messages)) + request.sampling.max_new_tokens
        wasted: list[Wasted] = []
        try:
            outcome = await self.post(CHAT, body, tokens, self.read, wasted)
        except openai.APIStatusError as error:
            what = meaning(error)
            if what == "doubtful":
                what = await self.cleared_up(body)
            if what == "setup":
                raise self.refusal(error.status_code, said(error)) from error
            outcome = self.failed(
                request.id,
                f"http_{error.status_code}",
                said(error),
                retry=what == "later",
                raw=error.response.text,
            )
        except (openai.APIError, TimeoutError) as error:
            kind, message = lost(error, self.timeout_s)
            outcome = self.failed(request.id, kind, message, retry=True)
        except BadReplyError as error:
            outcome = self.failed(request.id, error.kind, str(error), retry=True, raw=error.wasted.raw)
        return Reply(request.id, outcome, tuple(wasted))

    def refusal(self, status: int, message: str) -> EngineError:
        """Return the error of a set-up that no request will pass."""
        return EngineError(mend(status, message, self.model, self.url, self.variable))

    def failed(self, id_: str, kind: str, message: str, *, retry: bool, raw: str | None = None) -> Failure:
        """Return the record of a request that got no completion; what is final is so under this set-up only."""
        return Failure(
            id=id_,
            stage="engine",
            kind=kind,
            message=message[:2000],
            raw=raw and raw[:SHOWN],
            retry=retry,
            setup=None if retry else self.setup,
        )

    async def post(
        self,
        path: str,
        body: dict[str, Any],
        tokens: int,
        read: Callable[[bytes, dict[str, Any]], Found],
        wasted: list[Wasted],
    ) -> Found:
        """Ask until it works, or no try is left; never more at a time than the limits allow.

        Args:
            path: What is asked, below the endpoint's URL.
            body: The request.
            tokens: About how many tokens it takes, in and out.
            read: Returns what a reply to such a request holds; a reply with which it finds fault is asked for again.
            wasted: Where such replies go.

        Raises:
            openai.APIError: What the last try met.
            TimeoutError: The same.
            BadReplyError: The same.
        """
        tries, away_since, forgot = 0, None, False
        while True:
            try:
                await self._ready()
                return read(await self._send(path, body, tokens), body)
            except (openai.APIError, TimeoutError, BadReplyError) as error:
                if isinstance(error, BadReplyError):
                    wasted.append(error.wasted)
                if (smaller := clamped(body, error, self.provider.length)) is not None:
                    body = smaller
                    continue
                if self._prepare and isinstance(error, openai.NotFoundError) and not forgot:
                    forgot, self._prepared = True, False  # it may have started again without anybody noticing
                    continue
                if self._answered and nobody_listens(error):
                    away_since = away_since or time.monotonic()
                    if time.monotonic() - away_since < self.restart_s:
                        self._gone()
                        await asyncio.sleep(LOOK_AGAIN_S)
                        continue
                tries += 1
                if tries > self.max_retries or meaning(error) != "later":
                    raise
                await asyncio.sleep(pause(error, tries))

    async def _ready(self) -> None:
        async with self._preparing:
            if self._prepare and not self._prepared:
                async with asyncio.timeout(self.timeout_s):
                    await self._prepare(self.client)
                self._prepared = True

    def _gone(self) -> None:
        self._prepared = self._prepare is None
        if not self._away:
            self._away = True
            self.say(
                f"{self.url} does not take connections any more; waiting up to {self.restart_s:g} s for it to come back"
            )

    async def _send(self, path: str, body: dict[str, Any], tokens: int) -> bytes:
        async with self.limits.slot(tokens):
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.timeout_s):  # the client's own counts from byte to byte
                    content = await self.client.post(path, cast_to=bytes, body=body)
            except openai.RateLimitError as error:
                self.limits.rejected(retry_after(error))
                raise
            self.limits.succeeded(time.monotonic() - started)
        if self._away:
            self.say(f"{self.url} answers again")
        self._answered, self._away = True, False
        return content

    async def cleared_up(self, body: dict[str, Any]) -> Meaning:
        """Return what a doubtful refusal means, by asking for another text in the same way."""
        async with self._probing:
            if self._refusing:
                return "setup"
            if self._answered:
                return "item"
            probe = body | {"messages": [PROBE.model_dump()], self.provider.length: PROBE_TOKENS}
            try:
                self.read(await self._send(CHAT, probe, 2 * PROBE_TOKENS), probe)
            except openai.APIStatusError as error:
                self._refusing = meaning(error) != "later"
                return "setup" if self._refusing else "later"
            except (openai.APIError, TimeoutError):
                return "later"  # nothing is known yet
            except BadReplyError:
                pass  # an answer, of whatever kind
            return "item"

    def read(self, content: bytes, body: dict[str, Any]) -> Completion:
        """Return the completion that the reply to a request holds.

        Raises:
            BadReplyError: It is not a chat completion.
        """
        prompt = rough_tokens("".join(str(m["content"]) for m in body["messages"]))
        worst = Usage(prompt_tokens=prompt, completion_tokens=body[self.provider.length])
        return read_reply(content, worst, thinks=self.thinks, prefilled=self.prefilled, tags=self.tags)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


def _where(provider: Provider, base_url: str | None, key_variable: str | None) -> tuple[str, str, str | None]:
    """Return the URL of an endpoint, the variable that holds its key, and the key.

    Raises:
        EngineError: One of them is missing, or a provider's key would be sent in the clear.
    """
    url, variable = base_url or provider.base_url, key_variable or provider.key_variable
    key = os.environ.get(variable)
    if url is None:
        raise EngineError("a local provider needs its URL: set endpoint.base_url")
    if not key and base_url is None:
        raise EngineError(
            f"no API key: set the environment variable {variable}, or give base_url for a local server"
        )
    theirs = {p.key_variable for name, p in PROVIDERS.items() if name != "local"}
    parts = urlsplit(url)
    if key and variable in theirs and parts.scheme != "https" and not _this_machine(parts.hostname or ""):
        raise EngineError(
            f"{variable} would cross the network unencrypted to {parts.hostname}: use an https URL, or put this server's "
            "own key into another variable and name it with endpoint.key_variable"
        )
    return url, variable, key


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
