"""Judging proposals: apply the script, run the checks, count tokens; in other processes where many come at once."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process

from drp.errors import DrpError
from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import Candidate, CheckLimits, run_checks
from drp.pruning.conclusion import Grade
from drp.recipe import PruneSettings
from drp.records import Check, EditScript, Trace
from drp.runs.concurrency import RARELY
from drp.stages.scoring import Scorer
from drp.text.thinking import join_thinking
from drp.text.tokens import TokenCounter

MOST_WORKERS = 4
"""One event loop cannot feed more."""
DIED = "a process that checks pruned traces died (out of memory?); run the same command again"
GATHER_S, MOST_JOBS = 0.005, 8
"""Jobs are gathered for this long, and sent in parts of at most so many."""


@dataclass(frozen=True)
class Verdict:
    """What became of one script."""

    thinking: str
    checks: tuple[Check, ...]
    tokens_before: int
    tokens_after: int


def judge_script(
    trace: Trace,
    units: Sequence[str],
    script: EditScript,
    answer: str,
    limits: CheckLimits,
    grade: Grade,
    count: TokenCounter,
) -> Verdict:
    """Apply a script and check and count the result."""
    thinking = apply_script(units, script)
    candidate = Candidate(trace.question, trace.gold, units, trace.answer, script, thinking, answer)
    return Verdict(
        thinking,
        run_checks(candidate, grade, limits),
        count(join_thinking(trace.thinking, trace.answer)),
        count(join_thinking(thinking, answer)),
    )


Job = tuple[Trace, Sequence[str], EditScript, str, CheckLimits]


@dataclass(frozen=True)
class Judge:
    """What proposals are judged with."""

    settings: PruneSettings
    grader: Grader
    count: TokenCounter
    scorer: Scorer | None = None
    pool: "JudgePool | None" = field(default=None, repr=False)

    async def verdict(self, trace: Trace, units: Sequence[str], script: EditScript, answer: str) -> Verdict:
        """Judge one script, in a process of the pool if there is one.

        Raises:
            EditScriptError: The script is for other units.
        """
        limits = self.settings.checks
        if self.pool is None:
            return judge_script(trace, units, script, answer, limits, self.grader.is_correct, self.count)
        return await self.pool.judge((trace, units, script, answer, limits))


class JudgePool:
    """Processes that judge, each with its own grader; jobs go to them a few at a time."""

    def __init__(self, count: TokenCounter) -> None:
        workers = max(1, min(MOST_WORKERS, (os.cpu_count() or 2) - 1))
        with _sheltered():
            # Not forked: this process may hold threads and a GPU.
            self._executor = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (count,))
            for _ in range(workers):
                self._executor.submit(_ready)  # started now, so that the first replies need not wait
        self._jobs: list[tuple[Job, asyncio.Future[Verdict]]] = []

    async def judge(self, job: Job) -> Verdict:
        """Return the verdict on a job.

        Raises:
            EditScriptError: The script is for other units.
            DrpError: A process died.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        if not self._jobs:
            loop.call_later(GATHER_S, self._send)
        self._jobs.append((job, future))
        return await future

    def _send(self) -> None:
        jobs, self._jobs = self._jobs, []
        loop = asyncio.get_running_loop()
        for start in range(0, len(jobs), MOST_JOBS):
            part = jobs[start : start + MOST_JOBS]
            futures = [future for _, future in part]
            try:
                sent = loop.run_in_executor(self._executor, _judge_here, [job for job, _ in part])
            except BrokenProcessPool:
                _hand_out(futures, [DrpError(DIED)] * len(futures))
            else:
                sent.add_done_callback(partial(_hand_back, futures))

    def close(self) -> None:
        """End the processes; jobs that were about to be sent are not."""
        jobs, self._jobs = self._jobs, []
        for _, future in jobs:
            future.cancel()
        self._executor.shutdown(cancel_futures=True)


def _hand_back(
    futures: Sequence["asyncio.Future[Verdict]"], sent: "asyncio.Future[list[Verdict | DrpError]]"
) -> None:
    if sent.cancelled():
        for future in futures:
            future.cancel()
        return
    error = sent.exception()
    if isinstance(error, BrokenProcessPool):
        error = DrpError(DIED)
    _hand_out(futures, [error] * len(futures) if error else sent.result())


def _hand_out(
    futures: Sequence["asyncio.Future[Verdict]"], outcomes: Sequence[Verdict | BaseException]
) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, Verdict):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


@contextmanager
def open_pool(count: TokenCounter) -> Generator[JudgePool]:
    """Provide a pool."""
    pool = JudgePool(count)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def _sheltered() -> Generator[None]:
    """Let processes that start here ignore Ctrl-C from their first moment, and import nothing from the working directory.

    The terminal sends Ctrl-C to every process, and what a starting interpreter imports first it looks for there.
    """
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    safe = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe
        if ours:
            signal.signal(signal.SIGINT, before)


def _ready() -> None:
    """Nothing to do: the process is up."""


_tools: list[tuple[Grader, TokenCounter]] = []


def _begin(count: TokenCounter) -> None:
    """Prepare a process of the pool; it ends with its parent, however that ends."""
    _tools[:] = [(Grader(), count)]
    gc.freeze()
    gc.set_threshold(*RARELY)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge_here(jobs: Sequence[Job]) -> list[Verdict | DrpError]:
    grader, count = _tools[0]
    found: list[Verdict | DrpError] = []
    for trace, units, script, answer, limits in jobs:
        try:
            found.append(judge_script(trace, units, script, answer, limits, grader.is_correct, count))
        except DrpError as error:
            found.append(error)
    return found
