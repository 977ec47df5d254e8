"""Sampling traces of problems with an engine: the common part of generate and evaluate."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from drp.engines.base import Engine, Request, Sampling, request_seed
from drp.engines.prompting import prompt_messages
from drp.engines.settings import PromptSettings
from drp.evaluation.verdicts import graded_again, is_right
from drp.grading import VERSION
from drp.grading.grader import Grader
from drp.records import Completion, Failure, Problem, Trace, content_id
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically
from drp.runs.stage import Progress, Watched, run_stage, under_way


def trace_id(problem: Problem, sample: int) -> str:
    """Return the identity of one of a problem's traces, known before it is drawn."""
    return content_id("trace", problem.id, sample)


async def sample_traces(
    folder: StageFolder,
    make_engine: Callable[[], Engine],
    problems: Sequence[Problem],
    *,
    samples: int,
    sampling: Sampling,
    seed: int,
    prompt: PromptSettings,
    prompt_of: Callable[[Problem], PromptSettings] | None = None,
    grader: Grader,
    progress: Progress,
) -> Sequence[Trace]:
    """Draw ``samples`` graded traces of every problem, resuming what is on file.

    The engine is only made where something is owed. ``prompt_of`` gives a problem a prompt of its own.
    """
    requests: list[Request] = []
    origin: dict[str, tuple[Problem, int]] = {}
    for problem in problems:
        asked = prompt_of(problem) if prompt_of else prompt
        for sample in range(samples):
            identity = trace_id(problem, sample)
            if identity in origin:
                continue
            origin[identity] = (problem, sample)
            requests.append(
                Request(
                    id=identity,
                    messages=prompt_messages(asked, problem.question, problem.task),
                    sampling=sampling,
                    template_arguments=asked.template_arguments,
                    seed=request_seed(seed, identity),
                )
            )

    async def work(owed: set[str]) -> AsyncIterator[Trace | Failure]:
        progress.remark("loading the model")
        engine = make_engine()
        if isinstance(engine, Watched):
            seen, underway = engine, under_way(progress)
            underway.flying, underway.tokens = lambda: seen.flying, lambda: seen.drawn
        try:
            batches = [b for b in engine.batches(requests) if any(r.id in owed for r in b)]
            progress.remark("decoding")
            async for reply in engine.complete(batches):
                progress.remark("")
                if isinstance(reply.outcome, Failure):
                    yield reply.outcome.model_copy(update={"stage": folder.stage})
                else:
                    problem, sample = origin[reply.id]
                    yield _trace(reply.id, problem, sample, reply.outcome, engine.name, grader)
        finally:
            await engine.close()

    return await run_stage(
        folder, Trace, requests, work, progress, lambda t: t.usage.completion_tokens if t.usage else 0
    )


def grade_again(folder: StageFolder, grader: Grader) -> int:
    """Bring records that an earlier version of the grader judged up to date; return how many verdicts changed."""
    manifest = folder.manifest()
    if manifest is None or manifest.graded_by == VERSION:
        return 0
    changed = 0

    def again() -> Iterator[str]:
        nonlocal changed
        for before in folder.stream(Trace):
            (after,) = graded_again([before], grader)
            changed += before.correct != after.correct
            yield after.model_dump_json() + "\n"

    if folder.records_path.exists():
        write_atomically(folder.records_path, again())
    folder.graded(VERSION)
    return changed


def _trace(
    identity: str, problem: Problem, sample: int, completion: Completion, model: str, grader: Grader
) -> Trace:
    return Trace(
        id=identity,
        problem_id=problem.id,
        question=problem.question,
        gold=problem.gold,
        benchmark=problem.benchmark,
        split=problem.split,
        task=problem.task,
        model=model,
        sample=sample,
        thinking=completion.thinking,
        answer=completion.answer,
        closed=completion.closed,
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        correct=is_right(completion, problem, grader),
    )
