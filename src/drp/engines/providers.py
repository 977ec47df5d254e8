"""What each provider accepts, and the teachers of the paper as presets.

Parameters and limits are those of the providers' documentation, read on ``READ``. A provider may change
them any day; ``omit`` and ``extra`` of the endpoint's settings bridge what this table does not know yet.
"""

from typing import Any, Literal
from urllib.parse import urlsplit

from drp.engines.base import Request, Sampling
from drp.errors import EngineError
from drp.records import Record

READ = "2026-11-23"

ProviderName = Literal["openai", "gemini", "deepseek", "openrouter", "local"]


class Provider(Record):
    """An OpenAI-compatible API and the parameters it takes."""

    base_url: str | None
    """Its URL; ``None`` must be given by the user."""
    key_variable: str
    """Environment variable that holds its key."""
    length: Literal["max_tokens", "max_completion_tokens"]
    """The name of the output limit."""
    seed: bool
    """Whether a seed may be sent."""
    schema_format: Literal["json_schema", "json_object"]
    """What structured output it offers."""
    filters: tuple[Literal["top_k", "min_p", "repetition_penalty"], ...] = ()
    """Which further settings of sampling it takes."""
    explicit: bool = False
    """Whether everything is sent, at its default too: the server would fill in the model's own generation config."""


PROVIDERS: dict[ProviderName, Provider] = {
    "openai": Provider(
        base_url="https://api.openai.com/v1", key_variable="OPENAI_API_KEY", length="max_completion_tokens",
        seed=True, schema_format="json_schema",
    ),
    # Answers 400 "Unknown name" to a seed.
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai", key_variable="GEMINI_API_KEY",
        length="max_tokens", seed=False, schema_format="json_schema",
    ),
    "deepseek": Provider(
        base_url="https://api.deepseek.com", key_variable="DEEPSEEK_API_KEY", length="max_tokens",
        seed=False, schema_format="json_object",
    ),
    "openrouter": Provider(
        base_url="https://openrouter.ai/api/v1", key_variable="OPENROUTER_API_KEY", length="max_tokens",
        seed=True, schema_format="json_object", filters=("top_k", "min_p", "repetition_penalty"),
    ),
    # vLLM and SGLang take all of these; llama.cpp and Ollama pass over what they do not know. A variable of its own
    # holds the key, so that nobody's server is sent the key of a provider.
    "local": Provider(
        base_url=None, key_variable="DRP_ENDPOINT_KEY", length="max_tokens", seed=True, schema_format="json_schema",
        filters=("top_k", "min_p", "repetition_penalty"), explicit=True,
    ),
}  # fmt: skip


class Preset(Record):
    """A teacher by name."""

    provider: ProviderName
    model: str
    """Its name at the provider."""
    max_output: int
    """Most output tokens it may be asked for."""
    schema_format: Literal["json_schema", "json_object"] | None = None
    """Where the model offers less than its provider."""
    retired: str | None = None
    """What its provider says of its end, and what to do about it."""


PRESETS: dict[str, Preset] = {
    "gpt-4o": Preset(
        provider="openai", model="gpt-4o", max_output=16_384,
        retired="OpenAI shuts gpt-4o down on 2027-01-14 and recommends gpt-6-luna",
    ),
    "chatgpt": Preset(
        provider="openai", model="gpt-3.5-turbo", max_output=4_096, schema_format="json_object",
        retired="OpenAI shut gpt-3.5-turbo down on 2026-10-23 and recommends gpt-5.6-terra",
    ),
    "gemini-2.0-flash": Preset(
        provider="gemini", model="gemini-2.0-flash", max_output=8_192,
        retired="Google no longer lists gemini-2.0-flash (shut down in 2026) and recommends a newer Flash model",
    ),
    # DeepSeek's own endpoint stopped serving V3 on 2026-07-24; its weights are open and served by others.
    "deepseek-v3": Preset(provider="openrouter", model="deepseek/deepseek-chat-v3-0324", max_output=8_192),
}  # fmt: skip
"""The four teachers of the paper, by its names."""

OTHER_MAX_OUTPUT = 16_000
"""Most output tokens asked of a model that no preset describes."""


def provider_of(model: str, provider: ProviderName | None, base_url: str | None) -> ProviderName:
    """Return the provider that serves a model: as said, whose URL it is (local for any other), of its preset, or OpenAI."""
    if provider:
        return provider
    if base_url:
        host = urlsplit(base_url).hostname
        name: ProviderName
        for name, known in PROVIDERS.items():
            if known.base_url and urlsplit(known.base_url).hostname == host:
                return name
        return "local"
    return PRESETS[model].provider if model in PRESETS else "openai"


def request_body(
    provider: Provider,
    model: str,
    request: Request,
    omit: tuple[str, ...] = (),
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON body of ``POST /chat/completions``; only parameters the provider documents.

    Args:
        provider: Who is asked.
        model: The model's name there.
        request: What is asked.
        omit: Parameters to leave out, for models that refuse them.
        extra: Parameters to add as they are.

    Raises:
        EngineError: The provider does not take a setting that is on.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        provider.length: sampling.max_new_tokens,
    }
    if sampling.top_p < 1 or provider.explicit:
        body["top_p"] = sampling.top_p
    body |= _filters(provider, sampling)
    if request.template_arguments:
        if not provider.explicit:
            raise EngineError(
                "this provider takes no prompt.template_arguments; only a local server renders the template"
            )
        body["chat_template_kwargs"] = request.template_arguments
    if provider.seed:
        body["seed"] = request.seed % 2**31
    if request.reply_schema is not None:
        body["response_format"] = {"type": "json_object"}
        if provider.schema_format == "json_schema":
            described = {"name": "reply", "strict": True, "schema": request.reply_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": described}
    return {name: value for name, value in body.items() if name not in omit} | (extra or {})


_OFF = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""What servers take for "off"; SGLang does not take 0 for the first."""


def _filters(provider: Provider, sampling: Sampling) -> dict[str, Any]:
    """Return the further settings of sampling that are to be sent."""
    on = {
        name: value
        for name in _OFF
        if (value := getattr(sampling, name)) != Sampling.model_fields[name].default
    }
    if refused := sorted(set(on) - set(provider.filters)):
        raise EngineError(
            f"this provider takes no {' or '.join(refused)}; leave {'it' if len(refused) == 1 else 'them'} out"
        )
    return {name: _OFF[name] for name in provider.filters if provider.explicit} | on
