"""Training examples: prompt by the chat template, trace appended by hand, loss on the response only.

R1-style templates cut the thinking out of assistant turns, so rendering a whole conversation
through them would train on answers alone. Here the template renders the prompt, with its pre-filled
opening tag if it has one, and the response is appended as text. The tags around the thinking and the stop token are
the only control tokens of a response: any that a trace spells out is encoded letter by letter, as text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drp.engines.encoding import encode, render_prompt, shield
from drp.errors import TrainingError
from drp.text.thinking import THINK, Tags, join_thinking


@dataclass(frozen=True)
class Example:
    """One tokenised training example."""

    id: str
    input_ids: list[int]
    prompt_length: int
    """The first ``prompt_length`` tokens carry no loss; the rest, the stop token included, do."""
    rejected_ids: list[int] | None = None
    """Another response to the same prompt, to which this one is preferred."""

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longer response."""
        return max(len(self.input_ids), self.prompt_length + len(self.rejected_ids or ()))

    @property
    def labels(self) -> list[int]:
        """The token ids where the loss counts, -100 elsewhere."""
        return [-100] * self.prompt_length + self.input_ids[self.prompt_length :]


def render_response(prompt: str, thinking: str, answer: str, tags: Tags = THINK) -> str:
    """Return the response text without the stop token; never doubles the opening tag."""
    body = join_thinking(thinking, answer, tags)
    return body if tags.end(prompt) else f"{tags.open}\n{body}"


def build_example(
    tokenizer: Any,
    id_: str,
    messages: Sequence[dict[str, str]],
    thinking: str,
    answer: str,
    arguments: Mapping[str, Any] | None = None,
    tags: Tags = THINK,
) -> Example:
    """Tokenise one example; ``arguments`` are those of the chat template, ``tags`` the student's around its thinking.

    Prompt and response are tokenised apart, so that the ids of the prompt are exactly those seen at
    generation, and the stop token is appended as an id.

    Raises:
        TrainingError: The tokenizer has no end token, without which the student would learn never
            to stop.
    """
    stop = tokenizer.eos_token_id
    if stop is None:
        raise TrainingError("the student's tokenizer has no eos_token; set one in its tokenizer_config.json")
    prompt = render_prompt(tokenizer, messages, arguments, tags)
    prompt_ids = encode(tokenizer, prompt)
    thinking, answer = shield(tokenizer, thinking, tags), shield(tokenizer, answer, tags)
    response = render_response(prompt, thinking, answer, tags)
    return Example(id_, [*prompt_ids, *encode(tokenizer, response), stop], len(prompt_ids))


def show_example(tokenizer: Any, example: Example) -> str:
    """Return one example as a person can check it: what carries loss, as text and token by token.

    Every later error of a template, a doubled tag or a missing stop token shows here first.
    """
    prompt, response = example.input_ids[: example.prompt_length], example.input_ids[example.prompt_length :]
    stop = tokenizer.decode(response[-1:])
    tokens = "\n".join(
        f"{n:>6}  {i:>7}  {'loss' if n >= len(prompt) else '-':<4}  {tokenizer.decode([i])!r}"
        for n, i in enumerate(example.input_ids)
    )
    return (
        f"{example.id}: {len(example.input_ids)} tokens, {len(response)} of them with loss, the last of which is the stop "
        f"token {stop!r}\n\n===== prompt, without loss =====\n{tokenizer.decode(prompt)}\n===== response, with loss =====\n"
        f"{tokenizer.decode(response)}\n===== tokens: position, id, loss, text =====\n{tokens}\n"
    )


def within_limit(examples: Sequence[Example], max_length: int) -> tuple[list[Example], list[Example]]:
    """Split examples into those of at most ``max_length`` tokens and the longer ones."""
    fitting = [example for example in examples if example.length <= max_length]
    longer = [example for example in examples if example.length > max_length]
    return fitting, longer
