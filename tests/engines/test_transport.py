"""The transport against a real server that misbehaves in every way it can."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from drp.engines import openai_engine
from drp.engines.base import Message, Request, Sampling
from drp.engines.limits import Limits
from drp.engines.openai_engine import OpenAIEngine
from drp.errors import EngineError
from drp.records import Completion, Failure
from drp.text.thinking import Tags
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
        lambda n: failure(429, "You exceeded your current quota, see account/billing. Please retry in 0.1s."),
        lambda n: web.Response(text='{"choices": [{"message": {"content": "ha', content_type="application/json"),
        lambda n: web.Response(text="<html>bad gateway</html>", content_type="text/html"),
        lambda n: web.json_response({"choices": []}),
        lambda n: web.json_response({"error": {"message": "in a 200"}}),
        cut,
    ],
    ids=["429", "429-after", "500", "503", "429-of-a-minute", "truncated", "html", "no-choices", "error-in-200", "cut"],
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
        (lambda n: failure(400, "prompt flagged by moderation"), "http_400", False),
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


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (429, "insufficient_quota", "no quota left"),
        (402, None, "no quota left"),
        (401, None, "refused the key"),
        (403, None, "refused the key"),
        (404, None, r"answers 404.*base_url.*'m'"),
        (400, "unsupported_parameter", r"endpoint\.omit"),
        (422, None, r"refuses every request"),
    ],
)
async def test_a_wrong_set_up_stops_at_once(
    server: Loopback, script: Script, status: int, code: str | None, said: str
) -> None:
    """What every request meets was written down as final for each item: mended, nothing was asked again."""
    error = {"error": {"message": "You cannot do that", "code": code}}
    script.play = lambda n: web.json_response(error, status=status)
    with pytest.raises(EngineError, match=said):
        await ask(server)
    assert script.hits <= 2  # the second asks whether another text is refused too
    script.hits = 0
    with pytest.raises(EngineError, match=said):
        await ask(server, 20)
    assert script.hits <= 21  # once for all of them


async def test_a_doubt_that_cannot_be_cleared_up_is_tried_again(server: Loopback, script: Script) -> None:
    """Without another text to compare with, a 400 was the end of the item."""
    script.play = lambda n: failure(400, "string too odd") if n == 1 else failure(503, "overloaded")
    (outcome,) = await ask(server, max_retries=0)
    assert isinstance(outcome, Failure) and outcome.retry and script.hits == 2


async def test_a_reset_connection_is_not_a_server_that_is_away() -> None:
    """The transport calls both a time-out of connecting, so a reset was waited for, and announced, as a restart."""
    said: list[str] = []

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        engine = OpenAIEngine("m", base_url=url, max_retries=1, say=said.append)
        engine._answered = True
        (reply,) = [r async for r in engine.complete([[request()]])]
        await engine.close()
    assert isinstance(reply.outcome, Failure) and reply.outcome.kind == "connection" and not said


async def test_one_text_that_is_refused_is_that_items_own(server: Loopback, script: Script) -> None:
    """A 400 is the item's where another text passes, before anything was answered too."""
    script.play = first(lambda n: failure(400, "string too odd"))
    (refused,) = await ask(server, setup="here")
    assert isinstance(refused, Failure) and not refused.retry and refused.setup == "here"


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 150 tokens. However, you requested 200 tokens (100 in the messages, 100 in "
        "the completion).",
        "'max_tokens' is too large: 100. This model's maximum context length is 150 tokens and your request has 100 input tokens",
        "Requested token count exceeds the model's maximum context length of 150 tokens. You requested a total of 200 tokens: "
        "100 tokens from the input messages and 100 tokens for the completion.",
    ],
    ids=["openai", "vllm", "sglang"],
)
async def test_the_limit_is_cut_to_the_servers_context(server: Loopback, script: Script, said: str) -> None:
    """It was a final 400 for every trace, where the engine in process cuts the limit."""
    script.play = first(lambda n: failure(400, said))
    (outcome,) = await ask(server)
    assert isinstance(outcome, Completion)
    assert [body["max_tokens"] for body in server.bodies[-2:]] == [100, 50]
    script.play = lambda n: failure(
        400,
        said.replace("has 100", "has 160")
        .replace("100 in", "160 in")
        .replace("100 tokens from", "160 tokens from"),
    )
    (refused,) = await ask(server)
    assert isinstance(refused, Failure) and not refused.retry


async def test_a_limit_above_the_whole_context_is_cut_in_two_steps(server: Loopback, script: Script) -> None:
    """vLLM 0.32 says only that max_tokens is above max_model_len, and counts the prompt when it is not."""

    def play(hit: int) -> web.StreamResponse:
        limit = server.bodies[-1]["max_tokens"]
        if limit > 60:
            return failure(
                400, f"max_tokens={limit} cannot be greater than max_model_len=60. (parameter=max_tokens)"
            )
        if limit > 40:
            return failure(
                400, f"'max_tokens' is too large: {limit}. This model's maximum context length is 60 tokens and your request "
                "has 20 input tokens"
            )  # fmt: skip
        return completion({"content": "fine"})

    script.play = play
    (outcome,) = await ask(server)
    assert isinstance(outcome, Completion) and [b["max_tokens"] for b in server.bodies] == [100, 59, 40]


