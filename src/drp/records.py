"""The records that travel between stages: frozen, strict, identified by their content."""

import hashlib
import json
from collections.abc import Iterable
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Record(BaseModel):
    """Base of every record: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Keyed(Record):
    """A record with an identity, so that stages can tell what is done."""

    id: str


def content_id(kind: str, *parts: object) -> str:
    """Return ``kind-`` followed by 16 hex digits of the SHA-256 of ``parts`` as JSON."""
    payload = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return f"{kind}-{hashlib.sha256(payload.encode()).hexdigest()[:16]}"


def listed_id(kind: str, items: Iterable[object]) -> str:
    """Return what :func:`content_id` does of one list, whose items come one by one and need not fit into memory."""
    digest, comma = hashlib.sha256(b"[["), b""
    for item in items:
        digest.update(comma + json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())
        comma = b","
    digest.update(b"]]")
    return f"{kind}-{digest.hexdigest()[:16]}"


class Problem(Record):
    """A question with its gold answer."""

    id: str = ""
    """Content hash of question and gold answer; filled in when left empty."""
    question: str
    gold: str
    """The normalised final answer alone, without working."""
    benchmark: str = ""
    split: str = ""
    task: str = "maths"
    """The kind of problem: how it is asked, and its answer read and graded."""

    @model_validator(mode="before")
    @classmethod
    def _fill_id(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        fields = cast("dict[str, object]", data)
        if fields.get("id"):
            return fields
        task = fields.get("task", "maths")
        other = [] if task == "maths" else [task]  # of problems that said no task, ids stay what they were
        return {**fields, "id": content_id("problem", fields.get("question"), fields.get("gold"), *other)}


class Usage(Record):
    """Token counts of one completion, by the student's tokenizer or as the endpoint reports them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """All generated tokens: thinking, tags, answer and the stop token."""
    thinking_tokens: int | None = None
    """Generated tokens up to and including the closing tag; ``None`` where not reported."""
    cached_tokens: int = 0
    """Prompt tokens that the endpoint read from its cache; part of ``prompt_tokens``."""

    @property
    def answer_tokens(self) -> int | None:
        """Generated tokens after the closing tag, or ``None`` where not known."""
        if self.thinking_tokens is None:
            return None
        return self.completion_tokens - self.thinking_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum; thinking tokens stay known only where both are."""
        known = self.thinking_tokens is not None and other.thinking_tokens is not None
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            thinking_tokens=(self.thinking_tokens or 0) + (other.thinking_tokens or 0) if known else None,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )


FinishReason = Literal["stop", "length", "content_filter", "refusal"]


class Completion(Record):
    """What an engine returned for one request."""

    thinking: str
    answer: str
    closed: bool
    """Whether the thinking was closed (``</think>`` came)."""
    finish_reason: FinishReason
    usage: Usage = Usage()


class Trace(Keyed):
    """A completion with thinking, next to the problem it answers."""

    problem_id: str
    question: str
    gold: str
    benchmark: str = ""
    split: str = ""
    task: str = "maths"
    model: str = ""
    sample: int = 0
    """Which of the samples of this problem (0-based)."""
    thinking: str
    answer: str
    closed: bool
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    correct: bool | None = None
    """Whether the answer equals the gold answer under the grader; ``None`` before grading."""
    source_id: str | None = None
    """The identifier the trace had in the file it was imported from."""


class Failure(Keyed):
    """Something that did not work out, kept with all that is known about it.

    Its ``id`` is that of the item that failed, as in the stage's wanted list.
    """

    stage: str
    kind: str
    """A short stable word for counting: ``timeout``, ``excluded_wrong``, ``invalid_script`` …"""
    message: str
    raw: str | None = None
    """The raw text that led to the failure, where there is one."""
    retry: bool = False
    """Whether the same command again should try this item again."""
    setup: str | None = None
    """Identity of the endpoint's settings under which it is final; with other settings it is tried again."""

    @property
    def excluded(self) -> bool:
        """Whether the item was left out before anything was tried, such as a trace with a wrong answer."""
        return self.kind.startswith("excluded_")


Action = Literal["keep", "delete", "rewrite", "merge"]


