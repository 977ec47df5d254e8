"""Scoring with a student that a server holds: log-probabilities of a prompt's tokens, as vLLM and SGLang give them.

Nothing of a passage is kept here, and vLLM's prefix cache does not serve log-probabilities of prompts: a continuation costs as
much as its whole text. So this is for who has the student served and no memory for it in this process; where there is,
:class:`drp.engines.prefix_scoring.PrefixCore` computes far less.
"""

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import openai
from pydantic import BaseModel, Field, ValidationError

from drp.engines.base import Wasted
from drp.engines.chat_replies import SHOWN, BadReplyError
from drp.engines.endpoint_check import context_of
from drp.engines.endpoint_errors import lost, meaning, said
from drp.engines.openai_engine import OpenAIEngine
from drp.engines.scoring import Extension, Floats, Passage
from drp.errors import EngineError
from drp.records import Usage
from drp.runs.concurrency import as_they_land

T = TypeVar("T")
Encode = Callable[[str], list[int]]
"""Returns the ids of a text, without any special token around it."""
PATH = "/completions"
PROBE = "Wait, 12 + 7 = 19.\n\nSo Δx ≤ 3\\frac{1}{2}, is that right?"
"""Tokenised here and at the server before anything is scored."""
NAMED = "token_id:"
"""How vLLM names a token when it is asked for ids."""
ROOM = 1 << 20
CLOSING_S = 5.0
HOW = (
    "prune.student_server needs a server whose /v1/completions takes token ids and gives the log-probabilities of a prompt "
    "(echo with logprobs), as `vllm serve STUDENT` does without further options; or leave prune.student_server out, and the "
    "student is loaded in this process"
)


class _Logprobs(BaseModel):
    token_logprobs: list[float | None]
    tokens: list[str] = Field(default_factory=list)


class _Choice(BaseModel):
    text: str = ""
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _Reply(BaseModel):
    """The part of a completion that is read; whatever else comes is passed over."""

    choices: list[_Choice] = Field(min_length=1)


