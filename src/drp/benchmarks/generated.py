"""One completion as a log has it: its text, why it ended, how many tokens it took; each tool writes that its own way.

Read are plain fields, chats (`messages`), lm-eval's samples (`resps`, `arguments`), OpenAI's replies (`choices`), vLLM's dumps
(`outputs`, `sampling_params`), SGLang's (`meta_info`) and llama.cpp's and Ollama's (`stop_type`, `done_reason`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from drp.benchmarks.exchanges import chat_of
from drp.benchmarks.values import count, count_of, described, text_of, truth, truth_of
from drp.errors import DataError
from drp.records import FinishReason
from drp.text.thinking import CLOSE, OPEN, split_thinking

COMPLETION = ("completion", "response", "output", "generation", "answer")
LISTS = ("choices", "outputs")
REASONS = ("finish_reason", "finish_reasons", "stop_reason", "stop_reasons", "done_reason", "stop_type")
CUT_FLAGS = ("truncated", "is_truncated", "stopped_limit")
TOKENS = ("completion_tokens", "tokens", "num_tokens")
LIMITS = ("max_tokens", "max_new_tokens", "max_gen_toks", "max_completion_tokens", "max_output_tokens")
ASKED_WITH = ("sampling_params", "sampling", "gen_kwargs", "generation_kwargs", "arguments")

_ENDS: dict[str, FinishReason] = {
    **dict.fromkeys(("length", "limit", "max_length", "model_length", *LIMITS), "length"),
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "word"), "stop"),
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}
"""What tools call the end of a completion, in lower case, and our word for it."""


@dataclass(frozen=True)
class Generated:
    """One completion of a row."""

    text: str
    """All that the model wrote; the answer alone where the log keeps the thinking apart."""
    thinking: str | None = None
    """The thinking, where the log keeps it apart."""
    closed: bool | None = None
    """Whether the thinking was closed, where the log says so."""
    finish: FinishReason | None = None
    tokens: int | None = None
    """Generated tokens."""
    opened: bool = False
    """Whether the prompt is on file and ends in the opening tag."""

    @property
    def cut(self) -> bool:
        """Whether the token limit ended it."""
        return self.finish == "length"

    @property
    def closes_only(self) -> bool:
        """Whether its text closes a thinking that it never opened, so that the prompt must have."""
        before, tag, _ = self.text.partition(CLOSE)
        return self.thinking is None and bool(tag) and OPEN not in before

    @property
    def untagged(self) -> bool:
        """Whether nothing in its text tells thinking from answer."""
        return self.thinking is None and OPEN not in self.text and CLOSE not in self.text

    def split(self, *, opened: bool) -> tuple[str, str, bool]:
        """Return thinking, answer and whether the thinking was closed; ``opened``: the prompt opened it."""
        if self.thinking is None:
            return split_thinking(self.text, opened=opened, cut=self.cut)
        closed = bool(self.text.strip()) or not self.cut if self.closed is None else self.closed
        return self.thinking, self.text, closed


def generated(row: dict[str, Any], field: str | None, place: str) -> list[Generated]:
    """Return the completions of a row, in order; ``field`` names the one that holds them.

    Raises:
        DataError: It has none, or one that is not text, or a count that is none.
    """
    found = _texts(row, field, place)
    closed = truth(row, "closed", place)
    opened = _prompt(row).rstrip().endswith(OPEN)
    limit = _limit(row)
    completions: list[Generated] = []
    for number, (thinking, text, own) in enumerate(found):
        tokens = _tokens(row, own, number, len(found), place)
        finish = _finish(row, own, number, len(found))
        if finish is None and tokens and limit and tokens >= limit:
            finish = "length"
        # A server that keeps thinking and answer apart closed the one where it wrote the other.
        shut = bool(text.strip()) if own and closed is None else closed
        completions.append(Generated(text, thinking, shut, finish, tokens, opened))
    return completions


_Text = tuple[str | None, str, dict[str, Any]]
"""Thinking where it is kept apart, text, and what else is said of this one completion alone."""


def _texts(row: dict[str, Any], field: str | None, place: str) -> list[_Text]:
    if field is None:
        thinking, answer = row.get("thinking"), row.get("answer")
        if isinstance(thinking, str) and isinstance(answer, str):
            return [(thinking, answer, {})]
        if isinstance(row.get("resps"), list):
            return [(None, text, {}) for text in _responses(row["resps"], place)]
    for name in [field] if field else COMPLETION:
        value = row.get(name)
        many = cast("list[object]", value) if isinstance(value, list) else [value]
        texts = [text for item in many if (text := text_of(item)) is not None]
        if texts and len(texts) == len(many):
            return [(None, text, {}) for text in texts]
    for name in LISTS if field is None else ():
        if found := _choices(row.get(name)):
            return found
    if field is None and (chat := chat_of(row)):
        return [(chat.thinking, chat.reply, {})]
    if field in row:
        raise DataError(f"{place}: field {field!r} is {described(row[field])}, not text")
    has = ", ".join(sorted(row))
    raise DataError(f"{place}: no completion; name its field with --completion. The line has: {has}")


def _responses(resps: list[object], place: str) -> Iterator[str]:
    """Yield lm-eval's responses: a list for each request, nested once more."""
    flat = [
        r for group in resps for r in (cast("list[object]", group) if isinstance(group, list) else [group])
    ]
    if not flat:
        raise DataError(f"{place}: no response (resps is empty); remove the line, or run its problem again")
    for response in flat:
        if not isinstance(response, str):
            raise DataError(
                f"{place}: a response in resps is {described(response)}, not text; what can be graded is the "
                "samples of a task that generates (output_type: generate_until)"
            )
        yield response