async def test_a_server_that_restarts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off ended after half a minute, and a large model takes longer to load."""
    monkeypatch.setattr(openai_engine, "LOOK_AGAIN_S", 0.05)
    port, said = free_port(), list[str]()
    engine = OpenAIEngine(
        "m", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, restart_s=20, say=said.append
    )

    async def outcome() -> Completion | Failure:
        (reply,) = [r async for r in engine.complete([[request()]])]
        return reply.outcome

    lost = await outcome()
    assert isinstance(lost, Failure) and lost.kind == "connection"  # never seen: nobody waits
    async with serving(port):
        assert isinstance(await outcome(), Completion)
    waiting = asyncio.create_task(outcome())
    await asyncio.sleep(0.5)
    async with serving(port):
        assert isinstance(await waiting, Completion)
    assert len(said) == 2 and "waiting up to 20 s" in said[0] and "answers again" in said[1]
    engine.restart_s = 0.2
    gone = await outcome()
    assert isinstance(gone, Failure) and gone.kind == "connection" and gone.retry
    await engine.close()


async def test_what_was_paid_and_cannot_be_read_is_told(server: Loopback, script: Script) -> None:
    """A malformed reply with status 200 was paid, and no budget knew of it."""
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    script.play = first(lambda n: web.json_response({"choices": n, "usage": usage}), times=2)
    engine = OpenAIEngine("m", base_url=server.url)
    (reply,) = [r async for r in engine.complete([[request()]])]
    assert isinstance(reply.outcome, Completion) and script.hits == 3
    assert [w.usage.completion_tokens for w in reply.wasted] == [5, 5] and "choices" in reply.wasted[0].raw
    script.play = lambda n: web.Response(text="<html>", content_type="text/html")
    engine.max_retries = 0
    (reply,) = [r async for r in engine.complete([[request()]])]
    assert reply.wasted[0].usage.completion_tokens == 100  # not known, so the most it can have been
    await engine.close()


@pytest.mark.parametrize(
    ("message", "finish", "prefilled", "thinking", "answer", "closed"),
    [
        ({"content": "<think>a\n</think>\n\nb"}, "stop", False, "a", "b", True),
        ({"content": "a\n</think>\n\nb"}, "stop", True, "a", "b", True),
        ({"content": "so 7"}, "length", False, "so 7", "", False),
        ({"content": "so 7"}, "stop", True, "so 7", "", False),
        ({"content": "so 7"}, "stop", False, "", "so 7", True),
        ({"content": "a</think>"}, "length", True, "a", "", False),
        ({"reasoning": "a", "content": None}, "length", True, "a", "", False),
        ({"reasoning_content": "a", "content": "b"}, "length", True, "a", "b", True),
    ],
)
async def test_a_students_cut_or_unclosed_thinking_is_no_answer(
    server: Loopback, script: Script, message: dict[str, Any], finish: str, prefilled: bool, thinking: str, answer: str,
    closed: bool,
) -> None:  # fmt: skip
    """With the template of Qwen3 or Gemma a cut thinking was a closed answer, and sometimes right."""
    script.play = lambda n: completion(message, finish)
    (found,) = await ask(server, thinks=True, prefilled=prefilled)
    assert isinstance(found, Completion)
    assert (found.thinking, found.answer, found.closed) == (thinking, answer, closed)


async def test_a_reply_is_split_by_the_students_own_tags(server: Loopback, script: Script) -> None:
    """A served student with other tags than R1's had no thinking, or no answer, in any of its replies."""
    tags = Tags("[THINK]", "[/THINK]")
    script.play = lambda n: completion(
        {"content": "a\n[/THINK]\n\nb"} if n == 1 else {"content": "[THINK]a[/THINK]b"}
    )
    for prefilled in (True, False):
        (found,) = await ask(server, thinks=True, prefilled=prefilled, tags=tags)
        assert isinstance(found, Completion)
        assert (found.thinking, found.answer, found.closed) == ("a", "b", True)


async def test_thinking_tokens_of_parsers(server: Loopback, script: Script) -> None:
    """vLLM's parser for Qwen3 leaves the closing tag out of its count; the one for R1 counts nothing and says 0."""
    for said, known in ((11, 12), (0, None)):
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": 20,
            "completion_tokens_details": {"reasoning_tokens": said},
        }
        row = {
            "choices": [{"message": {"reasoning": "hm", "content": "7"}, "finish_reason": "stop"}],
            "usage": usage,
        }
        script.play = lambda n, row=row: web.json_response(row)
        (found,) = await ask(server, thinks=True, prefilled=True)
        assert isinstance(found, Completion) and found.usage.thinking_tokens == known


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def serving(port: int) -> AsyncGenerator[None]:
    """Serve a fine completion at a port for a while."""

    async def fine(_: web.Request) -> web.Response:
        return completion({"content": "fine"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", fine)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    try:
        yield
    finally:
        await runner.cleanup()


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
