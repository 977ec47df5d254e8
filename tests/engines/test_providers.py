"""Every preset's request holds nothing its provider does not document, and fits the model."""

import json
from typing import Any

import pytest

from drp.engines.base import Message, Request, Sampling
from drp.engines.openai_engine import OpenAIEngine
from drp.engines.pricing import PRICES, Price, price_of, rough_tokens
from drp.engines.providers import PRESETS, PROVIDERS, provider_of
from drp.errors import EngineError
from drp.records import Usage
from drp.teachers.edit_script import EditScriptSettings
from drp.teachers.json_protocol import reply_schema

DOCUMENTED: dict[str, set[str]] = {
    # platform.openai.com/docs/api-reference/chat/create; max_tokens is deprecated there.
    "openai": {
        "messages", "model", "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens",
        "metadata", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier",
        "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs",
        "top_p", "user", "verbosity",
    },
    # ai.google.dev/gemini-api/docs/openai; it answers 400 to `seed`.
    "gemini": {
        "messages", "model", "max_completion_tokens", "max_tokens", "n", "presence_penalty", "reasoning_effort",
        "response_format", "stop", "stream", "temperature", "tool_choice", "tools", "top_p", "extra_body",
    },
    # api-docs.deepseek.com/api/create-chat-completion
    "deepseek": {
        "messages", "model", "frequency_penalty", "logprobs", "max_tokens", "presence_penalty",
        "response_format", "stop", "stream", "stream_options", "temperature", "thinking", "tool_choice",
        "tools", "top_logprobs", "top_p",
    },
    # openrouter.ai/docs/api-reference/parameters
    "openrouter": {
        "messages", "model", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "min_p",
        "parallel_tool_calls", "presence_penalty", "repetition_penalty", "response_format", "seed", "stop",
        "structured_outputs", "temperature", "tool_choice", "tools", "top_a", "top_k", "top_logprobs", "top_p",
        "verbosity",
    },
    # docs.vllm.ai and docs.sglang.io; llama.cpp and Ollama pass over what they do not know.
    "local": {
        "messages", "model", "frequency_penalty", "max_tokens", "min_p", "presence_penalty", "repetition_penalty",
        "response_format", "seed", "stop", "stream", "temperature", "top_k", "top_p", "tools",
    },
}  # fmt: skip
LARGEST_OUTPUT = {
    "gpt-4o": 16_384, "chatgpt": 4_096, "gemini-2.0-flash": 8_192, "deepseek-v3": 16_384,
}  # fmt: skip
JSON_SCHEMA = {"gpt-4o", "gemini-2.0-flash"}


def request(tokens: int = 500, **changes: Any) -> Request:
    base = Request(
        id="r", messages=(Message(role="system", content="s"), Message(role="user", content="u")),
        sampling=Sampling(temperature=0.7, top_p=0.9, max_new_tokens=tokens), seed=2**40,
    )  # fmt: skip
    return base.model_copy(update=changes)