class Edit(Record):
    """One action on a run of units ``first..last`` (0-based, inclusive)."""

    first: int = Field(ge=0)
    last: int = Field(ge=0)
    action: Action
    skills: tuple[str, ...] = Field(min_length=1)
    """The functional skill of each step covered: one, or one per step merged."""
    text: str | None = None
    """The new text of a rewrite or merge; ``None`` otherwise."""
    reason: str | None = None
    """Why the step goes, for a delete; optional elsewhere."""
    borders: tuple[int, ...] = ()
    """For a merge, where known: the first unit of each merged step after the first."""

    @model_validator(mode="after")
    def _consistent(self) -> "Edit":
        if self.last < self.first:
            raise ValueError(f"edit ends at unit {self.last} before it starts at {self.first}")
        if self.action in ("rewrite", "merge") and not (self.text and self.text.strip()):
            raise ValueError(f"{self.action} of units {self.first}-{self.last} carries no text")
        if self.action in ("keep", "delete") and self.text is not None:
            raise ValueError(f"{self.action} of units {self.first}-{self.last} must not carry text")
        if self.action == "delete" and not self.reason:
            raise ValueError(f"delete of units {self.first}-{self.last} gives no reason")
        if self.action == "merge":
            inside = all(self.first < border <= self.last for border in self.borders)
            ordered = list(self.borders) == sorted(set(self.borders))
            if len(self.skills) < 2 or self.first == self.last or not (inside and ordered):
                raise ValueError(
                    f"merge of units {self.first}-{self.last} must span two or more adjacent steps: "
                    f"skills {list(self.skills)}, borders {list(self.borders)}"
                )
        elif self.borders:
            raise ValueError(f"{self.action} of units {self.first}-{self.last} has merge borders")
        return self


class EditScript(Record):
    """The edits of one trace, in order, covering every unit exactly once."""

    units: int = Field(ge=0)
    """Number of units of the thinking."""
    edits: tuple[Edit, ...]

    @model_validator(mode="after")
    def _partition(self) -> "EditScript":
        expected = 0
        for edit in self.edits:
            if edit.first != expected:
                what = "overlap at" if edit.first < expected else "leave out"
                raise ValueError(f"edits {what} unit {min(edit.first, expected)}")
            expected = edit.last + 1
        if expected != self.units:
            raise ValueError(f"edits cover {expected} of {self.units} units")
        return self


class Check(Record):
    """One property a pruned trace must have, with the figures behind the verdict."""

    name: str
    passed: bool
    figures: dict[str, float] = {}
    detail: str = ""
    required: bool = True
    """Whether failing it refuses the trace: what a teacher does not mean to do is measured, not asked of it."""


class PrunedTrace(Keyed):
    """The outcome of pruning one trace: script, text, checks and verdict.

    Its ``id`` is the trace's own: one trace gives one pruned trace per run.
    """

    problem_id: str
    question: str
    gold: str
    benchmark: str = ""
    task: str = "maths"
    teacher: str
    original_thinking: str
    original_answer: str
    thinking: str
    answer: str
    script: EditScript
    checks: tuple[Check, ...]
    accepted: bool
    reason: str | None = None
    """Why a trace was not accepted: the names of the failed checks."""
    tokens_before: int
    tokens_after: int
    """Thinking and answer, counted by the run's tokenizer."""
    repaired: bool = False
    """Whether it passed only after the teacher was told what had failed."""
    polished: bool = False
    """Whether a second pass smoothed its joins."""
    candidates: int = 1
    """How many candidates this one was chosen from."""
    protocol: dict[str, float] = {}
    """What the teacher's protocol measured about itself, such as the share of text its copy omitted."""
    usage: Usage | None = None
    """Tokens the teacher's calls for this trace took, all candidates together; ``None``: no model."""
    replies: tuple[str, ...] = ()
    """Identities of the teacher's stored replies that its script was read from."""
    source_id: str | None = None

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that refused it, in the order they were run; empty where it was accepted."""
        return tuple(check.name for check in self.checks if check.required and not check.passed)


class Target(Keyed):
    """One text to train on; its ``id`` is that of the trace it came from."""

    question: str
    thinking: str
    answer: str
    own_thinking: str
    """The student's own trace of the problem, for the learnability beside it."""
    own_answer: str
    task: str = "maths"
    phase: int = 0
    """Phases are trained one after the other, by the same adapter."""
