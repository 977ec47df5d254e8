"""From the ids that a student generated in this process to a completion, whatever decoded them."""

from collections.abc import Collection, Sequence
from typing import Any

from drp.records import Completion, Usage
from drp.text.thinking import THINK, Tags, split_thinking


def completion_of(
    tokenizer: Any,
    output: Sequence[int],
    prompt_tokens: int,
    stop_ids: Collection[int],
    *,
    opened: bool,
    tags: Tags = THINK,
) -> Completion:
    """Return the completion that generated ids spell.

    Args:
        tokenizer: The student's.
        output: What was generated, with the id that ended it if one did.
        prompt_tokens: Length of the prompt.
        stop_ids: The ids that end a completion; without one at its end it was cut off.
        opened: Whether the prompt ended in the opening tag.
        tags: What the student writes around its thinking.
    """
    ids = list(output)
    stopped = bool(ids) and ids[-1] in stop_ids
    text = tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=False)
    thinking, answer, closed = split_thinking(text, opened=opened, cut=not stopped, tags=tags)
    return Completion(
        thinking=thinking,
        answer=answer,
        closed=closed,
        finish_reason="stop" if stopped else "length",
        usage=Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=len(ids),
            thinking_tokens=_thinking_tokens(tokenizer, ids, tags) if closed else len(ids) * bool(thinking),
        ),
    )


def _thinking_tokens(tokenizer: Any, ids: list[int], tags: Tags) -> int:
    """Count ids up to and including the closing tag, from the ids themselves."""
    tag = tokenizer.convert_tokens_to_ids(tags.close)
    if tag != tokenizer.unk_token_id and tag in ids:
        return ids.index(tag) + 1
    low, high = 0, len(ids)  # the tag is spelled in several tokens: find where it completes
    while low < high:
        middle = (low + high) // 2
        if tags.close in tokenizer.decode(ids[:middle], skip_special_tokens=False):
            high = middle
        else:
            low = middle + 1
    return low
