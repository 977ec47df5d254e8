"""Training in several processes of this machine, one a GPU, started as ``torchrun`` starts them.

The calling process keeps the run folder, its lock and the log; the workers hold nothing but the model. The first of them
tells every step over a socket, each of them what made it fail. They end with the caller, even if it is killed.
"""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import logging
import os
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Literal

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from drp.errors import DrpError, TrainingError, out_of_memory

Tell = Callable[[int, int, dict[str, float]], None]
Work = Callable[..., None]
"""A picklable function of the arguments given to `launch`, and ``tell``: what one process does."""


def process_count(wanted: int | Literal["auto"], device: str, effective_batch: int) -> int:
    """Return how many processes a training takes.

    Args:
        wanted: The recipe's ``train.processes``.
        device: The student's device; several processes choose theirs among all visible GPUs.
        effective_batch: Examples an optimizer step, which the processes share evenly.

    Raises:
        TrainingError: There are not so many GPUs, one is named, or the batch cannot be shared evenly.
    """
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    count = max(1, gpus) if wanted == "auto" else wanted
    if count == 1:
        return 1
    if ":" in device:
        raise TrainingError(
            f"train.processes={wanted} would train on several devices, and student.device names one ({device}). "
            "Set student.device=auto, or train.processes=1"
        )
    if 0 < gpus < count:
        raise TrainingError(f"train.processes={count}, and {gpus} GPUs are visible. Set train.processes=auto")
    if effective_batch % count:
        raise TrainingError(
            f"train.effective_batch={effective_batch} cannot be shared evenly by {count} processes. "
            f"Set it to a multiple of {count}, or train.processes to a number that divides it"
        )
    return count


def launch(count: int, work: Work, arguments: tuple[Any, ...], tell: Tell) -> None:
    """Run ``work(*arguments, tell=…)`` in so many processes; the first one's calls of ``tell`` are repeated here.

    Raises:
        TrainingError: A process failed.
        MemoryError: The memory of a process did not suffice.
        KeyboardInterrupt: The caller was interrupted; the processes have ended.
    """
    key = uuid.uuid4().bytes
    failed: list[dict[str, Any]] = []
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=3,  # seconds for the others, who wait for the one that failed
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what failed is told below
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with Listener(("localhost", 0), backlog=count, authkey=key) as listener:
        heard = threading.Thread(target=_hear, args=(listener, count, tell, failed), daemon=True)
        heard.start()
        try:
            elastic_launch(config, _begin)(listener.address, key, os.getpid(), work, arguments)
        except ChildFailedError as error:
            heard.join(timeout=5)
            raise _failure(failed, error) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        heard.join()
    if failed:
        raise _failure(failed, None)


def _hear(listener: Listener, count: int, tell: Tell, failed: list[dict[str, Any]]) -> None:
    """Repeat what the workers tell until all have hung up."""
    threads: list[threading.Thread] = []
    for _ in range(count):
        try:
            threads.append(
                threading.Thread(target=_repeat, args=(listener.accept(), tell, failed), daemon=True)
            )
        except OSError:  # closed: the workers died before they called
            break
        threads[-1].start()
    for thread in threads:
        thread.join()


def _repeat(call: Connection, tell: Tell, failed: list[dict[str, Any]]) -> None:
    """Repeat what one worker tells until it hangs up; it fails if what it tells is refused, as by a full disk."""
    while True:
        try:
            said = json.loads(call.recv_bytes())
        except (EOFError, OSError):
            return
        if "failed" in said:
            failed.append(said)
            continue
        try:
            tell(said["step"], said["total"], said["figures"])
        except Exception as error:  # noqa: BLE001, raised again by the caller's thread
            failed.append({"kind": "here", "error": error})
            call.close()
            return


def _failure(failed: list[dict[str, Any]], error: ChildFailedError | None) -> BaseException:
    """Return what failed as an error of this process: the cause, rather than what it made of the other processes."""
    order = ("here", "memory", "known", "other")
    for said in sorted(failed, key=lambda f: order.index(f["kind"])):
        if said["kind"] == "here":
            return said["error"]
        return (MemoryError if said["kind"] == "memory" else TrainingError)(said["failed"])
    assert error is not None
    rank, found = error.get_first_failure()
    return TrainingError(f"process {rank} of the training ended with exit code {found.exitcode}")


def _begin(address: tuple[str, int], key: bytes, caller: int, work: Work, arguments: tuple[Any, ...]) -> None:
    """Do one process's part."""
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    warnings.filterwarnings("ignore", category=FutureWarning)  # as the command line does
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    with Client(address, authkey=key) as call:

        def tell(step: int, total: int, figures: dict[str, float]) -> None:
            if rank == 0:
                call.send_bytes(json.dumps({"step": step, "total": total, "figures": figures}).encode())

        try:
            work(*arguments, tell=tell)
        except BaseException as error:
            kind = "memory" if out_of_memory(error) else "known" if isinstance(error, DrpError) else "other"
            text = str(error) if kind == "known" else f"process {rank}: {type(error).__name__}: {error}"
            call.send_bytes(json.dumps({"failed": text, "kind": kind}).encode())
            raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_with(caller: int) -> None:
    """End this process once its caller has."""
    while os.getppid() == caller:
        time.sleep(0.2)
    os._exit(1)
