"""What runs in a worker's process on some node: one engine, which works off the batches it is sent. Needs no Ray."""

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from drp.engines.base import Engine, Reply, Request
from drp.engines.identity import model_identity, resolve_model
from drp.engines.registry import EngineSettings, Subject
from drp.errors import EngineError

VERSION = str(import_module("drp").__version__)
"""Of this package, on this node; its front room is above this one, and is not named."""


@dataclass(frozen=True)
class Opened:
    """An engine that a worker has opened."""

    name: str
    identity: dict[str, str]
    said: tuple[str, ...]
    """What it said on the way."""


@dataclass(frozen=True)
class Meant:
    """What a worker must find on its node."""

    version: str
    """Of this package."""
    model: dict[str, str]
    """Identity of the model."""


def meant_by(subject: Subject) -> Meant:
    """Return what the workers must find, as it is in this process."""
    return Meant(VERSION, model_identity(subject.model))


class Worker:
    """An engine in a process of its own.

    Args:
        settings: The engine's.
        subject: The model; paths in it hold on every node.
        meant: What this node must have.
    """

    def __init__(self, settings: EngineSettings, subject: Subject, meant: Meant) -> None:
        self.settings, self.subject, self.meant = settings, subject, meant
        self._runner = asyncio.Runner()
        self._engine: Engine | None = None

    def placed(self) -> tuple[str, int]:
        """Return the node and the process this is."""
        return socket.gethostname(), os.getpid()

    def open(self) -> Opened:
        """Open the engine.

        Raises:
            DrpError: It cannot be opened, or this node has another version or another model than is meant.
        """
        node, model = socket.gethostname(), resolve_model(self.subject.model)
        if self.meant.version != VERSION:
            raise EngineError(
                f"node {node} has drp {VERSION}, and this command is {self.meant.version}: install one version on all nodes"
            )
        if "content" in self.meant.model and not Path(model).is_dir():
            raise EngineError(
                f"node {node} has no folder {model}: a model must be in a folder that all nodes see, or be an id on the hub"
            )
        if "content" in self.meant.model and model_identity(model) != self.meant.model:
            raise EngineError(
                f"{model} on node {node} is another model than here: all nodes must see the same folder"
            )
        said: list[str] = []
        self._engine = self.settings.open(self.subject, said.append)
        return Opened(self._engine.name, self._engine.identity, tuple(said))

    def plan(self, requests: Sequence[Request]) -> list[list[str]]:
        """Return the ids of the requests that are run together; see :class:`drp.engines.base.Engine`."""
        return [[request.id for request in batch] for batch in self._opened.batches(requests)]

    def work(self, batches: Sequence[Sequence[Request]]) -> Iterator[Reply]:
        """Yield replies as they come."""
        replies = self._opened.complete(batches)

        async def following() -> Reply | None:
            return await anext(replies, None)

        while (reply := self._runner.run(following())) is not None:
            yield reply

    def close(self) -> None:
        """Free what the engine holds."""
        self._runner.run(self._opened.close())

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise EngineError("a worker was asked before it had opened its engine")
        return self._engine
