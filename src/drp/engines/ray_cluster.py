"""A Ray cluster: connecting to one or starting it, what it has room for, and workers there that die with this process.

Ray moves the work and starts processes, nothing else: what is owed stands in the run folder.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Before Ray is imported, which reads them. Unless the user's environment says otherwise, nothing is sent home, and workers
# compute as this process would: Ray's niceness of 15 lets all else on the machine go first.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from drp.engines.ray_settings import ClusterSettings
from drp.errors import EngineError
from drp.runs.stage import Say

STORE_BYTES = 256 << 20
"""Shared memory for what goes to and fro, which is text, where a cluster is started here."""
KNOCK_S = 10.0
CLOSING_S = 20.0
"""How long workers may take to free what they hold before they are ended."""

Died = RayActorError
"""What is raised where the process or node of a worker is gone."""


class Cluster:
    """The cluster, and the workers of this process there.

    Args:
        settings: Where it is, and what to have there.
        gpus: GPUs of each worker.
        say: Told where there is not room for all of them.

    Raises:
        EngineError: There is no such cluster, or none can be started.
    """

    def __init__(self, settings: ClusterSettings, gpus: float, say: Say) -> None:
        self.settings, self.gpus = settings, gpus
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(settings)
        self.nodes: list[Mapping[str, float]] = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        room = sum(self._room(node) for node in self.nodes)
        self.workers = self._auto(room) if settings.workers == "auto" else settings.workers
        if room < self.workers:
            say(
                f"note: the Ray cluster has room for {room} of {self.workers} workers of {self._wants()}; the others start "
                "when it has more"
            )
        idle = sum(node.get("GPU", 0) for node in self.nodes)
        if idle and not gpus:
            say(f"note: the Ray cluster has {idle:g} GPU(s), and workers ask for none: set gpus_per_worker")

    def _room(self, node: Mapping[str, float]) -> int:
        """Return how many workers a node has room for, were it empty."""
        most = node.get("CPU", 0) // self.settings.cpus_per_worker
        return int(min(most, node.get("GPU", 0) // self.gpus) if self.gpus else most)

    def _auto(self, room: int) -> int:
        """Return as many workers as there are places on GPUs; without GPUs each worker has a node to itself."""
        return max(1, room if self.gpus else sum(self._room(node) > 0 for node in self.nodes))

    def _wants(self) -> str:
        cpus = self.settings.cpus_per_worker
        return (
            f"{cpus} core{'s' * (cpus > 1)}" + (f" and {self.gpus:g} GPU(s)" if self.gpus else "") + " each"
        )

    def hire(self, kind: type, *arguments: object) -> Any:
        """Start a worker of a class, and return its handle; it lives no longer than this process."""
        options: dict[str, Any] = {
            "num_cpus": self.settings.cpus_per_worker,
            "num_gpus": self.gpus,
            "scheduling_strategy": "SPREAD",
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        return ray.remote(**options)(kind).remote(*arguments)

    def first(self, waited_for: Sequence[Any], wait_s: float | None = None) -> Any | None:
        """Return the first of some results that is there, or ``None`` when the time is up."""
        found, _ = ray.wait(list(waited_for), num_returns=1, timeout=wait_s)
        return found[0] if found else None

    def result(self, of: Any) -> Any:
        """Return what a worker returned; what it raised is raised as it would be in this process."""
        with as_raised():
            return ray.get(of)

    def no_room(self) -> EngineError:
        """Return what to say where no worker has started in time."""
        total, free = ray.cluster_resources(), ray.available_resources()
        has = ", ".join(
            f"{free.get(k, 0):g} of {total.get(k, 0):g} {k}s free" for k in ("CPU", "GPU") if k in total
        )
        return EngineError(
            f"no worker of {self._wants()} has started on the Ray cluster within {self.settings.wait_s:g} s ({has or 'no CPUs'}). Lower "
            "cpus_per_worker or gpus_per_worker of the engine, end what else runs there, or raise wait_s"
        )

    def close(self, workers: Sequence[Any], closing: Sequence[Any]) -> None:
        """End the workers, once ``closing`` has freed what they hold or the time is up; then leave the cluster."""
        if closing:
            ray.wait(list(closing), num_returns=len(closing), timeout=CLOSING_S)
        for worker in workers:
            ray.kill(worker)
        if self._ours:
            ray.shutdown()


@contextmanager
def as_raised() -> Generator[None]:
    """Raise what a worker raised, and not Ray's wrapping of it, so that it is answered as in this process."""
    try:
        yield
    except RayTaskError as error:
        cause: object = error.cause
        raise (cause if isinstance(cause, Exception) else error) from None


def why_died(error: RayError) -> str:
    """Return the end of a worker in a few words; Ray's own are a page."""
    text = " ".join(str(error).split())
    _, _, exit_ = text.partition("Worker exit detail: ")
    return (exit_ or text).partition(" Some common causes")[0][:300]


def _connect(settings: ClusterSettings) -> None:
    """Connect to the cluster that is meant, or start one on this machine."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_signals():
        if settings.address != "local":
            named = settings.address != "auto" or "RAY_ADDRESS" in os.environ
            where = os.environ["RAY_ADDRESS"] if named and settings.address == "auto" else settings.address
            try:
                if named:
                    _knock(where)
                ray.init(address=where, **quiet)
            except (OSError, RuntimeError, ValueError) as error:
                if named:
                    raise EngineError(
                        f"there is no Ray cluster at {where}: {_first_line(error)} Start one (`ray start --head` on its first node, "
                        "`ray start --address=HOST:PORT` on the others), or set address=local to use this machine alone"
                    ) from error
            else:
                return
        cores = None if settings.workers == "auto" else settings.workers * settings.cpus_per_worker
        try:
            ray.init(
                address="local",
                num_cpus=cores,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **quiet,
            )
        except Exception as error:  # Ray says so by a bare Exception where it takes too long
            ray.shutdown()
            raise EngineError(
                f"Ray could not be started on this machine: {_first_line(error)} If it is busy, run the same command again; or start a "
                "cluster by `ray start --head`, which this command then finds"
            ) from error


def _knock(where: str) -> None:
    """Connect to ``host:port`` and leave again: Ray itself would try for a minute.

    Raises:
        OSError: Nobody answers there.
        ValueError: It is no such address.
    """
    host, _, port = where.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."


@contextmanager
def _own_signals() -> Generator[None]:
    """Keep what SIGTERM does, which Ray would change."""
    ours = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if ours else None
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
