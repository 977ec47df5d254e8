"""How likely texts are to a student: many continuations of the prefixes of one text, as cheaply as can be.

A *passage* is a token sequence that was read once. Of each of its prefixes any *continuation* can then be scored at the
cost of the continuation alone. That is the shape of every question of the kind "what if these sentences had not been
there?": the text before them is a prefix of the passage, and what was kept of the rest is a continuation.

Nothing here needs torch. What does the arithmetic is a :class:`Core`, such as
:class:`drp.engines.prefix_scoring.PrefixCore`; :class:`Scorer` brings the requests of many coroutines together
into batches for it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GATHER_S = 0.002
"""Requests are gathered for so long before a batch is computed; all that come while it is computed make the next one."""
WRITE_ROWS = 64
"""So many prompts are worth going on with while there is other work …"""
IDLE_S = 0.1
"""… and any number once there has been none for so long."""


@dataclass(frozen=True)
class Bound:
    """How far a continuation may fall behind before the rest of it is of no interest.

    It is broken at the first token where the weighted sum of log-probabilities so far is below that token's floor.
    """

    weights: Floats
    """One a token."""
    floors: Floats
    """One a token, in nats; ``-inf`` where nothing is asked."""

    def broken(self, logprobs: Floats) -> bool:
        """Return whether the first ``len(logprobs)`` tokens break it."""
        known = len(logprobs)
        return bool(np.any(np.cumsum(logprobs * self.weights[:known]) < self.floors[:known]))


@dataclass(frozen=True)
class Continuation:
    """Tokens that follow the first ``start`` tokens of a passage."""

    start: int
    """At least 1."""
    ids: Sequence[int]
    """At least one."""
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Passage:
    """A text that was read."""

    ids: Sequence[int]
    logprobs: Floats
    """Of each token given those before it, in nats; 0 for the first, before which there is nothing."""
    memory: Any = field(default=None, repr=False)
    """What the core keeps of it."""


@dataclass(eq=False)
class Extension:
    """A continuation under way."""

    passage: Passage
    asked: Continuation
    logprobs: Floats = field(default_factory=lambda: np.zeros(0))
    """Of its first tokens, as far as they are known, in nats."""
    finished: bool = False
    """Whether all of it is known, or a bound is broken."""
    memory: Any = field(default=None, repr=False)
    """What the core keeps of it meanwhile."""
    _sums: list[float] = field(default_factory=list[float], repr=False)

    def add(self, logprobs: Floats) -> None:
        """Take the log-probabilities of its next tokens; bounds are looked at where they are new."""
        known = len(self.logprobs)
        self.logprobs = np.concatenate([self.logprobs, logprobs]) if known else logprobs
        ended = len(self.logprobs) == len(self.asked.ids)
        sums = self._sums or [0.0] * len(self.asked.bounds)
        new = slice(known, known + len(logprobs))
        for number, bound in enumerate(self.asked.bounds):
            running = sums[number] + np.cumsum(logprobs * bound.weights[new])
            sums[number] = float(running[-1])
            ended = ended or bool((running < bound.floors[new]).any())
        self._sums, self.finished = sums, ended

    @property
    def owed(self) -> int:
        """How many of its tokens are not known yet."""
        return len(self.asked.ids) - len(self.logprobs)


class Core(Protocol):
    """What computes; it is asked by one thread at a time.

    Attributes:
        context: Most tokens of a text; 0: unlimited.
        room: Most tokens of all passages held at a time.
    """

    context: int
    room: int

    def read(self, texts: Sequence[Sequence[int]]) -> list[Passage]:
        """Return a passage of each text."""
        ...

    def extend(self, extensions: Sequence[Extension]) -> None:
        """Go on with continuations, none of which is finished: with as many as one pass has room for, and each as far as it likes.

        The first of them gets on, so that who asks again until all are finished comes to an end. What breaks a bound
        may go beyond the token that breaks it.
        """
        ...

    def attention(self, texts: Sequence[tuple[Sequence[int], slice]]) -> list[Floats]:
        """Return, for each text and some tokens of it, the mean attention that these pay to each of its tokens.

        Raises:
            EngineError: What computes has no attention to show.
        """
        ...

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
        """Return the most likely continuation of each prompt: at most so many tokens, a stop token included."""
        ...

    def give_up(self) -> None:
        """End what another thread has it compute, if that may take long: nobody waits for it any more."""
        ...


def complete(core: Core, asked: Sequence[tuple[Passage, Continuation]]) -> list[Floats]:
    """Return the log-probabilities of each continuation's tokens, in nats; they may end early where a bound is broken."""
    extensions = [Extension(*one) for one in asked]
    while going := [one for one in extensions if not one.finished]:
        core.extend(going)
    return [one.logprobs for one in extensions]


