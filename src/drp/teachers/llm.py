"""What the language-model teachers share: settings, prompts, asking, going part by part, polishing."""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from drp.engines.base import Engine, Message, Request, Sampling
from drp.engines.budget import Budget
from drp.engines.pricing import rough_tokens
from drp.engines.providers import OTHER_MAX_OUTPUT, PRESETS
from drp.engines.served import open_endpoint
from drp.engines.settings import EndpointSettings
from drp.errors import UNUSABLE, EditScriptError, TeacherError
from drp.pruning.alignment import fit_text, groups_of, similarity
from drp.pruning.apply import apply_script
from drp.pruning.skills import SKILLS
from drp.records import Completion, Edit, EditScript, Trace, Usage
from drp.runs import layout
from drp.runs.fingerprints import EXECUTION
from drp.teachers.base import Complaint, Proposal
from drp.teachers.load import AROUND, PRUNED, Call, Lengths
from drp.teachers.parts import Part, Span, fenced, parts, spans
from drp.teachers.registry import OpenTeacher, TeacherContext, TeacherSettings, Writes
from drp.teachers.replies import ReplyStore

SHOWN_REPLY = 2_000
"""Characters of a reply that could not be read which the teacher is shown again."""


class TeacherEndpointSettings(EndpointSettings):
    """An endpoint that serves a teacher."""

    batch: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether to use its batch API: about half the price, an answer within a day."""
    batch_requests: int = Field(default=50_000, ge=1, json_schema_extra=EXECUTION)
    """Most requests in one batch."""
    batch_poll_s: float = Field(default=30.0, gt=0, json_schema_extra=EXECUTION)
    """Seconds between looks at a running batch."""


class LlmSettings(TeacherSettings):
    """Settings of the language-model teachers."""

    model: str = "gpt-4o"
    """A preset (gpt-4o, chatgpt, gemini-2.0-flash, deepseek-v3), or the model's name at the endpoint."""
    endpoint: TeacherEndpointSettings = TeacherEndpointSettings()
    """Where it is served."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature of the first candidate."""
    candidate_temperature: float = Field(default=0.7, ge=0)
    """Sampling temperature of further candidates."""
    segmentation: Literal["skill", "default", "none"] = "skill"
    """Steps by skill, by line, or the whole trace as one; the paper's ablation."""
    skills: tuple[str, ...] | None = SKILLS
    """Skills the teacher may name; null leaves the list open."""
    window_units: int = Field(default=160, ge=8)
    """Most units shown in one request."""
    window_chars: int = Field(default=24_000, ge=500)
    """Most characters of the trace shown in one request, unless one unit alone has more."""
    max_calls: int = Field(default=3, ge=1)
    """Requests per window: what a reply leaves open is asked for again."""
    reasoning_tokens: int = Field(default=0, ge=0)
    """Output tokens allowed on top of a reply, for teachers that think before they answer."""
    polish: bool = False
    """Whether a second pass smooths the joins; its text is checked, and must stay this close:"""
    polish_similarity: float = Field(default=0.85, ge=0, le=1)
    """Least similarity of the polished text to the text before, in words."""

    protocols: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "default": {"segmentation": "default"},
        "none": {"segmentation": "none"},
    }
    writes: ClassVar[Writes] = "if asked"
    most_candidates: ClassVar[int | None] = None

    @property
    def name(self) -> str:
        """Protocol and model, and the segmentation where it is not by skill."""
        return "/".join(
            [self.kind, self.model, *([] if self.segmentation == "skill" else [self.segmentation])]
        )

    @property
    def max_output(self) -> int:
        """Most output tokens a request may ask for."""
        return PRESETS[self.model].max_output if self.model in PRESETS else OTHER_MAX_OUTPUT

    def asked(self) -> tuple[str, EndpointSettings]:
        """Return the model's name and its endpoint."""
        return self.model, self.endpoint

    @property
    def batches(self) -> bool:
        """Whether requests go off as batches."""
        return self.endpoint.batch

    def without_batches(self) -> Self:
        """Return settings under which every reply comes at once."""
        return self.model_copy(update={"endpoint": self.endpoint.model_copy(update={"batch": False})})

    @abstractmethod
    def teacher(self, store: ReplyStore, *, write_answer: bool) -> "LlmTeacher":
        """Return the protocol, asking through a store that keeps every reply."""

    @asynccontextmanager
    async def open(self, context: TeacherContext) -> AsyncGenerator[OpenTeacher]:
        """Provide the teacher; its replies are kept in the context's folder."""
        endpoint = self.endpoint
        preset = PRESETS.get(self.model)
        if preset and preset.retired and endpoint.base_url is None:
            context.say(f"note: {preset.retired}")
        asks = open_endpoint(self.model, endpoint, context.say)
        engine: Engine = asks
        if endpoint.batch:
            from drp.engines.batch_engine import BatchEngine

            engine = BatchEngine(
                asks,
                context.folder / layout.BATCHES,
                poll_s=endpoint.batch_poll_s,
                settle_s=min(2.0, endpoint.batch_poll_s),
                max_requests=endpoint.batch_requests,
                say=context.say,
            )
        budget = Budget(context.price, context.budget_usd, batch=endpoint.batch)
        store = ReplyStore(context.folder / layout.REPLIES, engine, budget)
        try:
            # Traces beyond the requests in flight keep the endpoint busy while replies are checked.
            at_once = None if endpoint.batch else 4 * endpoint.concurrency
            yield OpenTeacher(self.teacher(store, write_answer=context.writes_answer), at_once, store)
        finally:
            await store.close()

    def windows_of(self, lengths: Lengths) -> int:
        """Return in how many windows a trace of such lengths is shown."""
        return max(1, -(-lengths.units // self.window_units), -(-lengths.thinking // self.window_chars))

    def shown(self, lengths: Lengths) -> float:
        """Return the characters of a trace, and of what is told with it, that one request shows."""
        times = self.windows_of(lengths)
        around = AROUND * (times - 1) / times
        return lengths.question + lengths.answer + 200 + lengths.thinking / times + around

    def call(self, prompt: str, times: int, shown: float, written: float) -> Call:
        """Return a kind of request from the name of its prompt, and the characters shown and written in each."""
        return Call(times, len(load_prompt(prompt)) + shown, written, self.reasoning_tokens)

    def polishing(self, lengths: Lengths) -> list[Call]:
        """Return the second pass, if it is on."""
        pruned = PRUNED * lengths.thinking / (times := self.windows_of(lengths))
        return [self.call("polish.v1.txt", times, pruned, pruned)] if self.polish else []


def load_prompt(name: str) -> str:
    """Return a prompt file."""
    return (files("drp.teachers") / "prompts" / name).read_text(encoding="utf-8").strip()


def user(*parts: str) -> Message:
    """Return a user message of paragraphs."""
    return Message(role="user", content="\n\n".join(part for part in parts if part))


# "UNUSABLE: it adds where it should multiply and hits the answer by chance", also as `**UNUSABLE** …`; not "Unusable parts go".
_UNUSABLE = re.compile(r"^\W{0,4}UNUSABLE\b[\W_]{0,6}(?P<reason>[^\n]*)")


def unusable(reason: str, raw: str) -> TeacherError:
    """Return the error of a teacher that calls a trace unusable: it is final, and nothing is asked again."""
    why = reason.strip() or "no reason given"
    return TeacherError(f"the teacher calls the trace unusable: {why}", kind=UNUSABLE, raw=raw)


class Session:
    """The calls of one candidate for one trace, and what they used."""

    def __init__(self, store: ReplyStore, settings: LlmSettings, candidate: int) -> None:
        self.store, self.settings, self.candidate = store, settings, candidate
        self.usage: dict[str, Usage] = {}
        self.raw = ""

    def request(
        self, messages: Sequence[Message], tokens: int, attempt: int = 0, schema: dict[str, Any] | None = None
    ) -> Request:
        """Return a request for a reply of at most about ``tokens`` tokens.

        Candidates and attempts differ in their seed, so that none of them is the same request.
        """
        settings = self.settings
        temperature = settings.candidate_temperature if self.candidate else settings.temperature
        return Request(
            id="",
            messages=tuple(messages),
            sampling=Sampling(
                temperature=temperature,
                top_p=1.0,
                max_new_tokens=min(settings.max_output, tokens + settings.reasoning_tokens),
            ),
            seed=1000 * self.candidate + attempt,
            reply_schema=schema,
        )

    async def ask(self, request: Request) -> Completion:
        """Return a reply that says something.

        Raises:
            TeacherError: The endpoint failed, refused or filtered, the reply is reasoning alone, or the teacher calls the
                trace unusable.
        """
        reply = await self.store.ask(request)
        completion = reply.completion
        self.usage[reply.id] = completion.usage
        self.raw = completion.answer
        if completion.finish_reason == "content_filter":
            raise TeacherError("the endpoint's content filter stopped the reply", kind="content_filter")
        if completion.finish_reason == "refusal":
            raise TeacherError("the teacher refused", kind="refusal", raw=completion.answer)
        if not completion.answer and completion.thinking and completion.finish_reason == "length":
            raise TeacherError(
                "the teacher used up its output on reasoning; raise prune.teacher.reasoning_tokens",
                kind="only_reasoning",
            )
        if verdict := _UNUSABLE.match(completion.answer):
            raise unusable(verdict["reason"], completion.answer)
        return completion


@dataclass(frozen=True)
class Edited:
    """What a teacher makes of one part of a trace."""

    edits: Sequence[Edit]
    answer: str | None = None
    """The answer part, where it was asked for."""
    figures: dict[str, float] = field(default_factory=dict[str, float])
    """What the protocol measured about itself."""


class LlmTeacher(ABC):
    """Base of the protocols: knows the store, the settings and how to polish."""

    exempt: frozenset[str] = frozenset()

    def __init__(self, store: ReplyStore, settings: LlmSettings, *, write_answer: bool = False) -> None:
        """Set up a protocol.

        Args:
            store: Where replies come from.
            settings: The protocol's settings.
            write_answer: Whether the teacher is asked for the answer part too.
        """
        self.store, self.settings, self.write_answer = store, settings, write_answer

    @property
    def name(self) -> str:
        """Protocol and model, and the segmentation where it is not by skill."""
        return self.settings.name

    def session(self, candidate: int) -> Session:
        """Begin the calls of one candidate."""
        return Session(self.store, self.settings, candidate)

    @property
    def allowed_skills(self) -> str:
        """The skills as the prompts name them."""
        return "; ".join(self.settings.skills) if self.settings.skills else "a few words of your own"

    def spans(self, units: Sequence[str]) -> list[Span]:
        """Return the parts in which a trace is shown."""
        return spans(units, self.settings.window_units, self.settings.window_chars)

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return one candidate; see :class:`drp.teachers.base.Teacher`."""
        return await self.propose(trace, units, self.session(candidate), None, ())

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Ask once more, showing the earlier result and what was wrong with it."""
        again = await self.propose(trace, units, self.session(0), proposal.script, complaints)
        # A reply about the script alone leaves the answer part as it was.
        kept = {"usage": proposal.usage | again.usage, "answer": again.answer or proposal.answer}
        return again.model_copy(update=kept)

    async def propose(
        self,
        trace: Trace,
        units: Sequence[str],
        session: Session,
        earlier: EditScript | None,
        complaints: Sequence[Complaint],
    ) -> Proposal:
        """Return a proposal, made from nothing or from an earlier one and complaints about it.

        A part of the trace that nothing is wrong with keeps its earlier edits, and is not asked about again.
        """
        edits: list[Edit] = []
        answer: str | None = None
        sums: dict[str, float] = {}
        asked = 0
        for part in parts(trace, units, self.spans(units), earlier, complaints):
            if part.earlier and not part.complaints:
                edits += part.earlier
                continue
            made = await self.edit(session, replace(part, before=tuple(edits)))
            edits += made.edits
            answer = made.answer or answer
            asked += len(part.own)
            for name, value in made.figures.items():
                sums[name] = sums.get(name, 0.0) + value * len(part.own)
        return Proposal(
            script=EditScript(units=len(units), edits=tuple(edits)),
            answer=answer,
            figures={name: round(value / asked, 4) for name, value in sums.items()},
            usage=session.usage,
        )

    @abstractmethod
    async def edit(self, session: Session, part: Part) -> Edited:
        """Return the edits of one part, over the units of the whole trace.

        Raises:
            TeacherError: No reply could be used; the message is the reason.
            BudgetError: The budget does not allow the next request.
        """

    async def polish(self, trace: Trace, units: Sequence[str], proposal: Proposal) -> Proposal | None:
        """Smooth the joins of a proposal; ``None`` where that is off, or changes nothing or too much."""
        _ = trace
        if not self.settings.polish:
            return None
        before = apply_script(units, proposal.script)
        system = Message(role="system", content=load_prompt("polish.v1.txt"))
        session = self.session(0)
        request = session.request((system, user(fenced("text", before))), rough_tokens(before) * 5 // 4)
        completion = await session.ask(request)
        after = completion.answer.strip().removeprefix("<text>").removesuffix("</text>").strip()
        alike = similarity(before, after)
        if completion.finish_reason != "stop" or after == before or alike < self.settings.polish_similarity:
            return None
        try:
            script, _ = fit_text(units, groups_of(proposal.script), after)
        except EditScriptError:
            return None
        figures = proposal.figures | {"polish_similarity": round(alike, 4)}
        return proposal.model_copy(
            update={"script": script, "figures": figures, "usage": proposal.usage | session.usage}
        )
