"""The batch engine against files and batches on loopback: partial failure, expiry, restarts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drp.engines.base import Message, Request, Sampling
from drp.engines.batch_engine import BatchEngine, BatchState
from drp.engines.budget import Budget
from drp.engines.openai_engine import OpenAIEngine
from drp.engines.pricing import Price
from drp.errors import EngineError, TeacherError
from drp.runs.journal import Journal, read_records
from drp.teachers.replies import ReplyStore
from tests.batch_server import BatchServer
from tests.loopback import Loopback, failure


def answer(body: dict[str, Any]) -> dict[str, Any]:
    text = f"re: {body['messages'][0]['content']}"
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@pytest.fixture
def server() -> Iterator[BatchServer]:
    made = BatchServer(answer)
    yield made
    made.stop()


def open_store(server: BatchServer, folder: Path, **options: Any) -> ReplyStore:
    settings = {"poll_s": 0.05, "settle_s": 0.1} | options
    engine = BatchEngine(OpenAIEngine("m", base_url=server.url), folder / "batches.jsonl", **settings)
    return ReplyStore(folder / "replies.jsonl", engine, Budget(Price(input=1, output=10), batch=True))


def request(index: int) -> Request:
    message = Message(role="user", content=f"q{index}")
    return Request(id="", messages=(message,), sampling=Sampling(max_new_tokens=50), seed=0)


async def ask_all(store: ReplyStore, count: int) -> list[str]:
    """Return answers, or the kinds of the failures."""

    async def one(index: int) -> str:
        try:
            return (await store.ask(request(index))).completion.answer
        except TeacherError as error:
            return error.kind

    return await asyncio.gather(*(one(i) for i in range(count)))


GOOD = [f"re: q{i}" for i in range(12)]


async def test_all_that_is_asked_meanwhile_goes_as_one_batch(server: BatchServer, tmp_path: Path) -> None:
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    assert [len(s) for s in server.submitted] == [12]
    assert store.budget.spend.usd == pytest.approx(12 * 0.5 * (100 * 1 + 10 * 10) / 1e6)
    assert store.budget.spend.batched == 12
    await store.close()
    states = list(read_records(tmp_path / "batches.jsonl", BatchState))
    assert [s.state for s in states] == ["uploaded", "submitted", "collected"]


async def test_only_what_failed_or_expired_is_submitted_again(server: BatchServer, tmp_path: Path) -> None:
    fates = {0: {1: "expired", 4: "error", 7: "missing", 9: "refused"}, 1: {0: "expired"}}
    server.fate = lambda batch, position: fates.get(batch, {}).get(position, "ok")
    store = open_store(server, tmp_path)
    found = await ask_all(store, 12)
    assert found == [*GOOD[:9], "http_400", *GOOD[10:]]
    assert [len(s) for s in server.submitted] == [12, 3, 1]
    assert set(server.paid.values()) == {1} and len(server.paid) == 11
    await store.close()


async def test_what_never_works_is_given_up_and_may_be_asked_again_later(
    server: BatchServer, tmp_path: Path
) -> None:
    server.fate = lambda batch, position: "expired" if position == 0 else "ok"
    store = open_store(server, tmp_path, max_tries=2)
    assert await ask_all(store, 3) == ["batch_expired", *GOOD[1:3]]
    assert [len(s) for s in server.submitted] == [3, 1]
    await store.close()


async def test_a_restart_adopts_the_running_batch(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 10**9
    store = open_store(server, tmp_path)
    asking = asyncio.create_task(ask_all(store, 12))
    while not server.batches:
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await store.close()
    server.polls = 0
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    assert len(server.submitted) == 1 and set(server.paid.values()) == {1}
    await store.close()
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD and len(server.submitted) == 1
    await store.close()


async def test_replies_hold_any_character_as_it_is(server: BatchServer, tmp_path: Path) -> None:
    """Some providers write U+2028 unescaped; taken for the end of a line, it broke every rerun, though all was paid.

    Half an emoji, where a reply was cut, is an escape that no strict parser takes.
    """
    server.ascii = False
    server.answer = lambda body: answer(
        {"messages": [{"content": "one\u2028two\x85three\u2029four \U0001f600"}]}
    )
    store = open_store(server, tmp_path)
    assert await ask_all(store, 2) == ["re: one\u2028two\x85three\u2029four \U0001f600"] * 2
    await store.close()
    server.ascii = True
    server.answer = lambda body: answer({"messages": [{"content": "cut \ud83d"}]})
    store = open_store(server, tmp_path / "half")
    assert await ask_all(store, 2) == ["re: cut \ufffd"] * 2
    assert len(server.submitted) == 2
    await store.close()


async def test_one_damaged_line_costs_its_own_request_only(server: BatchServer, tmp_path: Path) -> None:
    """One line that is no JSON was a traceback on every rerun; now its request is asked again, and it alone."""

    def garble(lines: list[str]) -> list[str]:
        return [line[:40] if n == 1 and len(lines) == 12 else line for n, line in enumerate(lines)]

    server.garbled = garble
    said: list[str] = []
    store = open_store(server, tmp_path, say=said.append)
    assert await ask_all(store, 12) == GOOD
    assert [len(s) for s in server.submitted] == [12, 1]
    assert any("line 2 of a file of its replies cannot be read" in line for line in said)
    await store.close()


@pytest.mark.parametrize("created", [True, False], ids=["created-unrecorded", "only-uploaded"])
async def test_a_crash_between_upload_and_record_pays_once(
    server: BatchServer, tmp_path: Path, created: bool
) -> None:
    """The file is up and the process dies: before the batch was made, or before its id was written."""
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    await store.close()
    (tmp_path / "replies.jsonl").unlink()  # as if it had died before the first reply came
    uploaded = next(read_records(tmp_path / "batches.jsonl", BatchState))
    (tmp_path / "batches.jsonl").unlink()
    with Journal(tmp_path / "batches.jsonl") as journal:
        journal.append(uploaded)
    if not created:
        server.batches.clear()
        server.paid.clear()
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    assert len(server.batches) == 1 and set(server.paid.values()) == {1}
    await store.close()


async def test_a_batch_whose_making_got_no_answer_is_not_made_twice(
    server: BatchServer, tmp_path: Path
) -> None:
    """Trying again blindly made, and paid, a second batch of the same file."""
    server.silent = 1
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    assert len(server.submitted) == 1 and set(server.paid.values()) == {1}
    await store.close()


async def test_a_batch_that_is_refused_whole_stops(server: BatchServer, tmp_path: Path) -> None:
    """A wrong model name was written down as the end of every item."""
    server.fate = lambda batch, position: "unknown"
    store = open_store(server, tmp_path)
    with pytest.raises(EngineError, match="model's name there, 'm'"):
        await ask_all(store, 12)
    await store.close()
    server.fate = lambda batch, position: "ok"
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    await store.close()


async def test_replies_nobody_asks_for_now_are_kept_for_later(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 10**9
    store = open_store(server, tmp_path)
    asking = asyncio.create_task(ask_all(store, 12))
    while not server.batches:
        await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await store.close()
    server.polls = 0
    store = open_store(server, tmp_path)
    assert await ask_all(store, 2) == GOOD[:2]  # a smaller run
    await store.close()
    store = open_store(server, tmp_path)
    assert await ask_all(store, 12) == GOOD
    assert set(server.paid.values()) == {1} and len(server.submitted) == 1
    await store.close()


async def test_large_queues_are_split(server: BatchServer, tmp_path: Path) -> None:
    store = open_store(server, tmp_path, max_requests=5)
    assert await ask_all(store, 12) == GOOD
    assert [len(s) for s in server.submitted] == [5, 5, 2]
    await store.close()


async def test_a_batch_that_is_not_accepted_says_why(server: BatchServer, tmp_path: Path) -> None:
    server.broken = "Enqueued token limit reached"
    store = open_store(server, tmp_path)
    with pytest.raises(EngineError, match=r"Enqueued token limit.*batch_requests"):
        await ask_all(store, 3)
    await store.close()


async def test_an_endpoint_without_batches_is_named(tmp_path: Path) -> None:
    async def nothing(_: dict[str, Any]) -> Any:
        return failure(500, "")

    plain = Loopback(nothing)
    engine = BatchEngine(OpenAIEngine("m", base_url=plain.url), tmp_path / "b.jsonl", settle_s=0.05)
    store = ReplyStore(tmp_path / "r.jsonl", engine)
    with pytest.raises(EngineError, match="batch=false"):
        await store.ask(request(0))
    await store.close()
    plain.stop()
