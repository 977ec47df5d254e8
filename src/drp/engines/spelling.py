"""How a student spells a trace in tokens, sentence by sentence.

What counts is the text that will be trained on, tokenised as a whole. To replace a few sentences of it without
tokenising all of it again, sentences are tokenised apart. That gives the same tokens wherever a cut falls between two
of the pieces into which a tokenizer splits text before it looks at anything else; the tokenizers of today's reasoning
models split behind line breaks and before the space that leads a word. So the white space between two sentences is cut
there: up to its last line break it trails the sentence before, the rest leads the sentence behind. Whether a tokenizer
agrees is measured (:meth:`Speller.whole`), never assumed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from drp.engines.encoding import encode, render_prompt, shield
from drp.errors import EngineError
from drp.text.thinking import THINK, Tags, join_thinking

Asks = Callable[[str, str], Sequence[dict[str, str]]]
"""Returns the chat messages that ask a question of a task: ``asks(question, task)``."""


class Speller:
    """Turns prompts, pieces of thinking and answers into the ids that a student is trained on.

    Args:
        tokenizer: The student's, with a chat template.
        asks: How a question is asked.
        arguments: What the chat template is given besides.
        tags: What the student writes around its thinking.

    Raises:
        EngineError: The tokenizer has no end token.
    """

    def __init__(
        self, tokenizer: Any, asks: Asks, arguments: Mapping[str, Any] | None = None, tags: Tags = THINK
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise EngineError(
                "the student's tokenizer has no eos_token; set one in its tokenizer_config.json"
            )
        self.tokenizer, self._asks, self._arguments, self._tags = tokenizer, asks, arguments, tags
        self._stop = int(tokenizer.eos_token_id)
        self._spelled = lru_cache(maxsize=1 << 16)(
            self._spell
        )  # every candidate spells most of the trace again

    def piece(self, text: str) -> tuple[int, ...]:
        """Return the ids of a stretch of thinking, by itself."""
        return self._spelled(text)

    def _spell(self, text: str) -> tuple[int, ...]:
        return tuple(encode(self.tokenizer, shield(self.tokenizer, text)))

    def word(self, token: int) -> str:
        """Return the text of one token."""
        return str(self.tokenizer.decode([token]))

    def prompt(self, question: str, task: str = "maths") -> list[int]:
        """Return the ids up to where the thinking begins, opening tag included."""
        text = render_prompt(self.tokenizer, self._asks(question, task), self._arguments)
        ids = encode(self.tokenizer, text)
        return (
            ids
            if text.rstrip().endswith(self._tags.open)
            else [*ids, *encode(self.tokenizer, f"{self._tags.open}\n")]
        )

    def closing(self, answer: str) -> list[int]:
        """Return the ids of the closing tag, which a line break precedes, the answer part and the stop token."""
        text = f"{self._tags.close}\n\n{shield(self.tokenizer, answer.strip())}"
        return [*encode(self.tokenizer, text), self._stop]

    @property
    def close(self) -> list[int]:
        """The ids of the closing tag alone."""
        return encode(self.tokenizer, self._tags.close)

    def whole(self, question: str, thinking: str, answer: str, task: str = "maths") -> list[int]:
        """Return the ids of prompt and response, the response tokenised as one text, as in training."""
        text = render_prompt(self.tokenizer, self._asks(question, task), self._arguments)
        body = join_thinking(shield(self.tokenizer, thinking), shield(self.tokenizer, answer), self._tags)
        response = body if text.rstrip().endswith(self._tags.open) else f"{self._tags.open}\n{body}"
        return [*encode(self.tokenizer, text), *encode(self.tokenizer, response), self._stop]

    def text(self, ids: Sequence[int]) -> str:
        """Return what ids say, the stop token left out."""
        return str(self.tokenizer.decode([i for i in ids if i != self._stop]))
