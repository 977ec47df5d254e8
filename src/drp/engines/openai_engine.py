"""The engine for any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, or a provider."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from drp.engines.base import Reply, Request
from drp.engines.limits import Limits
from drp.engines.pricing import rough_tokens
from drp.engines.providers import PRESETS, PROVIDERS, Provider, ProviderName, provider_of, request_body
from drp.errors import EngineError
from drp.records import Completion, Failure, FinishReason, Usage
from drp.runs.concurrency import as_they_land
from drp.text.thinking import split_thinking

_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "content_filter": "content_filter",
}  # fmt: skip
LONGEST_BACK_OFF_S = 60.0
LONGEST_WAIT_S = 120.0
"""A Retry-After beyond this is taken for this."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _PromptDetails(BaseModel):
    cached_tokens: int | None = None


class _CompletionDetails(BaseModel):
    reasoning_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached tokens
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _ChatReply(BaseModel):
    """The part of a chat completion that is read; whatever else comes is passed over."""

    choices: list[_Choice]
    usage: _Usage | None = None


class BadReplyError(Exception):
    """A reply with status 200 that is no chat completion."""

    def __init__(self, kind: str, message: str, raw: str) -> None:
        super().__init__(message)
        self.kind, self.raw = kind, raw


class OpenAIEngine:
    """Sends requests concurrently; the key comes from the environment and goes nowhere else."""

    def __init__(
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
        omit: tuple[str, ...] = (),
        extra: dict[str, Any] | None = None,
        prefilled_thinking: bool = False,
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
            omit: Parameters not to send, for models that refuse them.
            extra: Parameters to add to every request; they are part of the engine's identity.
            prefilled_thinking: Whether the model's template opens the thinking itself, so that a reply
                cut before the closing tag is all thinking.

        Raises:
            EngineError: No key and no ``base_url``.
        """
        self.provider: Provider = PROVIDERS[provider_of(model, provider, base_url)]
        url = base_url or self.provider.base_url
        variable = key_variable or self.provider.key_variable
        key = os.environ.get(variable)
        if url is None:
            raise EngineError("a local provider needs its URL: set endpoint.base_url")
        if not key and base_url is None:
            raise EngineError(
                f"no API key: set the environment variable {variable}, or give base_url for a local server"
            )
        preset = PRESETS.get(model)
        self.model = preset.model if preset else model
        if preset and preset.schema_format:
            self.provider = self.provider.model_copy(update={"schema_format": preset.schema_format})
        self.omit, self.extra = omit, extra or {}
        self.prefilled_thinking, self.timeout_s, self.max_retries = prefilled_thinking, timeout_s, max_retries
        self.concurrency = concurrency
        self.limits = Limits(concurrency, requests_per_minute, tokens_per_minute)
        self.client = AsyncOpenAI(
            api_key=key or "none",
            base_url=url,
            timeout=timeout_s,
            max_retries=0,  # trying again is done here, where the limits see it
            http_client=DefaultAioHttpClient(),
        )

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.model

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
        tokens = rough_tokens(sum(len(m.content) for m in request.messages))
        tokens += request.sampling.max_new_tokens
        try:
            return Reply(request.id, await self._until_it_works(body, tokens))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise EngineError(f"the endpoint refused the key: {error.message}") from error
        except openai.APIStatusError as error:
            kind, message = f"http_{error.status_code}", error.message
            return _failed(request, kind, message, retry=_worth_retrying(error), raw=error.response.text)
        except (openai.APIError, TimeoutError) as error:
            kind, message = _lost(error, self.timeout_s)
            return _failed(request, kind, message, retry=True)
        except BadReplyError as error:
            return _failed(request, error.kind, str(error), retry=True, raw=error.raw)

    async def _until_it_works(self, body: dict[str, Any], tokens: int) -> Completion:
        try:
            return await self._send(body, tokens)  # nearly always, and then without the machinery below
        except (openai.APIError, TimeoutError, BadReplyError) as error:
            if not self.max_retries or not _worth_retrying(error):
                raise
            await asyncio.sleep(_pause(error, 1))
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_worth_retrying),
            stop=stop_after_attempt(self.max_retries),
            wait=lambda state: _pause(
                state.outcome.exception() if state.outcome else None, state.attempt_number + 1
            ),
            reraise=True,
        ):
            with attempt:
                return await self._send(body, tokens)
        raise AssertionError("tenacity either returns or raises")

    async def _send(self, body: dict[str, Any], tokens: int) -> Completion:
        async with self.limits.slot(tokens):
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.timeout_s):  # the client's own counts from byte to byte
                    content = await self.client.post("/chat/completions", cast_to=bytes, body=body)
            except openai.RateLimitError as error:
                self.limits.rejected(_retry_after(error))
                raise
            self.limits.succeeded(time.monotonic() - started)
        return self.read(content)

    def read(self, content: bytes) -> Completion:
        """Return the completion a reply's body holds.

        Raises:
            BadReplyError: It is not a chat completion.
        """
        try:
            reply = _ChatReply.model_validate_json(content)
        except ValidationError as error:
            raw = content.decode("utf-8", "replace")[:20_000]
            message = f"the reply is not a chat completion: {error.errors()[0]['msg']}"
            raise BadReplyError("malformed_reply", message, raw) from error
        if not reply.choices:
            raise BadReplyError("empty_reply", "the reply has no choices", content.decode("utf-8", "replace"))
        return self._completion(reply.choices[0], reply.usage or _Usage())

    def _completion(self, choice: _Choice, usage: _Usage) -> Completion:
        message = choice.message
        content = message.content or ""
        finish = _FINISH.get(choice.finish_reason or "stop", "stop")
        # Servers with a reasoning parser put the thinking in a field of its own.
        apart = message.reasoning or message.reasoning_content
        if message.refusal and not content:
            thinking, answer, closed, finish = "", message.refusal, True, "refusal"
        elif apart:
            thinking, answer, closed = apart.strip(), content.strip(), bool(content.strip())
        else:
            cut = self.prefilled_thinking and choice.finish_reason == "length"
            thinking, answer, closed = split_thinking(content, opened="</think>" in content or cut)
        prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
        cached = prompt.cached_tokens if prompt else usage.prompt_cache_hit_tokens
        return Completion(
            thinking=thinking,
            answer=answer,
            closed=closed,
            finish_reason=finish,
            usage=Usage(
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                thinking_tokens=completion.reasoning_tokens if completion else None,
                cached_tokens=cached or 0,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


def _failed(request: Request, kind: str, message: str, *, retry: bool, raw: str | None = None) -> Reply:
    failure = Failure(
        id=request.id,
        stage="engine",
        kind=kind,
        message=message[:2000],
        raw=raw and raw[:20_000],
        retry=retry,
    )
    return Reply(request.id, failure)


def _lost(error: openai.APIError | TimeoutError, timeout_s: float) -> tuple[str, str]:
    """Return kind and message of a request that got no reply at all."""
    cause = error.__cause__
    # The transport calls a refused connection a time-out of connecting.
    if isinstance(error, TimeoutError | openai.APITimeoutError) and "Connect" not in type(cause).__name__:
        return "timeout", f"no reply within {timeout_s:g} s"
    return "connection", str(cause or error)


def _worth_retrying(error: BaseException) -> bool:
    """Return whether the same request may succeed later: a 4xx other than a rate limit will not."""
    if isinstance(error, openai.RateLimitError):
        return error.code != "insufficient_quota"
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in (408, 409)
    return isinstance(error, openai.APIError | TimeoutError | BadReplyError)


def _retry_after(error: BaseException | None) -> float | None:
    """Return the seconds an error's Retry-After asks for, or ``None``."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    try:
        milliseconds = headers.get("retry-after-ms")
        seconds = float(milliseconds) / 1000 if milliseconds else float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _pause(error: BaseException | None, tries: int) -> float:
    """Return how long to wait after ``tries``: as told, or exponentially longer with jitter."""
    told = _retry_after(error)
    return told if told is not None else random.uniform(0, min(LONGEST_BACK_OFF_S, 0.5 * 2.0 ** (tries - 1)))
