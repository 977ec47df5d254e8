"""What the errors of an endpoint mean: try later, give one item up, or stop because the set-up is wrong.

An error that every request would meet must never be written down as the outcome of an item: after the setting is
mended nothing would be asked again. So only what depends on an item's own text is final.
"""

import random
import re
from collections.abc import Iterator
from typing import Any, Literal, cast

import openai
from aiohttp import ClientConnectorError

from drp.engines.chat_replies import BadReplyError

LONGEST_BACK_OFF_S = 60.0
LONGEST_WAIT_S = 120.0
"""A Retry-After beyond this is taken for this."""
LEAST_ROOM = 16
"""Tokens of output that must fit beside a prompt; with less room the prompt itself is too long."""

Meaning = Literal["later", "setup", "item", "doubtful"]
"""``later``: the same request may succeed; ``setup``: none will until a setting, the key or the account is mended;
``item``: this text will never pass; ``doubtful``: the request is refused, and only another text shows why."""

_EMPTY_ACCOUNT = re.compile(
    r"insufficient[_ ](?:quota|balance|funds|credits?)|credit balance is too low", re.I
)
"""Not "billing" or "exceeded your quota": OpenAI and Gemini say these of limits that pass within a minute, too."""
_REFUSED_TEXT = re.compile(
    r"content[_ -](?:filter|policy|management)|invalid_prompt|flagged|moderation|safety (?:system|policy|filter)",
    re.I,
)
_CONTEXT = re.compile(r"context (?:length|window|size)\D{0,30}(\d[\d,]*)|max_model_len\D{0,5}(\d+)", re.I)
"""The context in what vLLM, SGLang, OpenAI and llama.cpp say: "maximum context length is 2048 tokens", "max_model_len=2048"."""
_PROMPT = re.compile(
    r"(\d[\d,]*)(?: tokens)? (?:input tokens|in the messages|(?:in|from) the (?:input|prompt))"
    r"|(?:prompt|input) (?:contains|has)(?: at least)? (\d[\d,]*)",
    re.I,
)
"""The prompt's length there: "your request has 100 input tokens", "(100 in the messages, 12000 in the completion)"."""


def meaning(error: BaseException) -> Meaning:
    """Return what follows from an error of a request."""
    if isinstance(error, openai.APIStatusError):
        return meaning_of(error.status_code, f"{error.code} {said(error)}")
    return "later" if isinstance(error, openai.APIError | TimeoutError | BadReplyError) else "doubtful"


def said(error: openai.APIStatusError) -> str:
    """Return an endpoint's own words, without what the client puts around them."""
    body = error.body
    words = cast("dict[str, object]", body).get("message") if isinstance(body, dict) else None
    return str(words or error.message)


def meaning_of(status: int, words: str) -> Meaning:
    """Return what follows from a status above 400 and what was said with it, code and message."""
    if status == 402 or (status == 429 and _EMPTY_ACCOUNT.search(words)):
        return "setup"
    if status >= 500 or status in (408, 409, 425, 429):
        return "later"
    if status == 413 or _REFUSED_TEXT.search(words):
        return "item"
    if status in (401, 403, 404, 405):
        return "setup"
    return "item" if _lengths(words)[1] else "doubtful"


def mend(status: int, message: str, model: str, url: str, variable: str) -> str:
    """Return what is wrong with a set-up and how to mend it, in one sentence or two."""
    words = " ".join(message.split())[:500].rstrip(".")
    if status in (402, 429):
        return f"the account behind {variable} has no quota left: {words}. Top it up and run the same command again"
    if status in (401, 403):
        return f"the endpoint refused the key: {words}. It comes from the environment variable {variable}"
    if status in (404, 405):
        v1 = "" if url.rstrip("/").endswith("/v1") else " (it does not end in /v1)"
        return (
            f"{url} answers {status} when asked for a completion: {words}. Look at endpoint.base_url{v1} and at the "
            f"model's name there, {model!r}"
        )
    return (
        f"{url} refuses every request ({status}): {words}. If it names a parameter, leave that out with "
        "endpoint.omit=[NAME], or set another value; then run the same command again"
    )


def clamped(body: dict[str, Any], error: BaseException, limit: str) -> dict[str, Any] | None:
    """Return a request with as many output tokens as fit beside its prompt, if that is what was wrong with it.

    An engine in this process cuts the limit to the context in the same way.

    Args:
        body: The request that was refused.
        error: Why.
        limit: The name of its output limit.
    """
    if not isinstance(error, openai.APIStatusError) or error.status_code not in (400, 422):
        return None
    context, prompt = _lengths(said(error))
    room = context - max(prompt, 1)
    return body | {limit: room} if LEAST_ROOM <= room < body[limit] else None


def _lengths(words: str) -> tuple[int, int]:
    """Return context and prompt in tokens, as a refusal names them; 0 where it does not."""
    found = (pattern.search(words) for pattern in (_CONTEXT, _PROMPT))
    context, prompt = (int((m[1] or m[2]).replace(",", "")) if m else 0 for m in found)
    return context, prompt


def nobody_listens(error: BaseException) -> bool:
    """Return whether a connection could not be made at all: refused, or no such host."""
    return any(isinstance(cause, ClientConnectorError | ConnectionRefusedError) for cause in _causes(error))


def lost(error: openai.APIError | TimeoutError, timeout_s: float) -> tuple[str, str]:
    """Return kind and message of a request that got no reply at all.

    The transport calls every fault of a socket a time-out of connecting; what it was stands behind that.
    """
    broken = any(
        isinstance(cause, OSError) and not isinstance(cause, TimeoutError) for cause in _causes(error)
    )
    if isinstance(error, TimeoutError | openai.APITimeoutError) and not broken:
        return "timeout", f"no reply within {timeout_s:g} s"
    return "connection", str(error.__cause__ or error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def retry_after(error: BaseException | None) -> float | None:
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


def pause(error: BaseException | None, tries: int) -> float:
    """Return how long to wait after ``tries``: as told, or exponentially longer with jitter."""
    told = retry_after(error)
    return told if told is not None else random.uniform(0, min(LONGEST_BACK_OFF_S, 0.5 * 2.0 ** (tries - 1)))
