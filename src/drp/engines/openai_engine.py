"""The engine for any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, Ollama, or a provider."""

# Extra arguments go to the endpoint as they are, which leaves the client's overloads undecided.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from drp.engines.base import Reply, Request
from drp.errors import EngineError
from drp.records import Completion, Failure, FinishReason, Usage
from drp.runs.concurrency import as_they_land
from drp.text.thinking import split_thinking

_FINISH: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "content_filter": "content_filter",
}  # fmt: skip


class OpenAIEngine:
    """Sends requests concurrently; the key comes from the environment and goes nowhere else."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        timeout_s: float = 600.0,
        max_retries: int = 4,
        send_seed: bool = True,
        prefilled_thinking: bool = False,
    ) -> None:
        """Connect to an endpoint.

        Args:
            model: The model's name there.
            base_url: URL of the endpoint; ``None`` is OpenAI's own.
            key_variable: Environment variable that holds the key.
            concurrency: Most requests in flight.
            timeout_s: Seconds after which a request is given up or tried again.
            max_retries: How often the client itself tries again, with back-off, Retry-After honoured.
            send_seed: Whether to send each request's seed.
            prefilled_thinking: Whether the model's template opens the thinking itself, so that a reply
                cut before the closing tag is all thinking.

        Raises:
            EngineError: No key and no ``base_url``.
        """
        key = os.environ.get(key_variable)
        if not key and base_url is None:
            raise EngineError(
                f"no API key: set the environment variable {key_variable}, or give base_url for a local server"
            )
        self.model, self.concurrency, self.send_seed = model, concurrency, send_seed
        self.prefilled_thinking = prefilled_thinking
        self.client = AsyncOpenAI(
            api_key=key or "none",
            base_url=base_url,
            timeout=timeout_s,
            max_retries=max_retries,
            http_client=DefaultAioHttpClient(),
        )

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self.model

    @property
    def identity(self) -> dict[str, str]:
        """The model's name; where it is served does not matter."""
        return {"model": self.model}

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request on its own: an endpoint batches as it likes."""
        return [[request] for request in requests]

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield replies as they arrive, at most ``concurrency`` requests in flight."""
        starters = [partial(self._one, request) for batch in batches for request in batch]
        async for reply in as_they_land(starters, self.concurrency):
            yield reply

    async def _one(self, request: Request) -> Reply:
        extra: dict[str, Any] = {"seed": request.seed % 2**31} if self.send_seed else {}
        try:
            response: Any = await self.client.chat.completions.create(
                model=self.model,
                messages=[m.model_dump() for m in request.messages],  # type: ignore[misc]
                temperature=request.sampling.temperature,
                top_p=request.sampling.top_p,
                max_tokens=request.sampling.max_new_tokens,
                **extra,
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise EngineError(f"the endpoint refused the key: {error.message}") from error
        except openai.APIStatusError as error:
            # A 4xx other than a rate limit will be the same next time.
            again = error.status_code >= 500 or error.status_code in (408, 409, 429)
            return self._failed(request, f"http_{error.status_code}", error.message, retry=again)
        except openai.APIError as error:  # connections, time-outs, replies that are not JSON
            return self._failed(request, "connection", error.message, retry=True)
        if not response.choices:
            return self._failed(request, "empty_reply", "the reply has no choices", retry=True)
        return Reply(request.id, self._completion(response))

    def _failed(self, request: Request, kind: str, message: str, *, retry: bool) -> Reply:
        failure = Failure(id=request.id, stage="engine", kind=kind, message=message[:2000], retry=retry)
        return Reply(request.id, failure)

    def _completion(self, response: Any) -> Completion:
        choice = response.choices[0]
        message, usage = choice.message, response.usage
        content = message.content or ""
        # Servers with a reasoning parser put the thinking in a field of its own.
        apart = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None)
        if isinstance(apart, str) and apart:
            thinking, answer, closed = apart.strip(), content.strip(), bool(content.strip())
        else:
            cut = self.prefilled_thinking and choice.finish_reason == "length"
            opened = "</think>" in content or cut
            thinking, answer, closed = split_thinking(content, opened=opened)
        details = getattr(usage, "completion_tokens_details", None)
        return Completion(
            thinking=thinking,
            answer=answer,
            closed=closed,
            finish_reason=_FINISH.get(choice.finish_reason or "stop", "stop"),
            usage=Usage(
                prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
                completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
                thinking_tokens=getattr(details, "reasoning_tokens", None),
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
