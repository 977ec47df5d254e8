"""Every paid reply, on disk before it is read: the same request is never paid for twice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pydantic import RootModel

from drp.engines.base import Engine, Request, Wasted
from drp.engines.budget import Budget
from drp.errors import TeacherError
from drp.records import Completion, Failure, Keyed, Usage, content_id
from drp.runs.fingerprints import defining
from drp.runs.journal import Journal, read_records
from drp.runs.schema import Versioned


class StoredReply(Versioned, Keyed):
    """A reply under the identity of its request: model, messages, sampling, schema and seed."""

    completion: Completion
    batch: bool = False
    """Whether it was paid at the batch price."""


class WastedReply(Versioned, Keyed):
    """A reply that was paid and is no completion, under the identity of its request, which may be asked again."""

    wasted: Wasted
    batch: bool = False


class PaidReply(RootModel[StoredReply | WastedReply]):
    """One line of the file of replies."""


def read_replies(path: Path) -> Iterator[StoredReply | WastedReply]:
    """Yield all that was paid for, in the order it came."""
    return (line.root for line in read_records(path, PaidReply))


class ReplyStore:
    """Asks an engine, unless the same request has been answered before or is being answered now."""

    def __init__(self, path: Path, engine: Engine, budget: Budget | None = None) -> None:
        self.engine, self.budget = engine, budget or Budget()
        self._known: dict[str, StoredReply] = {}
        for reply in read_replies(path):
            self._count(reply)
        self._journal = Journal(path)
        self._syncing = asyncio.Lock()
        self._written = self._safe = 0
        self.given: dict[str, Usage] = {}
        """Usage of every reply given out by this object, from file or from the engine."""
        self._asking: dict[str, asyncio.Future[StoredReply]] = {}

    def identity(self, request: Request) -> str:
        """Return the identity of a request's content; its own id does not matter."""
        rest: list[object] = []
        if request.reply_schema is not None or request.seed:
            rest = [request.reply_schema, request.seed]
        return content_id(
            "reply",
            self.engine.identity,
            [{"role": message.role, "content": message.content} for message in request.messages],
            defining(request.sampling),
            *rest,
        )

    def knows(self, request: Request) -> bool:
        """Return whether a request has been answered before."""
        return self.identity(request) in self._known

    async def ask(self, request: Request) -> StoredReply:
        """Return the reply to a request.

        Raises:
            TeacherError: The engine failed; ``retry`` says whether asking later may help.
            BudgetError: The budget has no room for it.
        """
        identity = self.identity(request)
        if identity in self._known:
            self.given[identity] = self._known[identity].completion.usage
            return self._known[identity]
        if identity in self._asking:
            return await asyncio.shield(self._asking[identity])
        future: asyncio.Future[StoredReply] = asyncio.get_running_loop().create_future()
        self._asking[identity] = future
        try:
            reply = await self._pay(request.model_copy(update={"id": identity}))
        except BaseException as error:
            told = error if isinstance(error, Exception) else TeacherError("stopped", retry=True)
            future.set_exception(told)
            future.exception()  # read here, so that nobody is told it never was
            raise
        else:
            future.set_result(reply)
            self.given[identity] = reply.completion.usage
            return reply
        finally:
            del self._asking[identity]

    async def _pay(self, request: Request) -> StoredReply:
        async with self.budget.room_for(request):
            async for reply in self.engine.complete([[request]]):
                for wasted in reply.wasted:
                    await self._keep(WastedReply(id=request.id, wasted=wasted, batch=self.budget.batch))
                outcome = reply.outcome
                if isinstance(outcome, Failure):
                    raise TeacherError(
                        outcome.message,
                        kind=outcome.kind,
                        retry=outcome.retry,
                        raw=outcome.raw,
                        setup=outcome.setup,
                    )
                stored = StoredReply(id=request.id, completion=outcome, batch=self.budget.batch)
                await self._keep(stored)
                return stored
        raise TeacherError("the engine gave no reply", kind="empty_reply", retry=True)

    def _count(self, reply: StoredReply | WastedReply) -> None:
        if isinstance(reply, StoredReply):
            self._known[reply.id] = reply
            self.budget.count(reply.completion.usage, batch=reply.batch)
        else:
            self.budget.count(reply.wasted.usage, batch=reply.batch)

    async def _keep(self, reply: StoredReply | WastedReply) -> None:
        """Write a reply, and return when the disk has it; replies that come while it syncs share the next sync."""
        self._journal.append(reply)
        self._count(reply)
        self._written += 1
        mine = self._written
        async with self._syncing:
            if self._safe < mine:
                written = self._written
                await asyncio.to_thread(self._journal.sync)
                self._safe = written

    async def close(self) -> None:
        """Close the file and the engine."""
        self._journal.close()
        await self.engine.close()
