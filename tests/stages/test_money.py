"""Budgets and estimates: nothing is spent that was not allowed, and a stop is a pause."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drp.engines.base import Message, Request, Sampling
from drp.engines.budget import Budget
from drp.engines.openai_engine import OpenAIEngine
from drp.engines.pricing import Price
from drp.errors import BudgetError, TeacherError
from drp.records import Trace, Usage
from drp.runs.journal import Journal
from drp.teachers.edit_script import EditScriptSettings, EditScriptTeacher
from drp.teachers.load import CHARS_PER_TOKEN, lengths_of, load_of
from drp.teachers.replies import ReplyStore, StoredReply, WastedReply, read_replies
from drp.text.units import split_units
from tests.acting import act
from tests.loopback import Loopback, completion

TOKENS = (900, 40)
PRICE = "prune.price={input: 1, output: 10}"
COST = (900 * 1 + 40 * 10) / 1e6  # of one reply


@pytest.fixture
def server() -> Iterator[Loopback]:
    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        return completion({"content": act(body)}, tokens=TOKENS)

    made = Loopback(answer)
    yield made
    made.stop()


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    thinking = "Okay. So 3 * 24 = 72.\n\nWait, let me verify. 24 + 24 + 24 = 72. Yes.\n\nSo the answer is 72."
    rows = [
        {
            "question": f"What is 3 times 24? ({i})",
            "gold": "72",
            "thinking": thinking,
            "answer": "\\boxed{72}",
        }
        for i in range(12)
    ]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return file


def drp(*arguments: str) -> tuple[int, str]:
    call = [sys.executable, "-c", "from drp.cli.app import main; main()", *arguments]
    done = subprocess.run(
        call, capture_output=True, text=True, timeout=120, env={"PATH": "/usr/bin:/bin", "COLUMNS": "100"}
    )
    return done.returncode, done.stdout + done.stderr


def common(traces: Path, server: Loopback) -> list[str]:
    return [
        "--traces", str(traces), "--out", str(traces.parent / "run"), "prune.teacher=edit_script",
        f"prune.teacher.endpoint.base_url={server.url}", "prune.teacher.model=m", PRICE,
    ]  # fmt: skip


def test_a_budget_stops_cleanly_and_goes_on(traces: Path, server: Loopback) -> None:
    options = common(traces, server)
    code, said = drp(
        "prune", *options, f"prune.budget_usd={6 * COST + 0.006}", "prune.teacher.endpoint.concurrency=4"
    )
    assert code == 1 and "Raise prune.budget_usd and run the same command again" in said.replace("\n", " ")
    run = traces.parent / "run"
    spent = len(server.bodies)
    assert 6 <= spent < 12 and spent * COST <= 6 * COST + 0.006
    manifest = json.loads((run / "prune" / "manifest.json").read_text())
    assert not manifest["complete"] and manifest["counts"]["done"] == spent
    assert json.loads((run / "prune" / "spend.json").read_text())["usd"] == pytest.approx(spent * COST)
    code, said = drp("prune", *options, "prune.budget_usd=1")
    assert code == 0 and len(server.bodies) == 12
    assert "12 replies, $0.02 (10,800 tokens in, 480 out)" in re.sub(r"\s+", " ", said)


def test_a_budget_needs_a_price(traces: Path, server: Loopback) -> None:
    options = [o for o in common(traces, server) if o != PRICE]
    code, said = drp("prune", *options, "prune.budget_usd=1")
    assert code == 1 and "set price={input: …, output: …}" in said.replace("\n", " ") and not server.bodies


def test_an_estimate_spends_nothing_and_a_probe_pays_once(traces: Path, server: Loopback) -> None:
    options = common(traces, server)
    code, said = drp("estimate", *options)
    assert code == 0 and not server.bodies, said
    assert "→ edit_script" in said and "two_stage" in said and "12 traces" in said
    code, said = drp("estimate", *options, "--probe", "4")
    assert code == 0 and len(server.bodies) == 4, said
    # 12 requests of 900 and 40 tokens, exactly: scaled up from what the endpoint reported.
    assert re.search(r"12 +10,800 +480 +0\.02 +0\.01", said), said
    code, said = drp("estimate", *options, "--probe", "4")
    assert code == 0 and len(server.bodies) == 4 and "10,800" in said
    code, _ = drp("prune", *options)
    assert code == 0 and len(server.bodies) == 12


def test_estimates_say_what_is_missing(tmp_path: Path) -> None:
    code, said = drp("estimate", "--out", str(tmp_path / "r"))
    assert code == 1 and "costs nothing" in said
    code, said = drp(
        "estimate", "prune.teacher=two_stage", "--out", str(tmp_path / "r"), "--trace-tokens", "2000"
    )
    assert (
        code == 0 and "assuming 2,000 tokens each" in said and "320 traces, gpt-4o" in said.replace("\n", " ")
    )
    code, said = drp("estimate", "prune.teacher=two_stage", "--out", str(tmp_path / "r"), "--probe", "2")
    assert code == 1 and "a probe needs traces" in said


def test_the_estimate_of_prompts_is_near_the_real_requests(real_data: Path) -> None:
    from drp.benchmarks.files import read_traces

    settings = EditScriptSettings()
    teacher = EditScriptTeacher(None, settings)  # type: ignore[arg-type]  # only builds requests
    for name in ("r1_qwen_1.5b.math_train", "qwen3_4b_thinking.math_train"):
        traces: list[Trace] = read_traces(real_data / "traces" / f"{name}.jsonl")[:40]
        real = expected = 0.0
        for trace in traces:
            asked = teacher.requests(trace, split_units(trace.thinking))
            real += sum(len(m.content) for r in asked for m in r.messages) / CHARS_PER_TOKEN
            expected += load_of(settings.calls(lengths_of(trace), writes_answer=False)).going_in
        assert expected == pytest.approx(real, rel=0.12), name


async def test_a_request_that_may_not_fit_waits_for_those_under_way() -> None:
    budget = Budget(Price(input=0, output=10.0), limit=0.0015)
    request = Request(
        id="", messages=(Message(role="user", content="x"),), sampling=Sampling(max_new_tokens=100), seed=0
    )  # fmt: skip
    async with budget.room_for(request):  # holds 0.001
        import asyncio

        async def next_one() -> None:
            async with budget.room_for(request):
                budget.count(Usage(completion_tokens=100), batch=False)

        waiting = asyncio.create_task(next_one())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        budget.count(Usage(completion_tokens=10), batch=False)  # it cost less than it might have
    await asyncio.wait_for(waiting, 1)
    assert budget.spend.usd == pytest.approx(0.0011)
    with pytest.raises(BudgetError, match=r"budget of \$0.00"):
        async with budget.room_for(request):
            pass


async def test_a_reply_that_cannot_be_read_is_spent_all_the_same(tmp_path: Path) -> None:
    """It was paid, but neither the budget nor a later process knew of it."""
    broken = True

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        if broken:
            return web.json_response({"choices": 3, "usage": {"prompt_tokens": 900, "completion_tokens": 40}})
        return completion({"content": "fine"}, tokens=TOKENS)

    server, price = Loopback(answer), Price(input=1, output=10)
    asked = Request(
        id="", messages=(Message(role="user", content="q"),), sampling=Sampling(max_new_tokens=50), seed=0
    )

    def open_store() -> ReplyStore:
        engine = OpenAIEngine("m", base_url=server.url, max_retries=0)
        return ReplyStore(tmp_path / "replies.jsonl", engine, Budget(price, 10.0))

    store = open_store()
    with pytest.raises(TeacherError) as caught:
        await store.ask(asked)
    assert caught.value.retry and store.budget.spend.usd == pytest.approx(COST)
    await store.close()
    broken, store = False, open_store()
    assert store.budget.spend.usd == pytest.approx(COST)
    assert (await store.ask(asked)).completion.answer == "fine"
    assert store.budget.spend.usd == pytest.approx(2 * COST)
    await store.close()
    assert [type(reply) for reply in read_replies(tmp_path / "replies.jsonl")] == [WastedReply, StoredReply]
    server.stop()


async def test_a_reply_is_synced_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushed, it was the operating system's alone: a power cut took what had been paid for."""
    synced: list[int] = []
    path = tmp_path / "replies.jsonl"
    sync = Journal.sync
    monkeypatch.setattr(
        Journal, "sync", lambda self: (sync(self), synced.append(path.read_bytes().count(b"\n")))
    )

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        return completion({"content": "fine"}, tokens=TOKENS)

    server = Loopback(answer)
    store = ReplyStore(path, OpenAIEngine("m", base_url=server.url))

    async def ask(number: int) -> int:
        message = Message(role="user", content=f"q{number}")
        await store.ask(Request(id="", messages=(message,), sampling=Sampling(max_new_tokens=50), seed=0))
        return number

    for asked in asyncio.as_completed([ask(n) for n in range(40)]):
        await asked
        assert synced
    assert synced[-1] == 40 and len(synced) <= 40
    await store.close()
    server.stop()
