"""Stage prune: every trace ends as a pruned trace with its checks, or as a failure with its reason."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from drp.errors import EditScriptError, TeacherError
from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import CHECK_MEANING, Candidate, run_checks
from drp.recipe import PruneSettings
from drp.records import Check, EditScript, Failure, PrunedTrace, Trace
from drp.runs.concurrency import as_they_land
from drp.runs.folder import StageFolder
from drp.runs.stage import Progress, run_stage
from drp.teachers.base import Teacher
from drp.teachers.edit_script import EditScriptTeacher
from drp.teachers.replies import ReplyStore
from drp.teachers.rules import RulesTeacher
from drp.text.answers import final_answer
from drp.text.thinking import join_thinking
from drp.text.tokens import TokenCounter
from drp.text.units import split_units


@asynccontextmanager
async def open_teacher(settings: PruneSettings, replies: Path) -> AsyncGenerator[Teacher]:
    """Provide the teacher a recipe names; a language model's replies are kept in ``replies``."""
    if settings.teacher == "rules":
        yield RulesTeacher(settings.rules)
        return
    from drp.engines.openai_engine import OpenAIEngine

    endpoint = settings.endpoint
    engine = OpenAIEngine(
        settings.edit_script.model,
        base_url=endpoint.base_url,
        key_variable=endpoint.key_variable,
        concurrency=endpoint.concurrency,
        timeout_s=endpoint.timeout_s,
    )
    store = ReplyStore(replies, engine)
    try:
        yield EditScriptTeacher(store, settings.edit_script)
    finally:
        await store.close()


def exclusion(trace: Trace, grader: Grader, include_wrong: bool) -> tuple[str, str] | None:
    """Return why a trace is not worth pruning, as kind and message, or ``None``."""
    if not trace.closed:
        return "unclosed", "the thinking never closed"
    if not trace.thinking.strip():
        return "no_thinking", "the trace has no thinking to prune"
    if not trace.answer.strip():
        return "no_answer", "the trace has no answer part"
    correct = trace.correct if trace.correct is not None else grader.is_correct(trace.answer, trace.gold)
    if not correct and not include_wrong:
        stated = final_answer(trace.answer)
        return "wrong_answer", f"the answer {stated!r} is not the gold answer {trace.gold!r}"
    return None


def new_answer(trace: Trace, policy: str) -> str:
    """Return the answer part of a pruned trace under an answer policy."""
    if policy == "short":
        return f"The answer is \\boxed{{{final_answer(trace.answer)}}}."
    return trace.answer


async def prune_trace(
    trace: Trace, teacher: Teacher, settings: PruneSettings, grader: Grader, count: TokenCounter
) -> PrunedTrace | Failure:
    """Prune one trace; whatever goes wrong becomes a failure with its reason."""
    excluded = exclusion(trace, grader, settings.include_wrong)
    if excluded:
        kind, message = excluded
        return Failure(id=trace.id, stage="prune", kind=f"excluded_{kind}", message=message)
    units = split_units(trace.thinking)
    try:
        script = await teacher.prune(trace, units)
        attempt = _attempt(trace, teacher, units, script, settings, grader, count)
        if not attempt.accepted:
            complaints = [_complaint(check) for check in attempt.checks if not check.passed]
            repaired = await teacher.repair(trace, units, script, complaints)
            if repaired is not None:
                again = _attempt(trace, teacher, units, repaired, settings, grader, count)
                if again.accepted:
                    attempt = again.model_copy(update={"repaired": True})
    except TeacherError as error:
        return Failure(
            id=trace.id, stage="prune", kind=error.kind, message=str(error)[:2000], retry=error.retry
        )
    except (EditScriptError, ValidationError) as error:
        return Failure(id=trace.id, stage="prune", kind="invalid_script", message=str(error)[:2000])
    return attempt


def _complaint(check: Check) -> str:
    """Return what a failed check means, for a teacher that may try again."""
    figures = ", ".join(f"{name} {value:g}" for name, value in check.figures.items())
    return f"{CHECK_MEANING[check.name]} ({check.detail or figures})"


def _attempt(
    trace: Trace,
    teacher: Teacher,
    units: Sequence[str],
    script: EditScript,
    settings: PruneSettings,
    grader: Grader,
    count: TokenCounter,
) -> PrunedTrace:
    """Apply one script and check the result."""
    thinking = apply_script(units, script)
    answer = new_answer(trace, settings.answer)
    candidate = Candidate(trace.question, trace.gold, units, trace.answer, script, thinking, answer)
    checks = run_checks(candidate, grader.is_correct, settings.checks)
    failed = [check.name for check in checks if not check.passed]
    if settings.include_wrong and "answer_kept" in failed and trace.correct is False:
        failed.remove("answer_kept")
    return PrunedTrace(
        id=trace.id,
        problem_id=trace.problem_id,
        question=trace.question,
        gold=trace.gold,
        benchmark=trace.benchmark,
        teacher=teacher.name,
        original_thinking=trace.thinking,
        original_answer=trace.answer,
        thinking=thinking,
        answer=answer,
        script=script,
        checks=checks,
        accepted=not failed,
        reason=", ".join(failed) or None,
        tokens_before=count(join_thinking(trace.thinking, trace.answer)),
        tokens_after=count(join_thinking(thinking, answer)),
        source_id=trace.source_id,
    )


async def prune_traces(
    folder: StageFolder,
    traces: Sequence[Trace],
    settings: PruneSettings,
    grader: Grader,
    count: TokenCounter,
    progress: Progress,
) -> list[PrunedTrace]:
    """Prune all traces into a stage folder, resuming what is on file.

    A language model's replies are kept beside the stage folder, so that other checks or another
    answer policy do not pay for them again.
    """
    limit = 1 if settings.teacher == "rules" else settings.endpoint.concurrency

    async def work(owed: set[str]) -> AsyncIterator[PrunedTrace | Failure]:
        async with open_teacher(settings, folder.path.parent / "teacher_replies.jsonl") as teacher:
            starters = [
                partial(prune_trace, trace, teacher, settings, grader, count)
                for trace in traces
                if trace.id in owed
            ]
            async for outcome in as_they_land(starters, limit):
                yield outcome

    return await run_stage(folder, PrunedTrace, traces, work, progress)
