"""Every paid reply, on disk before it is read: the same request is never paid for twice."""

from pathlib import Path

from drp.engines.base import Engine, Request
from drp.errors import TeacherError
from drp.records import Completion, Failure, Keyed, content_id
from drp.runs.journal import Journal, read_records


class StoredReply(Keyed):
    """A reply under the identity of its request: model, messages and sampling."""

    completion: Completion


class ReplyStore:
    """Asks an engine, unless the same request has been answered before."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.engine = engine
        self._known = {reply.id: reply.completion for reply in read_records(path, StoredReply)}
        self._journal = Journal(path)

    async def ask(self, request: Request) -> Completion:
        """Return the completion of a request; its own id is replaced by its content.

        Raises:
            TeacherError: The engine failed; ``retry`` says whether asking later may help.
        """
        identity = content_id(
            "reply",
            self.engine.identity,
            [message.model_dump() for message in request.messages],
            request.sampling.model_dump(),
        )
        if identity in self._known:
            return self._known[identity]
        async for reply in self.engine.complete([[request.model_copy(update={"id": identity})]]):
            if isinstance(reply.outcome, Failure):
                raise TeacherError(reply.outcome.message, kind=reply.outcome.kind, retry=reply.outcome.retry)
            self._journal.append(StoredReply(id=identity, completion=reply.outcome))
            self._known[identity] = reply.outcome
            return reply.outcome
        raise TeacherError("the engine gave no reply", kind="empty_reply", retry=True)

    async def close(self) -> None:
        """Close the file and the engine."""
        self._journal.close()
        await self.engine.close()