class Spelling(Protocol):
    """How a student's prompts and responses are spelled in tokens; see :class:`drp.engines.spelling.Speller`."""

    def prompt(self, question: str, task: str = "maths") -> list[int]:
        """Return the ids up to where the thinking begins, opening tag included."""
        ...

    def piece(self, text: str) -> tuple[int, ...]:
        """Return the ids of a stretch of thinking, by itself."""
        ...

    def closing(self, answer: str) -> list[int]:
        """Return the ids of the closing tag, the answer part and the stop token."""
        ...

    @property
    def close(self) -> list[int]:
        """The ids of the closing tag alone."""
        ...

    def whole(self, question: str, thinking: str, answer: str, task: str = "maths") -> list[int]:
        """Return the ids of prompt and response, the response tokenised as one text, as in training."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """Return what ids say, the stop token left out."""
        ...

    def word(self, token: int) -> str:
        """Return the text of one token."""
        ...


class Scorer:
    """Lets many coroutines ask one core, in batches.

    Args:
        core: What computes.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.scored = 0
        """Tokens computed so far: those read, and those of continuations."""
        self._held, self._active = 0, 0.0
        self._freed = asyncio.Condition()
        one = asyncio.Lock()
        self._read = _Gatherer(core.read, one, core.give_up)
        self._extend = _Gatherer(self._go_on, one, core.give_up)
        self._attention = _Gatherer(core.attention, one, core.give_up)
        self._greedy = _Gatherer(self._write, one, core.give_up, self._may_write)

    @asynccontextmanager
    async def open(self, ids: Sequence[int]) -> AsyncGenerator[Passage]:
        """Provide a passage; waits while those that others hold take all the room."""
        async with self._freed:
            await self._freed.wait_for(lambda: not self._held or self._held + len(ids) <= self.core.room)
            self._held += len(ids)
        try:
            self.scored += len(ids)
            yield await self._read.ask(ids)
        finally:
            async with self._freed:
                self._held -= len(ids)
                self._freed.notify_all()

    async def score(self, passage: Passage, continuation: Continuation) -> Floats:
        """Return the log-probabilities of a continuation's tokens; see :meth:`Core.extend`."""
        self._active = time.monotonic()
        done = await self._extend.ask(Extension(passage, continuation))
        self.scored += len(done.logprobs)
        return done.logprobs

    async def attention(self, ids: Sequence[int], queries: slice) -> Floats:
        """Return the mean attention that some tokens of a text pay to each of its tokens; see :meth:`Core.attention`."""
        self.scored += len(ids)
        return await self._attention.ask((ids, queries))

    async def greedy(self, prompt: Sequence[int], tokens: int) -> list[int]:
        """Return the most likely continuation of a prompt; see :meth:`Core.greedy`."""
        found = await self._greedy.ask((prompt, tokens))
        return found[:tokens]

    def _may_write(self, waiting: int) -> bool:
        """Writing takes many steps for few rows as for many, so it waits for company while there is other work."""
        if self._read.busy or self._extend.busy:
            self._active = time.monotonic()
        return waiting >= WRITE_ROWS or time.monotonic() - self._active > IDLE_S

    def _go_on(self, extensions: Sequence[Extension]) -> list[Extension | None]:
        self.core.extend(extensions)
        return [one if one.finished else None for one in extensions]

    def _write(self, asked: Sequence[tuple[Sequence[int], int]]) -> list[list[int]]:
        return self.core.greedy([prompt for prompt, _ in asked], max(tokens for _, tokens in asked))


Asked = TypeVar("Asked")
Found = TypeVar("Found")


class _Gatherer(Generic[Asked, Found]):
    """Gathers what coroutines ask, and computes it together in another thread.

    Where the answer is ``None`` more is to be computed, together with what was asked meanwhile. Those who got theirs
    go on while the next batch is computed.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Asked]], Sequence[Found | None]],
        one: asyncio.Lock,
        give_up: Callable[[], None],
        ready: Callable[[int], bool] = bool,
    ) -> None:
        self._compute, self._one_at_a_time, self._give_up, self._ready = compute, one, give_up, ready
        self._waiting: list[tuple[Asked, asyncio.Future[Found]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Found:
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    @property
    def busy(self) -> bool:
        """Whether anybody waits for an answer."""
        return self._task is not None and not self._task.done()

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            if not self._ready(len(self._waiting)):
                continue
            async with self._one_at_a_time:
                waiting, self._waiting = self._waiting, []
                asked = [one for one, _ in waiting]
                try:
                    found = await asyncio.to_thread(self._compute, asked)
                except asyncio.CancelledError:
                    self._give_up()
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
                    outcomes: list[Found | Exception | None] = [error] * len(asked)
                else:
                    outcomes = list(found)
            pairs = zip(waiting, outcomes, strict=True)
            unfinished = [one for one, outcome in pairs if outcome is None and not one[1].done()]
            self._waiting = [*unfinished, *self._waiting]
            for (_, future), outcome in zip(waiting, outcomes, strict=True):
                if future.done() or outcome is None:
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(cast("Found", outcome))
