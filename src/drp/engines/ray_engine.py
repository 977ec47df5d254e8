"""Another engine in many workers over a Ray cluster: shares of batches go out, replies stream back as they end.

Batches are planned by a worker, as its engine plans them in process, and go to one worker whole: who works them off
changes nothing about what comes out. What a worker leaves undone when it dies goes to another.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from drp.engines.base import Reply, Request
from drp.engines.ray_cluster import Cluster, Died, as_raised, why_died
from drp.engines.ray_settings import RaySettings
from drp.engines.ray_worker import Opened, Worker, meant_by
from drp.engines.registry import Subject
from drp.errors import EngineError
from drp.records import Failure
from drp.runs.stage import Say, silent

Batch = Sequence[Request]


OPENED = ("idle", "busy")
"""States of a worker that has the model."""


@dataclass
class _Place:
    """One of the workers, or whichever came after it died."""

    actor: Any
    placed: Any
    opened: Any
    deaths: int = 0
    """Since a reply last came from here."""
    state: Literal["waiting", "loading", "idle", "busy", "given up"] = "waiting"
    """Waiting for room on the cluster, loading the model …"""


@dataclass(frozen=True)
class _Ended:
    """A place from which nothing more comes."""

    error: Exception
    fatal: bool
    """Whether others would fare no better."""


class Shares:
    """Batches that wait to be worked off, handed out in shares that shrink towards the end.

    A share is the part ``1 / (2 × workers)`` of what waits (guided self-scheduling, Polychronopoulos & Kuck 1987), so that
    few calls are made and all workers end at about the same time; it has ``least`` requests or more, where an engine
    decodes so many at once.
    """

    def __init__(self, batches: Sequence[Batch], workers: int, least: int) -> None:
        self._waiting: asyncio.Queue[Batch] = asyncio.Queue()
        for batch in batches:
            self._waiting.put_nowait(batch)
        self.owed = {request.id for batch in batches for request in batch}
        self._workers, self._least = workers, min(least, ceil(len(self.owed) / workers))
        self._lost: Counter[str] = Counter()

    async def take(self) -> list[Batch]:
        """Return a share, as soon as there is any."""
        share = [await self._waiting.get()]
        most = ceil((1 + self._waiting.qsize()) / (2 * self._workers))
        while not self._waiting.empty() and (len(share) < most or sum(map(len, share)) < self._least):
            share.append(self._waiting.get_nowait())
        return share

    def left(self, share: Sequence[Batch]) -> int:
        """Return how many requests of a share have no reply yet."""
        return sum(request.id in self.owed for batch in share for request in batch)

    def give_back(self, share: Sequence[Batch], retries: int) -> list[str]:
        """Take back a share whose worker died; return the requests that were lost once too often.

        A batch goes again as a whole: in other company its bits might be others.
        """
        given_up: list[str] = []
        for batch in share:
            if not (left := [request.id for request in batch if request.id in self.owed]):
                continue
            self._lost[batch[0].id] += 1
            if self._lost[batch[0].id] > retries:
                given_up += left
            else:
                self._waiting.put_nowait(batch)
        return given_up


@dataclass
class _Under:
    """One call of ``complete``."""

    shares: Shares
    landed: "asyncio.Queue[Reply | _Ended]" = field(default_factory=asyncio.Queue)

    def land(self, reply: Reply) -> bool:
        """Take a reply; return whether its request had none."""
        if reply.id not in self.shares.owed:
            return False
        self.shares.owed.discard(reply.id)
        self.landed.put_nowait(reply)
        return True


class RayEngine:
    """Runs requests by workers over a cluster.

    Args:
        settings: The cluster, the workers, and the engine that each of them opens.
        subject: The model; paths in it hold on every node.
        gpus: GPUs of each worker.
        say: Prints one line for people.
    """

    def __init__(self, settings: RaySettings, subject: Subject, gpus: float, say: Say = silent) -> None:
        self.settings, self._say = settings, say
        self._told: set[str] = set()
        self._arguments = (settings.engine, subject, meant_by(subject))
        self.cluster = Cluster(settings, gpus, say)
        self.flying, self.drawn = 0, 0
        self._known: Opened | None = None
        self._places = [self._hired() for _ in range(self.cluster.workers)]

    def _hired(self, deaths: int = 0) -> _Place:
        actor = self.cluster.hire(Worker, *self._arguments)
        return _Place(actor, actor.placed.remote(), actor.open.remote(), deaths)

    @property
    def name(self) -> str:
        """What the workers' engine is called."""
        return self._first().name

    @property
    def identity(self) -> dict[str, str]:
        """What defines the model of the workers' engine."""
        return self._first().identity

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Group requests as the workers' engine does."""
        of = {request.id: request for request in requests}
        while True:
            self._first()
            place = next(place for place in self._places if place.state in OPENED)
            try:
                planned: list[list[str]] = self.cluster.result(place.actor.plan.remote(list(requests)))
            except Died as error:
                self._replaced(place, error)
            else:
                return [[of[id_] for id_ in batch] for batch in planned]

    def _first(self) -> Opened:
        """Return what a worker has opened; wait for the first where none has now.

        Raises:
            EngineError: The cluster has no room for one, or all died again and again.
        """
        while self._known is None or not any(place.state in OPENED for place in self._places):
            waited_for = {place.opened: place for place in self._standing}
            if self.cluster.first([p.placed for p in waited_for.values()], self.settings.wait_s) is None:
                raise self.cluster.no_room()
            opened = self.cluster.first([*waited_for])
            try:
                self._ready(waited_for[opened], self.cluster.result(opened))
            except Died as error:
                self._replaced(waited_for[opened], error)
        return self._known

    @property
    def _standing(self) -> list[_Place]:
        return [place for place in self._places if place.state != "given up"]

    def _replaced(self, place: _Place, error: Died) -> None:
        """Start another worker for one that died, or go on without it."""
        try:
            self._replace(place, error)
        except EngineError as last:
            self._without(last)

    def _without(self, error: Exception) -> None:
        """Go on without a worker that was given up; stop if it was the last."""
        if not self._standing:
            raise error
        self._say(f"note: {error}; the other workers go on")

    def _ready(self, place: _Place, opened: Opened) -> None:
        place.state, self._known = "idle", opened
        for line in opened.said:
            if line not in self._told:
                self._told.add(line)
                self._say(line)

    def _replace(self, place: _Place, error: Died) -> None:
        """Start another worker for one that died.

        Raises:
            EngineError: Too many have died here without any reply.
        """
        if place.deaths >= self.settings.retries:
            place.state = "given up"
            raise EngineError(
                f"a worker on the Ray cluster died {place.deaths + 1} times before anything came of it ({why_died(error)}). If memory ran out, "
                "lower batch_size of the workers' engine, or workers; logs of workers are below /tmp/ray on their nodes. What had ended is "
                "on file, and the same command goes on"
            ) from error
        new = self._hired(place.deaths + 1)
        place.actor, place.placed, place.opened = new.actor, new.placed, new.opened
        place.deaths, place.state = new.deaths, "waiting"

    async def complete(self, batches: Sequence[Batch]) -> AsyncIterator[Reply]:
        """Yield replies as they come."""
        under = _Under(Shares(batches, len(self._places), self.settings.batch_size))
        serving = [asyncio.create_task(self._serve(place, under)) for place in self._standing]
        try:
            while under.shares.owed or not under.landed.empty():
                found = await under.landed.get()
                if isinstance(found, Reply):
                    yield found
                    continue
                if found.fatal:
                    raise found.error
                self._without(found.error)
        finally:
            self.flying = 0
            for task in serving:
                task.cancel()

    async def _serve(self, place: _Place, under: _Under) -> None:
        """Let the worker at a place work off shares until it is told to stop."""
        try:
            while True:
                try:
                    if place.state == "waiting":
                        await self._settled(place)
                    await self._work_off(await under.shares.take(), place, under)
                except Died as error:
                    self._replace(place, error)
        except Exception as error:  # noqa: BLE001 – raised by whoever waits for replies
            under.landed.put_nowait(_Ended(error, fatal=place.state != "given up"))

    async def _settled(self, place: _Place) -> None:
        """Wait until a worker has found room and opened its engine.

        Raises:
            EngineError: There is no room, and no other worker that goes on meanwhile.
        """
        with as_raised():
            while place.state == "waiting":
                try:
                    await asyncio.wait_for(place.placed, self.settings.wait_s)
                    place.state = "loading"
                except TimeoutError:
                    if all(other.state in ("waiting", "given up") for other in self._places):
                        raise self.cluster.no_room() from None
            self._ready(place, await place.opened)

    async def _work_off(self, share: list[Batch], place: _Place, under: _Under) -> None:
        """Send a share to a worker and land its replies; what is left of it when the worker dies is owed again."""
        self.flying += under.shares.left(share)
        place.state = "busy"
        try:
            with as_raised():
                async for reply in place.actor.work.options(num_returns="streaming").remote(share):
                    if under.land(await reply):
                        place.deaths = 0
                        self.flying -= 1
        except Died as error:
            self.flying -= under.shares.left(share)
            for id_ in under.shares.give_back(share, self.settings.retries):
                why = f"its worker died {self.settings.retries + 1} times ({why_died(error)})"
                failure = Failure(id=id_, stage="engine", kind="worker", message=why, retry=True)
                under.land(Reply(id_, failure))
            raise
        finally:
            if not under.shares.left(share):  # nobody waits for the end of a stream of which all is there
                place.state = "idle"

    async def close(self) -> None:
        """Free what the workers hold, and end them."""
        idle = [place.actor.close.remote() for place in self._places if place.state == "idle"]
        self.cluster.close([place.actor for place in self._places], idle)
