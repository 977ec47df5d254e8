"""An engine without a model, for workers: small, since every worker imports it."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Literal

from drp.engines.base import Reply, Request
from drp.engines.registry import EngineSettings, Subject
from drp.records import Completion, Failure


class Tally:
    """Counts to the number that a request asks for; some numbers end the process, the memory or the request."""

    name = "tally"
    identity: ClassVar = {"model": "tally"}

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        return [list(requests[at : at + 2]) for at in range(0, len(requests), 2)]

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        for request in (r for batch in batches for r in batch):
            asked = request.messages[0].content
            if asked == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if asked == "fill":
                raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
            if asked == "refuse":
                yield Reply(
                    request.id, Failure(id=request.id, stage="engine", kind="odd", message="no number")
                )
                continue
            thinking = " ".join(map(str, range(int(asked))))
            yield Reply(
                request.id, Completion(thinking=thinking, answer=asked, closed=True, finish_reason="stop")
            )

    async def close(self) -> None:
        pass


class TallySettings(EngineSettings):
    kind: Literal["tally"] = "tally"

    def open(self, subject: Subject, say: Any = print) -> Tally:
        say("note: tally counts")
        return Tally()
