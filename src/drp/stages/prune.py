"""Stage prune: every trace ends as a pruned trace with its checks, or as a failure with its reason."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from pydantic import ValidationError

from drp.errors import UNUSABLE, BudgetError, EditScriptError, EngineError, TeacherError
from drp.grading.grader import Grader
from drp.records import Failure, PrunedTrace, Trace, Usage
from drp.runs import layout
from drp.runs.concurrency import as_they_land
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically
from drp.runs.on_demand import with_ids
from drp.runs.stage import Progress, run_stage, under_way
from drp.stages.checking import Checker, open_pool
from drp.stages.scoring import likelihood_checks
from drp.tasks.base import task_of
from drp.teachers.base import Proposal, Teacher
from drp.teachers.feedback import complaints
from drp.teachers.registry import TeacherContext
from drp.text.units import split_units

REMARK_EVERY_S = 0.5


def exclusion(trace: Trace, grader: Grader, include_wrong: bool) -> tuple[str, str] | None:
    """Return why a trace is not worth pruning, as kind and message, or ``None``."""
    if not trace.closed:
        return "unclosed", "the thinking never closed"
    if not trace.thinking.strip():
        return "no_thinking", "the trace has no thinking to prune"
    if not trace.answer.strip():
        return "no_answer", "the trace has no answer part"
    correct = trace.correct if trace.correct is not None else grader.solves(trace.answer, trace)
    if not correct and not include_wrong:
        stated = task_of(trace.task).final_answer(trace.answer, trace.question)
        return "wrong_answer", f"the answer {stated!r} is not the gold answer {trace.gold!r}"
    return None


def new_answer(trace: Trace, policy: str, proposal: Proposal) -> str:
    """Return the answer part of a pruned trace under an answer policy.

    Raises:
        TeacherError: The teacher was to write it and did not.
    """
    if policy == "keep":
        return trace.answer
    written = proposal.answer
    if policy == "teacher":
        if not written:
            raise TeacherError("the teacher wrote no answer part", kind="no_answer")
        return written
    task = task_of(trace.task)
    return task.statement(str(task.final_answer(written or trace.answer, trace.question)))


async def prune_trace(trace: Trace, teacher: Teacher, checker: Checker) -> PrunedTrace | Failure:
    """Prune one trace; whatever goes wrong becomes a failure with its reason.

    Of several candidates the best accepted one is returned, or else the first that could be checked.

    Raises:
        BudgetError: The budget does not allow the next request.
    """
    settings = checker.settings
    excluded = exclusion(trace, checker.grader, settings.include_wrong)
    if excluded:
        kind, message = excluded
        return Failure(id=trace.id, stage=layout.PRUNE, kind=f"excluded_{kind}", message=message)
    units = split_units(trace.thinking)
    found = await asyncio.gather(
        *(_candidate(trace, teacher, units, checker, n) for n in range(settings.candidates)),
        return_exceptions=True,  # what the others were paid for is read before the first error counts
    )
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    outcomes = [outcome for outcome in found if not isinstance(outcome, BaseException)]
    pruned = [outcome for outcome in outcomes if isinstance(outcome, PrunedTrace)]
    if not pruned:
        return outcomes[0]
    best = min([p for p in pruned if p.accepted] or pruned[:1], key=partial(_rank, prefer=settings.prefer))
    used = [p.usage for p in pruned if p.usage]
    usage = sum(used, Usage()) if used else None
    return best.model_copy(update={"candidates": len(outcomes), "usage": usage})


def _rank(pruned: PrunedTrace, prefer: str) -> tuple[float, int]:
    nll = next((c.figures["pruned"] for c in pruned.checks if c.name == "learnable"), 0.0)
    return (nll if prefer == "natural" else 0.0, pruned.tokens_after)


async def _candidate(
    trace: Trace, teacher: Teacher, units: Sequence[str], checker: Checker, number: int
) -> PrunedTrace | Failure:
    """Return one candidate, repaired once if a check failed, polished if it passed."""
    try:
        proposal = await teacher.prune(trace, units, number)
        attempt = await _attempt(trace, teacher, units, proposal, checker)
        if not attempt.accepted:
            failed = [check for check in attempt.checks if check.name in attempt.failed]
            wrong = complaints(trace, units, proposal.script, failed)
            repaired = await _or_none(teacher.repair(trace, units, proposal, wrong))
            if repaired is not None:
                again = await _attempt(trace, teacher, units, repaired, checker)
                if again.accepted:
                    proposal, attempt = repaired, again.model_copy(update={"repaired": True})
                else:
                    attempt = attempt.model_copy(update={"usage": again.usage})
        if attempt.accepted and (smooth := await _or_none(teacher.polish(trace, units, proposal))):
            polished = await _attempt(trace, teacher, units, smooth, checker)
            if polished.accepted:
                attempt = polished.model_copy(update={"polished": True, "repaired": attempt.repaired})
    except TeacherError as error:
        return Failure(
            id=trace.id,
            stage=layout.PRUNE,
            kind=error.kind,
            message=str(error)[:2000],
            raw=error.raw,
            retry=error.retry,
            setup=error.setup,
        )
    except (EditScriptError, ValidationError) as error:
        return Failure(id=trace.id, stage=layout.PRUNE, kind="invalid_script", message=str(error)[:2000])
    return attempt


async def _or_none(second: Awaitable[Proposal | None]) -> Proposal | None:
    """Return what a second request brings; that it brings nothing usable is no reason to lose the first.

    Raises:
        TeacherError: It may yet succeed, so the trace is tried again; or the teacher calls the trace unusable.
    """
    try:
        return await second
    except (TeacherError, EditScriptError, ValidationError) as error:
        if isinstance(error, TeacherError) and (error.retry or error.kind == UNUSABLE):
            raise
        return None


async def _attempt(
    trace: Trace, teacher: Teacher, units: Sequence[str], proposal: Proposal, checker: Checker
) -> PrunedTrace:
    """Apply one script and check the result."""
    settings, script = checker.settings, proposal.script
    answer = new_answer(trace, settings.answer, proposal)
    checked = await checker.check(trace, units, script, answer)
    checks, thinking = (*checked.checks, *proposal.checks), checked.thinking
    if checker.scorer:
        found = await checker.scorer(trace, units, script, answer)
        checks += likelihood_checks(found, units, settings)
    waived = teacher.exempt | task_of(trace.task).unchecked
    if settings.include_wrong and trace.correct is False:
        waived |= {"answer_kept"}
    checks = tuple(c.model_copy(update={"required": False}) if c.name in waived else c for c in checks)
    pruned = PrunedTrace(
        id=trace.id,
        problem_id=trace.problem_id,
        question=trace.question,
        gold=trace.gold,
        benchmark=trace.benchmark,
        task=trace.task,
        teacher=teacher.name,
        original_thinking=trace.thinking,
        original_answer=trace.answer,
        thinking=thinking,
        answer=answer,
        script=script,
        checks=checks,
        accepted=True,
        tokens_before=checked.tokens_before,
        tokens_after=checked.tokens_after,
        protocol=proposal.figures,
        usage=sum(proposal.usage.values(), Usage()) if proposal.usage else None,
        replies=tuple(proposal.usage),
        source_id=trace.source_id,
    )
    reason = ", ".join(pruned.failed) or None
    return pruned.model_copy(update={"accepted": reason is None, "reason": reason})


async def prune_traces(
    folder: StageFolder,
    traces: Sequence[Trace],
    checker: Checker,
    context: TeacherContext,
    progress: Progress,
) -> Sequence[PrunedTrace]:
    """Prune all traces into a stage folder, resuming what is on file; ``context`` is what the teacher is opened with.

    A language model's replies are kept beside the stage folder, so that other checks or another
    answer policy do not pay for them again.

    Raises:
        BudgetError: The budget is used up; what was done is on file.
        EngineError: The teacher's endpoint refuses every request.
    """
    stopped: list[BudgetError | EngineError] = []
    flying: set[str] = set()

    async def one(trace: Trace, teacher: Teacher, checker: Checker) -> PrunedTrace | Failure | None:
        if stopped:
            return None
        flying.add(trace.id)
        try:
            return await prune_trace(trace, teacher, checker)
        except (BudgetError, EngineError) as error:
            stopped.append(
                error
            )  # what is under way was paid, or may be: it is waited for, and nothing new begins
            return None
        finally:
            flying.discard(trace.id)

    async def work(owed: set[str]) -> AsyncIterator[PrunedTrace | Failure]:
        under_way(progress).flying = lambda: len(flying)
        async with checker.settings.teacher.open(replace(context, solves=checker.grader.solves)) as opened:
            alone, told = opened.store is None, 0.0
            if opened.store:
                progress.remark("waiting for replies")
            with nullcontext() if alone else open_pool(checker.count) as pool:
                starters = (  # one trace is read when its turn comes
                    partial(one, trace, opened.teacher, replace(checker, pool=pool))
                    for trace in with_ids(traces, owed)
                )
                async for outcome in as_they_land(starters, opened.at_once or len(owed)):
                    if outcome is not None:
                        yield outcome
                    if opened.store and time.monotonic() - told > REMARK_EVERY_S:
                        told = time.monotonic()
                        progress.remark(str(opened.store.budget.spend))
            if opened.store:
                progress.remark(str(opened.store.budget.spend))
                spend = opened.store.budget.spend.model_dump_json(indent=1)
                write_atomically(folder.path / layout.SPEND, spend + "\n")

    pruned = await run_stage(folder, PrunedTrace, traces, work, progress)
    if stopped:
        raise stopped[0]
    return pruned
