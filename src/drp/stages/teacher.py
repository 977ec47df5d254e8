"""Opening the teacher a recipe names, with its endpoint, its replies on file and its budget."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drp.engines.budget import Budget
from drp.engines.providers import PRESETS
from drp.recipe import EndpointSettings, PruneSettings
from drp.runs import layout
from drp.runs.stage import Say, silent
from drp.teachers.base import Teacher
from drp.teachers.direct import DirectTeacher, WholeTeacher
from drp.teachers.edit_script import EditScriptTeacher
from drp.teachers.mini_direct import MiniDirectTeacher
from drp.teachers.replies import ReplyStore
from drp.teachers.rules import RulesTeacher
from drp.teachers.two_stage import TwoStageTeacher

if TYPE_CHECKING:
    from drp.engines.base import Engine
    from drp.engines.openai_engine import OpenAIEngine


@dataclass(frozen=True)
class OpenTeacher:
    """A teacher ready to be asked."""

    teacher: Teacher
    at_once: int | None
    """How many traces to have under way; ``None``: all of them."""
    store: ReplyStore | None = None
    """Its replies and spending; ``None`` where no model is asked."""


def build_teacher(settings: PruneSettings, store: ReplyStore) -> Teacher:
    """Return the language-model teacher that the settings name."""
    writes = settings.answer == "teacher"
    if settings.teacher == "direct":
        return DirectTeacher(store, settings.llm)
    if settings.llm.segmentation == "none":
        return WholeTeacher(store, settings.llm, protocol=settings.teacher, write_answer=writes)
    kind = TwoStageTeacher if settings.teacher == "two_stage" else EditScriptTeacher
    return kind(store, settings.llm, write_answer=writes)


@asynccontextmanager
async def open_teacher(settings: PruneSettings, folder: Path, say: Say) -> AsyncGenerator[OpenTeacher]:
    """Provide the teacher; a language model's replies are kept in ``folder``."""
    if settings.teacher == "rules":
        yield OpenTeacher(RulesTeacher(settings.rules), 1)
        return
    if settings.teacher == "mini_direct":
        yield OpenTeacher(MiniDirectTeacher(), 1)
        return
    from drp.engines.batch_engine import BatchEngine

    endpoint = settings.endpoint
    preset = PRESETS.get(settings.llm.model)
    if preset and preset.retired and endpoint.base_url is None:
        say(f"note: {preset.retired}")
    direct = open_endpoint(settings.llm.model, endpoint, say)
    engine: Engine = direct
    if endpoint.batch:
        engine = BatchEngine(
            direct, folder / layout.BATCHES, poll_s=endpoint.batch_poll_s,
            settle_s=min(2.0, endpoint.batch_poll_s), max_requests=endpoint.batch_requests, say=say,
        )  # fmt: skip
    budget = Budget(settings.known_price, settings.budget_usd, batch=endpoint.batch)
    store = ReplyStore(folder / layout.REPLIES, engine, budget)
    try:
        # Traces beyond the requests in flight keep the endpoint busy while replies are checked.
        at_once = None if endpoint.batch else 4 * endpoint.concurrency
        yield OpenTeacher(build_teacher(settings, store), at_once, store)
    finally:
        await store.close()


def open_endpoint(
    model: str,
    endpoint: EndpointSettings,
    say: Say = silent,
    *,
    thinks: bool = False,
    prefilled: bool = False,
) -> "OpenAIEngine":
    """Return the engine for an endpoint's settings; see :class:`drp.engines.openai_engine.OpenAIEngine`."""
    from drp.engines.openai_engine import OpenAIEngine

    return OpenAIEngine(
        model,
        provider=endpoint.provider,
        base_url=endpoint.base_url,
        key_variable=endpoint.key_variable,
        concurrency=endpoint.concurrency,
        requests_per_minute=endpoint.requests_per_minute,
        tokens_per_minute=endpoint.tokens_per_minute,
        timeout_s=endpoint.timeout_s,
        max_retries=endpoint.max_retries,
        restart_s=endpoint.restart_s,
        omit=endpoint.omit,
        extra=endpoint.extra,
        setup=endpoint.setup,
        thinks=thinks,
        prefilled=prefilled,
        say=say,
    )
