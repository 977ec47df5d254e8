"""Thinking tags: splitting generated text into thinking and answer, and joining them again."""

from typing import NamedTuple


class Tags(NamedTuple):
    """What a model writes around its thinking, as texts: one token each, or several."""

    open: str
    close: str

    def end(self, prompt: str) -> bool:
        """Return whether a prompt ends in the opening tag, as R1's template has it, so that the model does not write it."""
        return prompt.rstrip().endswith(self.open)


THINK = Tags("<think>", "</think>")
"""What R1, Qwen3 and most others write; Magistral, for one, writes ``[THINK]`` and ``[/THINK]``."""
OPEN, CLOSE = THINK


def split_thinking(
    text: str, *, opened: bool, cut: bool = False, tags: Tags = THINK
) -> tuple[str, str, bool]:
    """Split generated text into thinking, answer and whether the thinking was closed.

    Args:
        text: What the model generated.
        opened: Whether the prompt already ended with the opening tag, as R1's template does. A
            repeated opening tag at the very start is dropped in either case.
        cut: Whether generation was ended from outside, by a token limit, rather than by the model.
        tags: What the model writes around its thinking.

    Returns:
        Thinking and answer, both stripped at their ends, and ``closed``. Text without any tag
        counts as answer, with no thinking left open, unless the prompt opened the tag or the text
        was cut: what would have come next is not known, so nothing in it is an answer. A cut right
        behind the closing tag leaves the thinking open too: servers that take the tag away show the same
        for a cut right before it.
    """
    body = text.lstrip()
    if body.startswith(tags.open):
        body, opened = body[len(tags.open) :], True
    thinking, tag, answer = body.partition(tags.close)
    if tag and (answer.strip() or not cut):
        return thinking.strip(), answer.strip(), True
    if opened or cut:
        return thinking.strip(), "", False
    return "", body.strip(), True


def join_thinking(thinking: str, answer: str, tags: Tags = THINK) -> str:
    """Return the response that follows a prompt ending in the opening tag and a line feed."""
    return f"{thinking.strip()}\n{tags.close}\n\n{answer.strip()}"
