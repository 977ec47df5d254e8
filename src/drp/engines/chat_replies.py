"""Reading chat completions: what servers call thinking, answer, reasons to end, and tokens."""

from typing import Any

from pydantic import BaseModel, ValidationError

from drp.engines.base import Wasted
from drp.records import Completion, FinishReason, Usage
from drp.text.thinking import THINK, Tags, split_thinking

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}
SHOWN = 20_000
"""Characters kept of a reply that cannot be used."""


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

    def record(self, thinking_tokens: int | None) -> Usage:
        """Return the counts as a record."""
        prompt = self.prompt_tokens_details
        cached = prompt.cached_tokens if prompt else self.prompt_cache_hit_tokens
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            thinking_tokens=thinking_tokens,
            cached_tokens=cached or 0,
        )


class _ChatReply(BaseModel):
    """The part of a chat completion that is read; whatever else comes is passed over."""

    choices: list[_Choice]
    usage: _Usage | None = None


class _UsageAlone(BaseModel):
    usage: _Usage


class BadReplyError(Exception):
    """A reply with status 200 that is no chat completion.

    It was paid all the same: ``wasted`` has what it says of its tokens, or else what it may have cost at most.
    """

    def __init__(self, kind: str, message: str, wasted: Wasted) -> None:
        super().__init__(message)
        self.kind, self.wasted = kind, wasted


def read_reply(
    content: bytes, worst: Usage, *, thinks: bool = False, prefilled: bool = False, tags: Tags = THINK
) -> Completion:
    """Return the completion that a reply's body holds.

    Args:
        content: The body.
        worst: What the reply cost at most, in case it does not say.
        thinks: Whether a student answers, so that text that was cut off, or that never closed the thinking, has no answer.
        prefilled: Whether the student's template opens the thinking itself.
        tags: What stands around the thinking.

    Raises:
        BadReplyError: It is not a chat completion.
    """
    try:
        reply = _ChatReply.model_validate_json(content)
    except ValidationError as error:
        message = f"the reply is not a chat completion: {error.errors()[0]['msg']}"
        raise BadReplyError("malformed_reply", message, _wasted(content, worst)) from error
    if not reply.choices:
        raise BadReplyError("empty_reply", "the reply has no choices", _wasted(content, worst))
    return _completion(reply.choices[0], reply.usage or _Usage(), thinks, prefilled, tags)


def _wasted(content: bytes, worst: Usage) -> Wasted:
    raw = content.decode("utf-8", "replace")[:SHOWN]
    try:
        return Wasted(raw=raw, usage=_UsageAlone.model_validate_json(content).usage.record(None))
    except ValidationError:
        return Wasted(raw=raw, usage=worst)


def _completion(choice: _Choice, usage: _Usage, thinks: bool, prefilled: bool, tags: Tags) -> Completion:
    message, content = choice.message, choice.message.content or ""
    finish = _FINISH.get(choice.finish_reason or "stop", "stop")
    # Servers with a reasoning parser put the thinking in a field of its own.
    apart = message.reasoning or message.reasoning_content
    if message.refusal and not content:
        thinking, answer, closed, finish = "", message.refusal, True, "refusal"
    elif apart:
        thinking, answer, closed = apart.strip(), content.strip(), bool(content.strip())
    elif thinks:
        thinking, answer, closed = split_thinking(
            content, opened=prefilled, cut=finish == "length", tags=tags
        )
    else:
        thinking, answer, closed = split_thinking(content, opened=tags.close in content, tags=tags)
    details: Any = usage.completion_tokens_details
    counted = details.reasoning_tokens if details else None
    if thinks and not closed:
        counted = usage.completion_tokens
    elif thinks and apart:
        # Parsers count the thinking without its closing tag, which is one token of models that think; some count nothing.
        counted = counted + 1 if counted else None
    return Completion(
        thinking=thinking, answer=answer, closed=closed, finish_reason=finish, usage=usage.record(counted)
    )
