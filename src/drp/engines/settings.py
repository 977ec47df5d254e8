"""What every engine is told: the student, how it is asked, and where an endpoint is. Light: no torch, no client."""

from collections.abc import Sequence
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from drp.engines.identity import HUB_ID
from drp.engines.providers import ProviderName
from drp.records import Record, content_id
from drp.runs.fingerprints import EXECUTION, UNLESS_SET
from drp.text.thinking import THINK, Tags


class StudentSettings(Record):
    """The model to shorten."""

    model: str = "mini"
    """`mini` for the embedded student, a checkpoint folder, or a hub id."""
    revision: str | None = Field(default=None, min_length=1, json_schema_extra=EXECUTION)
    """Branch, tag or commit of a hub id; left out: its main branch. What counts is the commit that it stands for."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; auto is bfloat16 on GPU, float32 on CPU."""
    device: str = Field(default="auto", json_schema_extra=EXECUTION)
    """Where it runs: auto, cpu, cuda, cuda:1 …"""
    thinking_tags: Tags = Field(default=THINK, json_schema_extra=UNLESS_SET)
    """What it writes before and after its thinking, such as `["[THINK]", "[/THINK]"]` (Magistral)."""

    @property
    def source(self) -> str:
        """Where its files come from: as ``model``, with the revision behind it: ``org/name@revision``."""
        return f"{self.model}@{self.revision}" if self.revision else self.model

    @model_validator(mode="after")
    def _has_revisions(self) -> "StudentSettings":
        if self.revision and (self.model == "mini" or not HUB_ID.fullmatch(self.model)):
            raise ValueError(
                f"only a model on the hub has revisions, and {self.model} is none: leave student.revision out"
            )
        return self

    @field_validator("thinking_tags", mode="before")
    @classmethod
    def _two(cls, tags: object) -> object:
        if not isinstance(tags, list | tuple) or len(cast("Sequence[object]", tags)) != 2:
            raise ValueError("give two texts, the opening and the closing tag")
        return tuple(cast("Sequence[object]", tags))

    @field_validator("thinking_tags")
    @classmethod
    def _told_apart(cls, tags: Tags) -> Tags:
        if any(not tag or tag != tag.strip() for tag in tags):
            raise ValueError("a tag must not be empty, and no white space may stand around it")
        if tags.open in tags.close or tags.close in tags.open:
            raise ValueError("the two tags must differ, and none may hold the other")
        return tags


class PromptSettings(Record):
    """How a question becomes a prompt, in training and evaluation alike."""

    system: str | None = None
    """System message; R1 students want none."""
    template: str = "{question}"
    """User message; `{question}` stands for the question."""
    template_arguments: dict[str, str | int | float | bool] = Field(
        default_factory=dict, json_schema_extra=UNLESS_SET
    )
    """Arguments of the student's chat template, such as `enable_thinking: true` (Qwen3)."""

    @field_validator("template")
    @classmethod
    def _asks(cls, template: str) -> str:
        if "{question}" not in template:
            raise ValueError("the template must hold {question}, which stands for the question")
        return template


Omittable = Literal["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "response_format"]


class EndpointSettings(Record):
    """An OpenAI-compatible endpoint."""

    provider: ProviderName | None = Field(default=None, json_schema_extra=EXECUTION)
    """Whose parameters are sent: openai, gemini, deepseek, openrouter, local; left out: told from the rest."""
    base_url: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """Its URL, such as http://localhost:8000/v1; left out: the provider's."""
    key_variable: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """Environment variable that holds the key; left out: the provider's, such as OPENAI_API_KEY, or DRP_ENDPOINT_KEY."""
    concurrency: int = Field(default=32, ge=1, json_schema_extra=EXECUTION)
    """Most requests in flight; fewer while the endpoint is busy."""
    requests_per_minute: int | None = Field(default=None, ge=1, json_schema_extra=EXECUTION)
    """The endpoint's limit, if any."""
    tokens_per_minute: int | None = Field(default=None, ge=1, json_schema_extra=EXECUTION)
    """The endpoint's limit of tokens in and out together, if any."""
    timeout_s: float = Field(default=600.0, gt=0, json_schema_extra=EXECUTION)
    """Seconds after which a request is tried again."""
    max_retries: int = Field(default=6, ge=0, json_schema_extra=EXECUTION)
    """How often a request that may yet succeed is tried again."""
    restart_s: float = Field(default=300.0, ge=0, json_schema_extra=EXECUTION)
    """How long a server that has answered before may be away: vLLM takes a minute or more to start again."""
    omit: tuple[Omittable, ...] = Field(default=(), json_schema_extra=EXECUTION)
    """Parameters not to send, for models that refuse them."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Parameters to send as they are, such as reasoning_effort."""

    @property
    def setup(self) -> str:
        """Identity of all that may make the endpoint refuse a request, besides what the stage's fingerprint knows."""
        return content_id("setup", self.provider, self.base_url, self.key_variable, self.omit, self.extra)


class StudentServer(EndpointSettings):
    """A server that holds the student and gives the log-probabilities of a prompt's tokens, such as `vllm serve`."""

    model: str | None = None
    """The student's name there; left out: `student.model`."""

    def name(self, student: StudentSettings) -> str:
        """Return the student's name there."""
        return self.model or student.model
