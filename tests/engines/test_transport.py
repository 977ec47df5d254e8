"""The transport against a real server that misbehaves in every way it can."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from drp.engines.base import Message, Request, Sampling
from drp.engines.limits import Limits
from drp.engines.openai_engine import OpenAIEngine
from drp.errors import EngineError
from drp.records import Completion, Failure
from tests.loopback import CutConnectionError, Loopback, completion, failure

Play = Callable[[int], web.StreamResponse]


class Script:
    """Answers by the number of the request; ``slow`` seconds each."""

    def __init__(self) -> None:
        self.play: Play = lambda n: completion({"content": "fine"})
        self.hits, self.flying, self.most_flying = 0, 0, 0
        self.slow = 0.0
        self.at: list[float] = []

    async def __call__(self, body: dict[str, Any]) -> web.StreamResponse:
        self.hits += 1
        hit = self.hits
        self.at.append(time.monotonic())
        self.flying += 1
        self.most_flying = max(self.flying, self.most_flying)
        try:
            await asyncio.sleep(self.slow)
            return self.play(hit)
        finally:
            self.flying -= 1


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[Loopback]:
    made = Loopback(script)
    yield made
    made.stop()


def request(index: int = 0, content: str = "x") -> Request:
    message = Message(role="user", content=content)
    return Request(id=f"r{index}", messages=(message,), sampling=Sampling(max_new_tokens=100), seed=index)


async def ask(server: Loopback, count: int = 1, **options: Any) -> list[Completion | Failure]:
    engine = OpenAIEngine("m", base_url=server.url, **options)
    try:
        return [r.outcome async for r in engine.complete([[request(i)] for i in range(count)])]
    finally:
        await engine.close()


def first(then: Play, *, times: int = 1) -> Play:
    return lambda n: then(n) if n <= times else completion({"content": "fine"})


def cut(_: int) -> web.StreamResponse:
    raise CutConnectionError


@pytest.mark.parametrize(
    "fault",
    [
        lambda n: failure(429, "slow down"),
        lambda n: failure(429, "slow down", **{"Retry-After": "0.1"}),
        lambda n: failure(500, "oops"),
        lambda n: failure(503, "overloaded"),
        lambda n: web.Response(text='{"choices": [{"message": {"content": "ha', content_type="application/json"),
        lambda n: web.Response(text="<html>bad gateway</html>", content_type="text/html"),
        lambda n: web.json_response({"choices": []}),
        lambda n: web.json_response({"error": {"message": "in a 200"}}),
        cut,
    ],
    ids=["429", "429-after", "500", "503", "truncated", "html", "no-choices", "error-in-200", "cut"],
)  # fmt: skip
async def test_what_may_succeed_later_is_asked_again(server: Loopback, script: Script, fault: Play) -> None:
    script.play = first(fault)
    (outcome,) = await ask(server)
    assert isinstance(outcome, Completion) and outcome.answer == "fine" and script.hits == 2


async def test_a_hanging_server_is_asked_again_after_the_time_limit(server: Loopback, script: Script) -> None:
    script.slow = 30
    started = time.monotonic()
    (outcome,) = await ask(server, timeout_s=0.3, max_retries=1)
    assert isinstance(outcome, Failure) and outcome.kind == "timeout" and outcome.retry
    assert script.hits == 2 and time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("fault", "kind", "retry"),
    [
        (lambda n: failure(400, "unknown parameter: seed"), "http_400", False),
        (lambda n: failure(500, "oops"), "http_500", True),
        (lambda n: web.json_response({"choices": 3}), "malformed_reply", True),
        (cut, "connection", True),
    ],
)
async def test_what_stays_wrong_is_recorded_with_what_came(
    server: Loopback, script: Script, fault: Play, kind: str, retry: bool
) -> None:
    script.play = fault
    (outcome,) = await ask(server, max_retries=0)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.retry) == (kind, retry) and outcome.message
    if kind != "connection":
        assert outcome.raw and ("message" in outcome.raw or "choices" in outcome.raw)


async def test_an_empty_account_is_not_asked_again(server: Loopback, script: Script) -> None:
    error = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    script.play = lambda n: web.json_response(error, status=429)
    (outcome,) = await ask(server)
    assert isinstance(outcome, Failure) and script.hits == 1 and not outcome.retry
    script.play = lambda n: failure(401, "bad key")
    with pytest.raises(EngineError, match="refused the key"):
        await ask(server)


async def test_retry_after_holds_everything_back(server: Loopback, script: Script) -> None:
    script.play = first(lambda n: failure(429, "slow down", **{"Retry-After": "0.8"}))
    outcomes = await ask(server, 12, concurrency=1)
    assert all(isinstance(o, Completion) for o in outcomes) and script.hits == 13
    assert script.at[1] - script.at[0] >= 0.75


async def test_refusals_filters_reasoning_and_cache_hits_are_read(server: Loopback, script: Script) -> None:
    script.play = lambda n: completion({"content": None, "refusal": "I would rather not."})
    (refused,) = await ask(server)
    assert isinstance(refused, Completion)
    assert refused.finish_reason == "refusal" and refused.answer == "I would rather not."
    script.play = lambda n: completion({"content": ""}, "content_filter")
    (filtered,) = await ask(server)
    assert isinstance(filtered, Completion) and filtered.finish_reason == "content_filter"
    usage = {
        "prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 12},
    }  # fmt: skip
    message = {"role": "assistant", "content": "1 K x", "reasoning": "hm"}
    row = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    script.play = lambda n: web.json_response(row)
    (thought,) = await ask(server)
    assert isinstance(thought, Completion) and (thought.thinking, thought.answer) == ("hm", "1 K x")
    assert thought.usage.cached_tokens == 40 and thought.usage.thinking_tokens == 12


async def test_concurrency_has_a_most_and_falls_with_429s(server: Loopback, script: Script) -> None:
    script.slow = 0.02
    engine = OpenAIEngine("m", base_url=server.url, concurrency=16)
    script.play = first(lambda n: failure(429, "slow"), times=16)
    outcomes = [r.outcome async for r in engine.complete([[request(i)] for i in range(60)])]
    assert all(isinstance(o, Completion) for o in outcomes)
    assert script.most_flying <= 16 and engine.limits.allowed < 16
    await engine.close()


def test_concurrency_follows_the_latency() -> None:
    limits = Limits(40)
    for _ in range(200):
        limits.succeeded(1.0)
    assert limits.allowed == 40
    for _ in range(400):
        limits.succeeded(4.0)  # a queue builds up at the server
    shrunk = limits.allowed
    assert shrunk < 30
    for _ in range(2000):
        limits.succeeded(1.0)
    assert limits.allowed == 40
    limits.rejected(None)
    limits.rejected(None)  # the same round
    assert limits.allowed == 20


async def test_requests_and_tokens_per_minute_are_kept(server: Loopback, script: Script) -> None:
    started = time.monotonic()
    await ask(server, 60, requests_per_minute=400)  # 40 at once, then one every 0.15 s
    assert 2.0 < time.monotonic() - started < 8
    started = time.monotonic()
    # Each is taken for some 110 tokens: 1,760 at 12,000 a minute, of which 1,200 at once.
    await ask(server, 16, tokens_per_minute=12_000)
    assert 2.0 < time.monotonic() - started < 8


async def test_a_request_larger_than_a_window_still_goes_out(server: Loopback) -> None:
    limits = Limits(1, tokens_per_minute=1200)
    async with asyncio.timeout(20):
        async with limits.slot(150):
            pass
