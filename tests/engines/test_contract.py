"""One suite over the engines; Ray has a worker on this machine, and the endpoint is a real server on loopback that runs the student."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from drp.engines.base import Engine, Message, Request, Sampling, request_seed
from drp.engines.openai_engine import OpenAIEngine
from drp.engines.ray_settings import RaySettings
from drp.engines.registry import Subject
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.transformers_engine import TransformersEngine
from drp.errors import EngineError
from drp.records import Completion, Failure
from tests.loopback import Loopback
from tests.served import ServedStudent, collect

QUESTIONS = [
    "Ana has 12 shells. Ben has 3 more shells than Ana. How many shells does Ben have?",
    "Gia has 9 cards. Leo has 2 times as many cards as Gia. How many cards does Leo have?",
    "Tara has 30 coins. Then Tara gives away 4 coins. How many coins does Tara now have?",
]


def request(index: int, **sampling: float) -> Request:
    message = Message(role="user", content=QUESTIONS[index])
    settings = Sampling.model_validate({"max_new_tokens": 400} | sampling)
    return Request(id=f"r{index}", messages=(message,), sampling=settings, seed=request_seed(3, index))


@pytest.fixture(scope="module")
def student(student_path: str) -> TransformersEngine:
    return TransformersEngine(student_path, device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def server(student: TransformersEngine) -> Iterator[Loopback]:
    made = Loopback(ServedStudent(student))
    yield made
    made.stop()


@pytest.fixture
def play(server: Loopback) -> ServedStudent:
    assert isinstance(server.answer, ServedStudent)
    server.answer.mode, server.answer.hits = "content", 0
    return server.answer


@pytest.fixture(scope="module")
def spread() -> Iterator[Engine]:
    """The student in a worker of a Ray cluster that is started here."""
    pytest.importorskip("ray", reason="made with an older `make setup`")
    inner = {"kind": "transformers", "batch_size": 2}
    settings = RaySettings.model_validate({"address": "local", "workers": 1, "engine": inner})
    made = settings.open(Subject(StudentSettings(device="cpu"), PromptSettings()))
    yield made
    asyncio.run(made.close())


@pytest.fixture(params=["transformers", "ray", "openai", "openai-reasoning"])
async def engine(
    request: pytest.FixtureRequest, student: TransformersEngine, server: Loopback, play: ServedStudent
) -> AsyncIterator[Engine]:
    if request.param == "transformers":
        yield student
        return
    if request.param == "ray":
        yield request.getfixturevalue("spread")
        return
    play.mode = "reasoning" if request.param.endswith("reasoning") else "content"
    made = OpenAIEngine("mini", base_url=server.url, max_retries=2, thinks=True, prefilled=True)
    yield made
    await made.close()


async def test_every_request_gets_one_completion(engine: Engine) -> None:
    found = await collect(engine, [request(i) for i in range(3)])
    assert sorted(found) == ["r0", "r1", "r2"]
    for outcome in found.values():
        assert isinstance(outcome, Completion)
        assert outcome.closed and outcome.finish_reason == "stop"
        assert "</think>" not in outcome.thinking + outcome.answer
        assert "<|im_end|>" not in outcome.answer and "\\boxed" in outcome.answer
        assert outcome.usage.prompt_tokens > 20
        assert 30 < outcome.usage.completion_tokens <= 400


async def test_the_same_seed_gives_the_same_completion_and_another_another(engine: Engine) -> None:
    first = await collect(engine, [request(0), request(1)])
    again = await collect(engine, [request(0), request(1)])
    assert first == again
    changed = request(0).model_copy(update={"seed": 12345})
    assert (await collect(engine, [changed]))["r0"] != first["r0"]


async def test_the_token_limit_cuts_and_says_so(engine: Engine) -> None:
    outcome = (await collect(engine, [request(0, max_new_tokens=12)]))["r0"]
    assert isinstance(outcome, Completion)
    assert outcome.finish_reason == "length" and outcome.usage.completion_tokens == 12
    assert outcome.answer == "" and not outcome.closed and outcome.thinking


async def test_no_request_is_no_work(engine: Engine) -> None:
    assert await collect(engine, []) == {}
    assert engine.identity and engine.name


async def test_thinking_tokens_come_from_ids(student: TransformersEngine) -> None:
    outcome = (await collect(student, [request(0)]))["r0"]
    assert isinstance(outcome, Completion)
    counted = outcome.usage.thinking_tokens
    assert counted is not None and outcome.usage.answer_tokens is not None
    text = student.tokenizer(outcome.thinking + "\n</think>", add_special_tokens=False)["input_ids"]
    assert counted == len(text)
    assert counted + outcome.usage.answer_tokens == outcome.usage.completion_tokens


async def test_batches_are_planned_over_all_requests(student: TransformersEngine) -> None:
    requests = [request(i) for i in range(3)]
    assert student.batches(requests) == student.batches(requests[::-1])
    assert [len(b) for b in student.batches(requests)] == [2, 1]


async def test_a_busy_endpoint_is_asked_again(server: Loopback, play: ServedStudent) -> None:
    play.mode = "busy"
    engine = OpenAIEngine("mini", base_url=server.url, max_retries=2)
    assert isinstance((await collect(engine, [request(0)]))["r0"], Completion)
    assert play.hits == 2
    await engine.close()


async def test_failures_are_records_and_a_refused_key_stops(server: Loopback, play: ServedStudent) -> None:
    play.mode = "bad"
    engine = OpenAIEngine("mini", base_url=server.url, max_retries=0)
    with pytest.raises(EngineError, match=r"refuses every request \(400\): no such parameter.*endpoint.omit"):
        await collect(engine, [request(0)])
    play.mode = "forbidden"
    with pytest.raises(EngineError, match="refused the key"):
        await collect(engine, [request(0)])
    await engine.close()
    gone = OpenAIEngine("mini", base_url="http://127.0.0.1:9/v1", max_retries=0)
    failure = (await collect(gone, [request(0)]))["r0"]
    assert isinstance(failure, Failure) and failure.kind == "connection" and failure.retry
    await gone.close()


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        OpenAIEngine("gpt-4o")


def test_a_missing_model_is_explained() -> None:
    with pytest.raises(EngineError, match="cannot load the student"):
        TransformersEngine("/nowhere/at-all")


def test_a_prompt_beyond_the_context_is_refused(student: TransformersEngine) -> None:
    long = Request(
        id="r",
        messages=(Message(role="user", content="Ana has 1 card. " * 900),),
        sampling=Sampling(),
        seed=1,
    )

    async def go() -> None:
        await collect(student, [long])

    with pytest.raises(EngineError, match="2048-token context"):
        asyncio.run(go())
