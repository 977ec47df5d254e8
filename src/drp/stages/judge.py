"""Judging proposals: apply the script, run the checks, count tokens; in other processes where many come at once."""

import asyncio
import gc
import os
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process

from drp.errors import DrpError
from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import Candidate, CheckLimits, run_checks
from drp.pruning.checks import Grader as Grade
from drp.recipe import PruneSettings
from drp.records import Check, EditScript, Trace
from drp.runs.concurrency import RARELY
from drp.stages.scoring import Scorer
from drp.text.thinking import join_thinking
from drp.text.tokens import TokenCounter


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


@dataclass(frozen=True)
class Judge:
    """What proposals are judged with."""

    settings: PruneSettings
    grader: Grader
    count: TokenCounter
    scorer: Scorer | None = None
    pool: Executor | None = field(default=None, repr=False)

    async def verdict(self, trace: Trace, units: Sequence[str], script: EditScript, answer: str) -> Verdict:
        """Judge one script, in a process of the pool if there is one.

        Raises:
            EditScriptError: The script is for other units.
        """
        limits = self.settings.checks
        if self.pool is None:
            return judge_script(trace, units, script, answer, limits, self.grader.is_correct, self.count)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.pool, _judge_here, trace, units, script, answer, limits)
        except BrokenProcessPool as error:
            raise DrpError(
                "a process that checks pruned traces died (out of memory?); run the same command again"
            ) from error


@contextmanager
def open_pool(count: TokenCounter) -> Generator[Executor]:
    """Provide processes that judge with their own grader, one fewer than there are cores."""
    workers = max(1, (os.cpu_count() or 2) - 1)
    # Not forked: this process may hold threads and a GPU.
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (count,)) as pool:
        for _ in range(workers):
            pool.submit(_ready)  # started now, so that the first replies need not wait
        yield pool


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


def _judge_here(
    trace: Trace, units: Sequence[str], script: EditScript, answer: str, limits: CheckLimits
) -> Verdict:
    grader, count = _tools[0]
    return judge_script(trace, units, script, answer, limits, grader.is_correct, count)