class ServedCore:
    """Asks a server for the log-probabilities of whole texts, one request a text, many at a time.

    Args:
        engine: Where the student is served; nobody else uses it.
        encode: The student's tokenizer.
        stop_ids: Tokens that end what the student writes.
        context: Most tokens of a text, as far as the student's config says; 0: unlimited. The server's own counts, too.

    Raises:
        EngineError: The server cannot be asked, gives no log-probabilities of prompts, or tokenises in another way.
    """

    def __init__(
        self, engine: OpenAIEngine, encode: Encode, stop_ids: Sequence[int], context: int = 0
    ) -> None:
        self.engine, self.stop_ids, self.room = engine, list(stop_ids), ROOM
        self._encode = encode
        self._flying: concurrent.futures.Future[Any] | None = None
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        weakref.finalize(self, _end, engine, self._loop, thread)
        served = self._wait(self._begin())
        self.context = min((n for n in (context, served) if n), default=0)

    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text, of which nothing is kept at the server."""
        found = self._wait(self._all([partial(self._logprobs, ids) for ids in texts]))
        return [Passage(ids, logprobs) for ids, logprobs in zip(texts, found, strict=True)]

    def extend(self, extensions: Sequence[Extension]) -> None:
        """Compute all of each continuation behind all of its prefix: a request is whole, so no bound ends it early."""
        texts = [[*one.passage.ids[: one.asked.start], *one.asked.ids] for one in extensions]
        found = self._wait(self._all([partial(self._logprobs, ids) for ids in texts]))
        for one, logprobs in zip(extensions, found, strict=True):
            one.add(logprobs[one.asked.start :])

    def attention(self, texts: Sequence[tuple[Sequence[int], slice]]) -> list[Floats]:
        """Raise an error: a server shows no attention.

        Raises:
            EngineError: Always.
        """
        _ = texts
        raise EngineError(
            "a server does not show what a student attends to: leave prune.student_server out, so that it is loaded in this "
            "process, or set prune.teacher=student"
        )

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Return the most likely continuation of each prompt, cut where the context ends."""
        return self._wait(self._all([partial(self._written, ids, tokens) for ids in prompts]))

    def give_up(self) -> None:
        """Cancel the requests in flight."""
        if (flying := self._flying) is not None:
            flying.cancel()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine gives, run in the thread in which this core's connections live."""
        self._flying = future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C: nobody waits for it any more
            raise
        finally:
            self._flying = None

    async def _all(self, starters: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        async def numbered(index: int) -> tuple[int, T]:
            return index, await starters[index]()

        everything = [partial(numbered, index) for index in range(len(starters))]
        found = [pair async for pair in as_they_land(everything, self.engine.concurrency)]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    async def _begin(self) -> int:
        """Look whether the server does what is needed; return how many tokens of a text it reads, 0 if it does not say."""
        try:
            models = await self.engine.client.models.list()
            context = {served.id: context_of(served) for served in models.data}.get(self.engine.model)
        except openai.APIError:
            context = None  # not every server lists its models; one that is down is said below
        ids = self._encode(PROBE)
        asked = {"prompt": PROBE, "add_special_tokens": False}
        choice = (await self._ask(asked | _SCORED, len(ids))).choices[0]
        theirs = _named(choice)
        counted = len(choice.logprobs.token_logprobs) if choice.logprobs else len(ids)
        if theirs[: len(ids)] != ids if theirs else counted not in (len(ids), len(ids) + 1):
            raise EngineError(
                f"{self.engine.url} tokenises {PROBE!r} in another way than student.model, so {self.engine.model!r} there is "
                "another model: serve the one that student.model names, or set prune.student_server.model"
            )
        await self._logprobs(ids)
        return context - 1 if context else 0  # one new token must fit: no server is asked for none

    async def _logprobs(self, ids: Sequence[int]) -> Floats:
        """Return the log-probability of each token of a text, 0 for the first."""
        reply = await self._ask({"prompt": list(ids)} | _SCORED, len(ids))
        choice, count = reply.choices[0], len(ids)
        if choice.logprobs is None:
            raise EngineError(f"{self.engine.url} gives no log-probabilities of a prompt. {HOW}")
        given, theirs = choice.logprobs.token_logprobs, _named(choice)
        if len(given) not in (count, count + 1) or (theirs and theirs[:count] != list(ids)):
            raise EngineError(
                f"{self.engine.url} was asked for the log-probabilities of {count} tokens, and gives {len(given)}, of others. {HOW}"
            )
        known = [value for value in given[1:count] if value is not None]
        if len(known) < count - 1:
            raise EngineError(
                f"{self.engine.url} leaves log-probabilities out: {len(known)} of {count - 1} are there. {HOW}"
            )
        return np.array([0.0, *known])

    async def _written(self, ids: Sequence[int], tokens: int) -> list[int]:
        room = min(tokens, self.context - len(ids)) if self.context else tokens
        asked = {"prompt": list(ids), "max_tokens": room, "stop_token_ids": self.stop_ids} | _GREEDY
        choice = (await self._ask(asked, len(ids) + room)).choices[0]
        return self._encode(choice.text) if choice.token_ids is None else choice.token_ids

    async def _ask(self, asked: dict[str, Any], tokens: int) -> _Reply:
        """Return a reply; what keeps it from coming stops the run, since no text is left out for a server's sake."""
        engine = self.engine
        body: dict[str, Any] = {"model": engine.model} | asked | engine.extra
        body = {name: value for name, value in body.items() if name not in engine.omit}
        try:
            return await engine.post(PATH, body, tokens, _read, [])
        except openai.APIStatusError as error:
            what, words = meaning(error), " ".join(said(error).split())[:500].rstrip(".")
            if what == "setup":
                raise EngineError(
                    f"prune.student_server: {engine.refusal(error.status_code, words)}"
                ) from error
            why = f"answers {error.status_code}: {words}"
            after = AGAIN if what == "later" else HOW
        except (openai.APIError, TimeoutError) as error:
            why, after = f"gives no reply ({lost(error, engine.timeout_s)[1]})", f"Is it running? {AGAIN}"
        except BadReplyError as error:
            why, after = str(error), HOW
        raise EngineError(f"the student's server at {engine.url} {why}. {after}")


_SCORED: dict[str, Any] = {
    "max_tokens": 1,  # some servers refuse 0
    "temperature": 0,
    "echo": True,
    "logprobs": 0,  # of the prompt's own tokens and no others: vLLM's memory grows with them
    "return_tokens_as_token_ids": True,
}
_GREEDY: dict[str, Any] = {
    "temperature": 0,
    "repetition_penalty": 1.0,  # vLLM would take the generation config's
    "skip_special_tokens": False,
    "return_token_ids": True,
}
AGAIN = "The same command goes on where it stopped"


def _named(choice: _Choice) -> list[int]:
    """Return the ids of a choice's tokens; empty where they are not named by id."""
    tokens = choice.logprobs.tokens if choice.logprobs else []
    return [int(token.removeprefix(NAMED)) for token in tokens] if _all_named(tokens) else []


def _all_named(tokens: Sequence[str]) -> bool:
    return all(token.startswith(NAMED) for token in tokens)


def _read(content: bytes, body: dict[str, Any]) -> _Reply:
    _ = body
    try:
        return _Reply.model_validate_json(content)
    except ValidationError as error:
        raw = content.decode("utf-8", "replace")[:SHOWN]
        said_ = f"answers with no completion: {error.errors()[0]['msg']}"
        nothing = Wasted(raw=raw, usage=Usage(prompt_tokens=0, completion_tokens=0))
        raise BadReplyError("malformed_reply", said_, nothing) from error


def _end(engine: OpenAIEngine, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Close the connections, then the loop they live in."""

    async def close() -> None:
        try:
            await engine.close()
        finally:
            loop.stop()

    asyncio.run_coroutine_threadsafe(close(), loop)
    if threading.current_thread() is not thread:
        thread.join(CLOSING_S)
