"""Rendering a prompt by the student's own chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from drp.errors import EngineError


def render_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the text of a prompt, up to where the student starts to write.

    Raises:
        EngineError: The template refuses the messages, as Gemma's does a system prompt.
    """
    try:
        return str(tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False))
    except (TemplateError, ValueError, TypeError) as error:
        system = any(message["role"] == "system" for message in messages)
        hint = "; if it takes no system prompt, set prompt.system=null" if system else ""
        raise EngineError(
            f"the student's chat template refuses the prompt's messages: {error}{hint}"
        ) from error