def engine_for(model: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> OpenAIEngine:
    for provider in PROVIDERS.values():
        monkeypatch.setenv(provider.key_variable, "k")
    return OpenAIEngine(model, **options)


def check(provider: str, body: dict[str, Any], largest: int) -> None:
    assert set(body) <= DOCUMENTED[provider], set(body) - DOCUMENTED[provider]
    assert 0 <= body["temperature"] <= 2 and 0 < body.get("top_p", 1) <= 1
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    assert 1 <= limit <= largest
    assert -(2**31) <= body.get("seed", 0) < 2**31
    json.dumps(body)


@pytest.mark.parametrize("schema", [None, reply_schema(labelled=True)], ids=["lines", "json"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_send_what_their_providers_document(
    name: str, schema: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(name, monkeypatch)
    asked = request(EditScriptSettings(model=name).max_output, reply_schema=schema)
    body = engine.body(asked)
    check(PRESETS[name].provider, body, LARGEST_OUTPUT[name])
    assert engine.model == body["model"] == PRESETS[name].model
    if schema:
        assert body["response_format"]["type"] == ("json_schema" if name in JSON_SCHEMA else "json_object")
    else:
        assert "response_format" not in body


def test_json_object_mode_asks_for_json_in_words() -> None:
    # OpenAI and DeepSeek refuse json_object unless the prompt says "JSON".
    from drp.teachers.llm import load_prompt

    assert "JSON" in load_prompt("edit_script_json.v2.txt")


def test_the_schema_is_strict() -> None:
    def strict(node: dict[str, Any]) -> bool:
        inner = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
        closed = node["type"] != "object" or (
            node["additionalProperties"] is False and set(node["required"]) == set(node["properties"])
        )
        return closed and all(strict(n) for n in inner)

    assert strict(reply_schema(labelled=True)) and strict(reply_schema(labelled=False))


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_any_model_of_a_provider(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:1/v1" if provider == "local" else None
    engine = engine_for("some-model", monkeypatch, provider=provider, base_url=url)
    check(provider, engine.body(request()), 500)
    trimmed = engine_for(
        "some-model", monkeypatch, provider=provider, base_url=url,
        omit=("temperature", "seed", "top_p"), extra={"reasoning_effort": "low"},
    )  # fmt: skip
    body = trimmed.body(request())
    assert not {"temperature", "seed", "top_p"} & set(body) and body["reasoning_effort"] == "low"
    assert trimmed.identity != engine.identity


def test_who_serves_what() -> None:
    assert provider_of("gpt-4o", None, None) == "openai"
    assert provider_of("deepseek-v3", None, None) == "openrouter"
    assert provider_of("gpt-4o", None, "http://localhost:8000/v1") == "local"
    assert provider_of("gpt-4o", None, "https://api.openai.com/v1/") == "openai"
    assert provider_of("gemini-3.8-flash", "gemini", None) == "gemini"
    assert provider_of("gpt-6-luna", None, None) == "openai"


def test_missing_keys_and_urls_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with pytest.raises(EngineError, match="GEMINI_API_KEY"):
        OpenAIEngine("gemini-2.0-flash")
    with pytest.raises(EngineError, match="base_url"):
        OpenAIEngine("x", provider="local")


def test_prices() -> None:
    price = Price(input=2.0, output=10.0, cached_input=1.0, batch_factor=0.5)
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)
    assert price.cost(usage) == pytest.approx(1.2 + 0.4 + 1.0)
    assert price.cost(usage, batch=True) == pytest.approx(1.3)
    assert all(price_of(name) for name in PRESETS) and price_of("unheard-of") is None
    assert all(p.on for p in PRICES.values()), "a price without its date"


def test_a_local_server_is_told_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM fills in what a request leaves out from the model's own generation config, greedy requests included."""
    plain = engine_for("m", monkeypatch, base_url="http://127.0.0.1:1/v1").body(
        request(sampling=Sampling(top_p=1.0))
    )
    assert (plain["top_p"], plain["top_k"], plain["min_p"], plain["repetition_penalty"]) == (
        1.0,
        -1,
        0.0,
        1.0,
    )
    drawn = request(sampling=Sampling(top_k=20, min_p=0.1, repetition_penalty=1.2))
    body = engine_for("m", monkeypatch, base_url="http://127.0.0.1:1/v1").body(drawn)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (20, 0.1, 1.2)
    with pytest.raises(EngineError, match="takes no min_p or repetition_penalty or top_k"):
        engine_for("gpt-4o", monkeypatch).body(drawn)
    hybrid = request(template_arguments={"enable_thinking": False})
    body = engine_for("m", monkeypatch, base_url="http://127.0.0.1:1/v1").body(hybrid)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    with pytest.raises(EngineError, match=r"takes no prompt\.template_arguments"):
        engine_for("gpt-4o", monkeypatch).body(hybrid)


def test_keys_of_providers_stay_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any URL was sent the real OPENAI_API_KEY, plain http included."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.delenv("DRP_ENDPOINT_KEY", raising=False)
    assert OpenAIEngine("m", base_url="http://127.0.0.1:1/v1").client.api_key == "none"
    assert (
        OpenAIEngine("m", base_url="https://proxy.test/v1", key_variable="OPENAI_API_KEY").client.api_key
        == "sk-real"
    )
    assert (
        OpenAIEngine("m", base_url="http://127.0.0.1:1/v1", key_variable="OPENAI_API_KEY").client.api_key
        == "sk-real"
    )
    with pytest.raises(EngineError, match=r"unencrypted to proxy\.test"):
        OpenAIEngine("m", base_url="http://proxy.test/v1", key_variable="OPENAI_API_KEY")
    monkeypatch.setenv("DRP_ENDPOINT_KEY", "mine")
    assert OpenAIEngine("m", base_url="http://10.0.0.7:8000/v1").client.api_key == "mine"


def test_tokens_are_rather_over_than_underestimated() -> None:
    """Chinese was taken for a third of its tokens, so a budget could be exceeded."""
    assert (
        rough_tokens("小明有三个苹果，小红有五个。" * 10) >= 140
        and rough_tokens("Ana has 3 apples. " * 10) <= 68
    )
