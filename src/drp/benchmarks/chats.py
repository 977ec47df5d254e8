"""The last exchange of a chat log: what was asked, and what the assistant wrote, its thinking apart where it is."""

from typing import Any, NamedTuple, cast

from drp.benchmarks.values import text_of

_LISTS = ("messages", "conversations", "conversation")
_ASKS, _WRITES = ("user", "human"), ("assistant", "gpt", "model")
"""What chat formats call both sides: OpenAI's and ShareGPT's words."""


class Exchange(NamedTuple):
    """A question and its reply."""

    question: str | None
    thinking: str | None
    text: str


def last_exchange(row: dict[str, Any]) -> Exchange | None:
    """Return the last reply of a row's chat with the question before it; ``None`` where there is no chat or no reply."""
    for name in _LISTS:
        value: object = row.get(name)
        if not isinstance(value, list):
            continue
        said = [cast("dict[str, Any]", m) for m in cast("list[object]", value) if isinstance(m, dict)]
        for index in reversed(range(len(said))):
            if _role(said[index]) in _WRITES and (found := _reply(said[index])) is not None:
                asked = next((m for m in reversed(said[:index]) if _role(m) in _ASKS), None)
                return Exchange(_text(asked) if asked else None, *found)
    return None


def _role(message: dict[str, Any]) -> str:
    return str(message.get("role") or message.get("from") or "").lower()


def _text(message: dict[str, Any]) -> str | None:
    """Return what a message says; content in parts, as OpenAI has it, is joined."""
    content: object = message.get("content", message.get("value"))
    if isinstance(content, list):
        parts = [cast("dict[str, Any]", p) for p in cast("list[object]", content) if isinstance(p, dict)]
        return "".join(text_of(part.get("text")) or "" for part in parts)
    return text_of(content)


def _reply(message: dict[str, Any]) -> tuple[str | None, str] | None:
    text = _text(message)
    thinking = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    return None if text is None and thinking is None else (thinking, text or "")
