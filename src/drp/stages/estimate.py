"""What a teacher will cost, before anything is spent: from lengths, or from a probe of a few traces.

Ratios between a trace and its reply come from replies a language model wrote for five real traces
(62 to 185 units each, in both protocols); they are estimates, and a probe replaces them by measurement.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from drp.engines.pricing import Price
from drp.grading.grader import Grader
from drp.recipe import PruneSettings
from drp.records import Record, Trace, Usage
from drp.runs.concurrency import as_they_land
from drp.runs.stage import Say
from drp.stages.checking import Checker
from drp.stages.prune import exclusion, prune_trace
from drp.stages.teacher import open_teacher
from drp.teachers.llm import load_prompt
from drp.text.units import split_units

CHARS_PER_TOKEN = 3.5
"""Of English with formulas, by the tokenizers of today's large models; about ± 15 %."""
CHARS_PER_UNIT = 70
EDITS_PER_UNIT = 0.33
"""Edits a unit in the five replies: 0.28 to 0.44."""
LINE_CHARS, JSON_CHARS = 23, 80
"""Characters of an edit without its text."""
NEW_TEXT = 0.07
"""Characters of rewrites and merges per character of the trace: 0 to 0.09."""
COPY, ACTIONS, PRUNED = 1.25, 0.06, 0.28
"""Characters per character of the trace: a labelled copy, decisions a step, the pruned text."""
DIRECT_TOKENS = 186
"""Mean length of the short solutions in the paper."""
REPEATS = 1.1
"""Second requests for what a reply leaves open, and repairs; a guess."""
TOKENS_PER_S, FIRST_TOKEN_S = 60, 1.0
"""Speed of one reply at a provider; a guess."""

PAPER_TRACE_TOKENS = 1_443
"""Mean of R1-Distill-Qwen-1.5B on GSM8K in the paper."""


@dataclass(frozen=True)
class Lengths:
    """Characters of the parts of one trace, and how many units its thinking has."""

    question: int
    thinking: int
    answer: int
    units: int


def lengths_of(trace: Trace) -> Lengths:
    """Measure a trace."""
    units = len(split_units(trace.thinking))
    return Lengths(len(trace.question), len(trace.thinking), len(trace.answer), units)


def assumed_lengths(trace_tokens: int) -> Lengths:
    """Return the lengths of a trace of so many tokens of which nothing else is known."""
    characters = int(trace_tokens * CHARS_PER_TOKEN)
    thinking = int(characters * 0.8)
    return Lengths(300, thinking, characters - thinking, max(1, thinking // CHARS_PER_UNIT))


class Estimate(Record):
    """Expected requests, tokens and dollars for a number of traces."""

    protocol: str
    traces: int
    requests: float
    usage: Usage
    online_usd: float | None = None
    batch_usd: float | None = None
    hours: float
    """At the given concurrency and limits, if the endpoint keeps up."""


@dataclass(frozen=True)
class Load:
    """Requests, and tokens in and out."""

    requests: float = 0.0
    going_in: float = 0.0
    coming_out: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        """Return the sum."""
        return Load(
            self.requests + other.requests,
            self.going_in + other.going_in,
            self.coming_out + other.coming_out,
        )


def expected_load(protocol: str, settings: PruneSettings, lengths: Lengths) -> Load:
    """Return what one candidate for one trace takes; ``protocol`` is a teacher's name or ``none``."""
    llm = settings.llm
    windows = max(
        1, -(-lengths.units // llm.window_units), -(-lengths.thinking // llm.window_chars)
    )  # fmt: skip
    said = lengths.question + lengths.answer + 200
    written = lengths.answer / 2 if settings.answer == "teacher" else 0.0
    thinking = lengths.thinking
    calls: list[tuple[str, float, float]] = []  # prompt, other characters in, characters out; per window
    if protocol == "direct":
        calls = [("direct.v1.txt", lengths.question, DIRECT_TOKENS * CHARS_PER_TOKEN)]
        windows = 1
    elif protocol == "none":
        calls = [("whole.v1.txt", said + thinking / windows, PRUNED * thinking / windows + written)]
    elif protocol == "two_stage":
        copy = COPY * thinking / windows
        edited = (ACTIONS + PRUNED) * thinking / windows + written
        calls = [
            ("segmentation.v1.txt", said + thinking / windows, copy),
            ("compression.v1.txt", said + copy, edited),
        ]
    else:
        json = llm.format == "json"
        prompt = "edit_script_json.v1.txt" if json else "edit_script.v2.txt"
        edits = lengths.units * EDITS_PER_UNIT * (JSON_CHARS if json else LINE_CHARS)
        shown = thinking + 5 * lengths.units
        calls = [(prompt, said + shown / windows, (edits + NEW_TEXT * thinking) / windows + written)]
    if llm.polish and protocol != "direct":
        calls.append(("polish.v1.txt", PRUNED * thinking / windows, PRUNED * thinking / windows))
    total = Load()
    for prompt, other, out in calls:
        going_in = (len(load_prompt(prompt)) + other) / CHARS_PER_TOKEN
        coming_out = out / CHARS_PER_TOKEN + llm.reasoning_tokens
        total = total + Load(windows, windows * going_in, windows * coming_out)
    times = REPEATS * settings.candidates
    return Load(total.requests * times, total.going_in * times, total.coming_out * times)


def estimate(protocol: str, settings: PruneSettings, lengths: Sequence[Lengths]) -> Estimate:
    """Return what a protocol is expected to take for all traces."""
    total = sum((expected_load(protocol, settings, one) for one in lengths), Load())
    return _priced(protocol, settings, len(lengths), total)


def _priced(protocol: str, settings: PruneSettings, traces: int, load: Load) -> Estimate:
    endpoint = settings.endpoint
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


async def probe(traces: Sequence[Trace], checker: Checker, folder: Path, say: Say, count: int) -> Estimate:
    """Prune ``count`` traces drawn at random and scale what they took up to all.

    Their replies are kept in ``folder`` and are not paid again by the run itself.

    Raises:
        BudgetError: The budget does not even allow the probe.
    """
    settings = checker.settings
    drawn = random.Random(0).sample(list(traces), min(count, len(traces)))
    online = settings.endpoint.model_copy(update={"batch": False})
    quick = settings.model_copy(update={"endpoint": online})
    checker = replace(checker, settings=quick)
    async with open_teacher(quick, folder, say) as opened:
        assert opened.store is not None
        starters = [partial(prune_trace, trace, opened.teacher, checker) for trace in drawn]
        async for _ in as_they_land(starters, opened.at_once or len(starters)):
            pass
        answered = list(opened.store.given.values())
        spent = opened.store.budget.spend
    say(f"probe: {len(drawn)} traces, {len(answered)} requests; paid in this folder so far: {spent}")
    usage, scale = sum(answered, Usage()), len(traces) / max(1, len(drawn))
    load = Load(len(answered) * scale, usage.prompt_tokens * scale, usage.completion_tokens * scale)
    return _priced(f"{settings.teacher}, probed", settings, len(traces), load)
