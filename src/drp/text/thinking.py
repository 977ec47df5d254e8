"""Thinking tags: splitting generated text into thinking and answer, and joining them again."""

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str, *, opened: bool, cut: bool = False) -> tuple[str, str, bool]:
    """Split generated text into thinking, answer and whether the thinking was closed.

    Args:
        text: What the model generated.
        opened: Whether the prompt already ended with the opening tag, as R1's template does. A
            repeated opening tag at the very start is dropped in either case.
        cut: Whether generation was ended from outside, by a token limit, rather than by the model.

    Returns:
        Thinking and answer, both stripped at their ends, and ``closed``. Text without any tag
        counts as answer, with no thinking left open, unless the prompt opened the tag or the text
        was cut: what would have come next is not known, so nothing in it is an answer. A cut right
        behind the closing tag leaves the thinking open too: servers that take the tag away show the same
        for a cut right before it.
    """
    body = text.lstrip()
    if body.startswith(OPEN):
        body, opened = body[len(OPEN) :], True
    thinking, tag, answer = body.partition(CLOSE)
    if tag and (answer.strip() or not cut):
        return thinking.strip(), answer.strip(), True
    if opened or cut:
        return thinking.strip(), "", False
    return "", body.strip(), True


def join_thinking(thinking: str, answer: str) -> str:
    """Return the response that follows a prompt ending in the opening tag and a line feed."""
    return f"{thinking.strip()}\n{CLOSE}\n\n{answer.strip()}"
