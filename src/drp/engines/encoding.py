"""From text to token ids without letting the text speak for the tokenizer.

A question or a trace may hold the letters of a control token, such as ``<|im_end|>``. Taken for the token itself it
would end a turn that has not ended. So texts are *shielded* before they enter a template: after the first letter of
every control token stands a mark, and ``encode`` tokenises what lies between marks apart, so that no control token is
recognised there. A text without control tokens has no marks and gives the ids that it always gave.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from drp.errors import EngineError
from drp.text.thinking import THINK, Tags

MARK = "\ufdd0"
"""Unicode sets this code point aside for use inside programs; no text may hold it."""
_TAG = re.compile(r"[<\[].+[>\]]", re.DOTALL)
_BARRED = re.compile(r"<[|｜].+[|｜]>", re.DOTALL)


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: Any, tags: Tags) -> frozenset[str]:
    """Return the tokens that structure a conversation: the special ones, tags of thinking, of the template or with bars.

    Other added tokens (runs of spaces, ``<b>``) are ordinary text to which a tokenizer gave one id.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    found: set[str] = set(tokenizer.all_special_tokens)
    for token in tokenizer.added_tokens_decoder.values():
        text = str(token.content)
        named = _TAG.fullmatch(text) and (text in template or _BARRED.fullmatch(text))
        if token.special or named or text in tags:
            found.add(text)
    return frozenset(t for t in found if len(t) > 1 and not t.isspace())


@lru_cache(maxsize=16)
def _first_letters(tokenizer: Any, tags: Tags, spare_tags: bool) -> re.Pattern[str] | None:
    """Return what finds the first letter of every control token, of overlapping ones too."""
    tokens = sorted(_control_tokens(tokenizer, tags) - set(tags if spare_tags else ()))
    return re.compile(f"(?=(?:{'|'.join(map(re.escape, tokens))}))(.)", re.DOTALL) if tokens else None


def shield(tokenizer: Any, text: str, tags: Tags = THINK, *, spare_tags: bool = False) -> str:
    """Return ``text`` with a mark in every control token, among which are the tags of thinking unless they are spared."""
    starts = _first_letters(tokenizer, tags, spare_tags)
    return starts.sub(rf"\1{MARK}", text) if starts else text


def render_prompt(
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    arguments: Mapping[str, Any] | None = None,
    tags: Tags = THINK,
) -> str:
    """Return the text of a prompt, its messages shielded, up to where the student starts to write.

    ``arguments`` go to the template, such as ``enable_thinking``; one that it does not know changes nothing. The tags of
    thinking stay where a message holds them: an instruction may well speak of them, and they end no turn.

    Raises:
        EngineError: The template refuses the messages, as Gemma's does a system prompt.
    """
    shielded = [{**m, "content": shield(tokenizer, m["content"], tags, spare_tags=True)} for m in messages]
    try:
        return str(
            tokenizer.apply_chat_template(
                shielded, add_generation_prompt=True, tokenize=False, **dict(arguments or {})
            )
        )
    except (TemplateError, ValueError, TypeError) as error:
        system = any(message["role"] == "system" for message in messages)
        hint = "; if it takes no system prompt, set prompt.system=null" if system else ""
        raise EngineError(
            f"the student's chat template refuses the prompt's messages: {error}{hint}"
        ) from error


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text that was shielded, without any that the tokenizer would add by itself."""
    pieces = [piece for piece in text.split(MARK) if piece]
    return [i for piece in pieces for i in tokenizer(piece, add_special_tokens=False)["input_ids"]]


def prefills_thinking(
    path: str, arguments: Mapping[str, Any] | None = None, tags: Tags = THINK
) -> bool | None:
    """Return whether a student's template ends the prompt in the opening tag, or ``None`` where it cannot be read here."""
    try:
        from drp.engines.transformers_engine import load_tokenizer

        asked = [{"role": "user", "content": "1 + 1 = ?"}]
        return tags.end(render_prompt(load_tokenizer(path), asked, arguments, tags))
    except (ImportError, EngineError):
        return None
