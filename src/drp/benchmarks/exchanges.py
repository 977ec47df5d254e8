"""A question and its reply, as files for fine-tuning have them: chats of two formats, and pairs of prompt and completion."""

from collections.abc import Mapping
from typing import NamedTuple, cast

from drp.text.thinking import OPEN, split_thinking

CHATS = ("messages", "conversations", "conversation")
"""OpenAI's field, and ShareGPT's."""
ASKS, REPLIES = ("user", "human"), ("assistant", "gpt", "model")


class Exchange(NamedTuple):
    """What was asked, and what was written."""

    question: str | None
    """``None`` where the file has only the prompt that a template made of it."""
    reply: str
    thinking: str | None = None
    """Where the file keeps it apart from the reply."""
    opened: bool = False
    """Whether the prompt ended in the opening tag."""

    def split(self) -> tuple[str, str, bool]:
        """Return thinking, answer and whether the thinking was closed."""
        if self.thinking is None:
            return split_thinking(self.reply, opened=self.opened)
        return self.thinking, self.reply, bool(self.reply.strip())


def exchange_of(row: Mapping[str, object]) -> Exchange | None:
    """Return the last exchange of a row, or ``None`` where it has none.

    Read are ``messages`` (``role``, ``content`` and perhaps ``reasoning_content``), ``conversations`` (``from``, ``value``),
    and ``prompt`` with ``completion``, both of which may be texts or lists of messages. A prompt that is a text counts as the
    question, unless the row has a ``question`` of its own.
    """
    if any(_messages(row.get(name)) for name in CHATS):
        return chat_of(row)
    prompt, completion = row.get("prompt"), row.get("completion")
    asked, replied = _messages(prompt), _messages(completion)
    if asked and replied:
        return _last([*asked, *replied])
    if isinstance(prompt, str) and isinstance(completion, str):
        own = row.get("question")
        question = own if isinstance(own, str) else prompt
        return Exchange(question, completion, opened=prompt.rstrip().endswith(OPEN))
    return None


def chat_of(row: Mapping[str, object]) -> Exchange | None:
    """Return the last exchange of a row's chat, or ``None`` where it has no chat, or nobody replied."""
    for name in CHATS:
        if said := _messages(row.get(name)):
            return _last(said)
    return None


def _messages(value: object) -> list[dict[str, object]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]


def _last(said: list[dict[str, object]]) -> Exchange | None:
    """Return the last reply and the question before it."""
    for index in range(len(said) - 1, -1, -1):
        if _role(said[index]) not in REPLIES:
            continue
        before = [_content(message) for message in said[:index] if _role(message) in ASKS]
        thinking = said[index].get("reasoning_content") or said[index].get("reasoning")
        return Exchange(
            before[-1] if before else None,
            _content(said[index]),
            thinking if isinstance(thinking, str) else None,
        )
    return None


def _role(message: Mapping[str, object]) -> str:
    return str(message.get("role") or message.get("from") or "").lower()


def _content(message: Mapping[str, object]) -> str:
    """Return what a message says; content in parts, as OpenAI's may be, is joined."""
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in _messages(cast("object", content)))
    return content if isinstance(content, str) else ""
