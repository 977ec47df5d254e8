"""Engine ``openai``: the student behind any OpenAI-compatible endpoint, such as the user's own ``vllm serve``."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from drp.engines.adapters import AdapterOnServer, adapter_of
from drp.engines.base import Engine
from drp.engines.encoding import prefills_thinking
from drp.engines.identity import resolve_model
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import EndpointSettings, StudentSettings
from drp.errors import EngineError, IncompleteError
from drp.runs.fingerprints import EXECUTION
from drp.runs.stage import Say, silent
from drp.text.thinking import THINK, Tags

if TYPE_CHECKING:
    from drp.engines.openai_engine import OpenAIEngine, Prepare


class OpenAISettings(EndpointSettings, EngineSettings):
    """Asks an endpoint that serves the student and, by another name, the trained model."""

    kind: Literal["openai"] = "openai"
    model: str | None = None
    """The student's name there; left out: `student.model`."""
    trained_model: str | None = Field(default=None, json_schema_extra=EXECUTION)
    """The trained model's name there, such as that of a LoRA adapter (vLLM: `--lora-modules NAME=RUN/train/adapter`)."""
    load_adapter: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether the server is asked to load the trained adapter, under a name made of its content, instead of ``trained_model`` (vLLM)."""
    prefilled: bool | None = Field(default=None, json_schema_extra=EXECUTION)
    """Whether the student's template opens the thinking itself; left out: as its tokenizer's template does, else yes."""

    in_process: ClassVar[bool] = False

    def open(self, subject: Subject, say: Say = silent) -> Engine:
        """Return the engine; see :class:`drp.engines.registry.EngineSettings`."""
        student, name = subject.student, self.trained_model if subject.trained else self.model
        adapter = self._adapter(subject) if subject.trained and self.load_adapter else None
        if subject.trained and name is None and adapter is None:
            raise IncompleteError(
                f"the trained model is in {subject.model} and its adapter beside it, but engine {self.kind} is not told under "
                "which name an endpoint serves it. Serve it (vLLM: --enable-lora --lora-modules NAME=RUN/train/adapter) and run "
                "the same command with evaluate.engine.trained_model=NAME; or have the server load it "
                "(evaluate.engine.load_adapter=true, vLLM); or set evaluate.engine=transformers"
            )
        prefilled = self.prefilled
        if prefilled is None:
            arguments, tags = subject.prompt.template_arguments, student.thinking_tags
            prefilled = prefills_thinking(resolve_model(student.source), arguments, tags)
        if prefilled is None:
            say(
                f"note: the chat template of {student.model} cannot be read here, so replies without tags are taken for "
                "thinking that never closed; set engine.prefilled=false if the student opens its thinking itself"
            )
        return open_endpoint(
            adapter.name if adapter else name or student.model,
            self,
            say,
            thinks=True,
            prefilled=prefilled is not False,
            tags=student.thinking_tags,
            prepare=adapter.load if adapter else None,
        )

    def _adapter(self, subject: Subject) -> AdapterOnServer:
        if self.trained_model:
            raise EngineError(
                "trained_model names an adapter that is served already, and load_adapter would load one: set one of them"
            )
        adapter, why = adapter_of(Path(resolve_model(subject.model)), resolve_model(subject.student.source))
        if why:
            raise EngineError(
                f"load_adapter: the student with its adapter is not the trained model, since {why}. Serve the merged model "
                f"{subject.model} and give its name by trained_model"
            )
        return AdapterOnServer(adapter)

    def endpoint(self, student: StudentSettings) -> tuple[str, EndpointSettings]:
        """Return the student's name there, and these settings."""
        return self.model or student.model, self


def open_endpoint(
    model: str,
    endpoint: EndpointSettings,
    say: Say = silent,
    *,
    thinks: bool = False,
    prefilled: bool = False,
    tags: Tags = THINK,
    prepare: "Prepare | None" = None,
) -> "OpenAIEngine":
    """Return what asks an endpoint; see :class:`drp.engines.openai_engine.OpenAIEngine`."""
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
        tags=tags,
        prepare=prepare,
        say=say,
    )
