"""What a teacher will cost, before anything is spent: from lengths, or from a probe of a few traces."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from drp.engines.pricing import Price
from drp.engines.settings import EndpointSettings
from drp.errors import DrpError
from drp.grading.grader import Grader
from drp.recipe import PruneSettings
from drp.records import Record, Trace, Usage
from drp.runs.concurrency import as_they_land
from drp.stages.checking import Checker
from drp.stages.prune import exclusion, prune_trace
from drp.teachers.load import Lengths, Load, load_of
from drp.teachers.registry import TeacherContext

REPEATS = 1.1
"""Second requests for what a reply leaves open, and repairs; a guess."""
TOKENS_PER_S, FIRST_TOKEN_S = 60, 1.0
"""Speed of one reply at a provider; a guess."""

PAPER_TRACE_TOKENS = 1_443
"""Mean of R1-Distill-Qwen-1.5B on GSM8K in the paper."""


class Estimate(Record):
    """Expected requests, tokens and dollars for a number of traces."""

    protocol: str
    model: str
    chosen: bool = True
    """Whether this is how the recipe's own teacher works, or what another protocol would take."""
    batch: bool = False
    """Whether the recipe asks in batches."""
    traces: int
    requests: float
    usage: Usage
    online_usd: float | None = None
    batch_usd: float | None = None
    hours: float
    """At the given concurrency and limits, if the endpoint keeps up; those of a GPU where the student prunes by itself."""
    gpu: str | None = None
    """The GPU whose hours and dollars these are, forecast; ``None`` where a provider is asked."""


def estimate(
    settings: PruneSettings, lengths: Sequence[Lengths], protocol: str | None = None
) -> Estimate | None:
    """Return what a recipe's teacher is expected to take for all traces; ``None`` if it costs nothing.

    Args:
        settings: The teacher, and how many candidates it writes.
        lengths: Those of the traces.
        protocol: What to call it in the table; left out: its kind.
    """
    writes = settings.answer == "teacher"
    total = Load()
    for one in lengths:
        calls = settings.teacher.calls(one, writes_answer=writes)
        if calls is None:
            return None
        total += load_of(calls)
    load = total.scaled(REPEATS * settings.candidates)
    return _priced(protocol or settings.teacher.kind, settings, len(lengths), load)


def _priced(protocol: str, settings: PruneSettings, traces: int, load: Load) -> Estimate:
    asked = settings.teacher.asked()
    endpoint = asked[1] if asked else EndpointSettings()
    usage = Usage(prompt_tokens=round(load.going_in), completion_tokens=round(load.coming_out))
    price: Price | None = settings.known_price
    replying = load.coming_out / TOKENS_PER_S + load.requests * FIRST_TOKEN_S
    minutes = [replying / endpoint.concurrency / 60]
    if endpoint.requests_per_minute:
        minutes.append(load.requests / endpoint.requests_per_minute)
    if endpoint.tokens_per_minute:
        minutes.append((load.going_in + load.coming_out) / endpoint.tokens_per_minute)
    return Estimate(
        protocol=protocol,
        model=asked[0] if asked else "",
        batch=settings.teacher.batches,
        traces=traces,
        requests=round(load.requests, 1),
        usage=usage,
        online_usd=price.cost(usage) if price else None,
        batch_usd=price.cost(usage, batch=True) if price else None,
        hours=max(minutes) / 60,
    )


def worth_pruning(traces: Sequence[Trace], settings: PruneSettings, grader: Grader) -> list[Trace]:
    """Return the traces that would reach the teacher; those not graded yet are graded, as stage prune does."""
    return [t for t in traces if exclusion(t, grader, settings.include_wrong) is None]


async def probe(traces: Sequence[Trace], checker: Checker, context: TeacherContext, count: int) -> Estimate:
    """Prune ``count`` traces drawn at random and scale what they took up to all.

    Their replies are kept in the context's folder and are not paid again by the run itself.

    Raises:
        BudgetError: The budget does not even allow the probe.
    """
    settings = checker.settings
    drawn = random.Random(0).sample(list(traces), min(count, len(traces)))
    quick = settings.model_copy(update={"teacher": settings.teacher.without_batches()})
    checker = replace(checker, settings=quick)
    async with quick.teacher.open(replace(context, solves=checker.grader.solves)) as opened:
        if opened.store is None:
            raise DrpError(f"the {settings.teacher.kind} teacher costs nothing: there is nothing to probe")
        starters = [partial(prune_trace, trace, opened.teacher, checker) for trace in drawn]
        async for _ in as_they_land(starters, opened.at_once or len(starters)):
            pass
        answered = list(opened.store.given.values())
        spent = opened.store.budget.spend
    context.say(f"probe: {len(drawn)} traces, {len(answered)} requests; paid in this folder so far: {spent}")
    usage, scale = sum(answered, Usage()), len(traces) / max(1, len(drawn))
    load = Load(len(answered) * scale, usage.prompt_tokens * scale, usage.completion_tokens * scale)
    return _priced(f"{settings.teacher.kind}, probed", settings, len(traces), load)