def _choices(value: object) -> list[_Text]:
    """Return the completions of OpenAI's ``choices`` or vLLM's ``outputs``; none where it is neither."""
    found: list[_Text] = []
    for item in cast("list[object]", value) if isinstance(value, list) else []:
        if not isinstance(item, dict):
            return []
        choice = cast("dict[str, Any]", item)
        message: Any = choice.get("message")
        said: dict[str, Any] = cast("dict[str, Any]", message) if isinstance(message, dict) else choice
        text = text_of(said.get("content" if said is not choice else "text"))
        thinking = text_of(said.get("reasoning_content")) or text_of(said.get("reasoning"))
        if text is None and thinking is None:
            return []
        found.append((thinking, text or "", choice))
    return found


def _own(value: object, number: int, of: int) -> object:
    """Return one completion's part of a field that may hold a list, one item each."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return items[number] if len(items) == of else None
    return value


def _places(row: dict[str, Any], own: dict[str, Any]) -> Sequence[dict[str, Any]]:
    meta: Any = row.get("meta_info")
    return [own, row, *([cast("dict[str, Any]", meta)] if isinstance(meta, dict) else [])]


def _finish(row: dict[str, Any], own: dict[str, Any], number: int, of: int) -> FinishReason | None:
    """Return why a completion ended; that it was cut wins where fields differ."""
    reasons: list[FinishReason] = []
    for place in _places(row, own):
        for name in REASONS:
            value = _own(place.get(name), number, of)
            if isinstance(value, dict):  # SGLang: {"type": "length", "length": 4096}
                value = cast("dict[str, object]", value).get("type")
            # "FinishReason.MAX_TOKENS", as enumerations print themselves, is "max_tokens".
            word = value.rpartition(".")[2].lower() if isinstance(value, str) else ""
            if word in _ENDS:
                reasons.append(_ENDS[word])
        if any(truth_of(_own(place.get(name), number, of)) for name in CUT_FLAGS):
            reasons.append("length")
    return "length" if "length" in reasons else next(iter(reasons), None)


def _tokens(row: dict[str, Any], own: dict[str, Any], number: int, of: int, place: str) -> int | None:
    """Return how many tokens a completion took."""
    usage = row.get("usage")
    if usage is not None and not isinstance(usage, dict):
        raise DataError(
            f"{place}: field 'usage' is {described(usage)}, not an object such as "
            '{"completion_tokens": 253}'
        )
    if usage and of == 1:  # with several, it is the sum of all
        for name in ("completion_tokens", "output_tokens"):
            if (
                found := count(cast("dict[str, object]", usage).get(name), f"usage.{name}", place)
            ) is not None:
                return found
    for source in _places(row, own):
        for name in TOKENS:
            given: object = source.get(name)
            several = isinstance(given, list) and len(cast("list[object]", given)) == of
            if name == "tokens" and isinstance(given, list) and not several:
                continue  # the tokens themselves
            value = _own(cast("object", given), number, of) if several else cast("object", given)
            if (found := count(value, name, place)) is not None:
                return found
    ids = own.get("token_ids")
    return len(cast("list[object]", ids)) if isinstance(ids, list) else None


def _limit(row: dict[str, Any]) -> int | None:
    """Return the token limit that a row was generated with, where it is on file."""
    waiting: list[object] = [row[name] for name in reversed(ASKED_WITH) if name in row]
    waiting.append({name: row.get(name) for name in LIMITS})
    while waiting:
        place = waiting.pop()
        if isinstance(place, dict):
            settings = cast("dict[str, object]", place)
            for name in LIMITS:
                if limit := count_of(settings.get(name)):
                    return limit
            waiting += settings.values()
        elif isinstance(place, list | tuple):
            waiting += cast("Sequence[object]", place)
    return None


def _prompt(row: dict[str, Any]) -> str:
    """Return the rendered prompt beside a completion, as lm-eval and vLLM log it, if there is one."""
    found: object = row.get("arguments") or row.get("prompt")
    while isinstance(found, list | dict) and found:
        inside = cast("dict[str, object] | list[object]", found)
        found = next(iter(inside.values())) if isinstance(inside, dict) else inside[0]
    return found if isinstance(found, str) else ""
