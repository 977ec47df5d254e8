"""A thousand traces, three faults in ten requests, and a SIGKILL in the middle: nothing lost, nothing paid twice."""

import asyncio
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drp.records import Failure, PrunedTrace
from drp.runs.journal import read_records
from drp.teachers.replies import StoredReply, read_replies
from tests.acting import act
from tests.loopback import CutConnectionError, Loopback, completion, failure

TRACES = 1_000
CONCURRENCY = 32
FAULTS = (
    "429", "429-after", "500", "hang", "cut", "truncated", "html",  # nothing is delivered
    "prose", "outside", "overlap", "gap", "length", "refusal", "filter", "reasoning",  # delivered, and paid
)  # fmt: skip


class FaultyTeacher:
    """Acts well in seven cases of ten; counts what it delivered, by the request's content."""

    def __init__(self) -> None:
        self.random = random.Random(5)
        self.asked: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def __call__(self, body: dict[str, Any]) -> web.StreamResponse:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.asked[key] += 1
        await asyncio.sleep(0.005)
        fault = self.random.choice(FAULTS) if self.random.random() < 0.3 else None
        if fault:
            self.faults[fault] += 1
        match fault:
            case "429":
                return failure(429, "slow down")
            case "429-after":
                return failure(429, "slow down", **{"Retry-After": "0.05"})
            case "500":
                return failure(500, "oops")
            case "hang":
                await asyncio.sleep(3600)
            case "cut":
                raise CutConnectionError
            case "truncated":
                text = '{"choices": [{"message": {"content": "1 K'
                return web.Response(text=text, content_type="application/json")
            case "html":
                return web.Response(text="<html>busy</html>", content_type="text/html")
        self.delivered[key] += 1
        lines = act(body).splitlines()
        match fault:
            case "prose":
                return completion({"content": "Let me think about what to keep here."})
            case "outside":
                return completion({"content": "900-901 K x\n" + "\n".join(lines[1:])})
            case "overlap":
                return completion({"content": "\n".join([lines[0], *lines])})
            case "gap":
                return completion({"content": "\n".join(lines[:1] + lines[2:])})
            case "length":
                return completion({"content": "\n".join(lines)[: len(lines) * 6]}, "length")
            case "refusal":
                return completion({"content": None, "refusal": "No."})
            case "filter":
                return completion({"content": ""}, "content_filter")
            case "reasoning":
                return completion({"content": "", "reasoning": "hm"}, "length")
        return completion({"content": "\n".join(lines)})


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for i in range(TRACES):
        n = i + 10
        rows.append(
            {
                "id": f"trace {i}", "gold": str(3 * n), "answer": f"The answer is \\boxed{{{3 * n}}}.",
                "question": f"Mia has {n} shells. Tom has 3 times as many. How many shells does Tom have?",
                "thinking": f"Okay, let me see. Tom has 3 times as many, so 3 * {n} = {3 * n}.\n\nWait, let me verify. "
                f"{n} + {n} + {n} = {3 * n}. Yes, that's right.\n\nSo the answer is {3 * n}.",
            }
        )  # fmt: skip
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return file


def start(traces: Path, out: Path, url: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-c", "from drp.cli.app import main; main()", "prune", "--traces", str(traces),
        "--teacher", "edit_script", "--out", str(out), f"prune.teacher.endpoint.base_url={url}", "prune.teacher.model=m",
        f"prune.teacher.endpoint.concurrency={CONCURRENCY}", "prune.teacher.endpoint.timeout_s=1",
        "prune.teacher.endpoint.max_retries=3",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.long
def test_every_trace_ends_and_no_reply_is_paid_twice(traces: Path, tmp_path: Path) -> None:
    teacher = FaultyTeacher()
    server = Loopback(teacher)
    out, replies = tmp_path / "run", tmp_path / "run" / "teacher_replies.jsonl"
    process = start(traces, out, server.url)
    deadline = time.monotonic() + 120
    while lines_in(replies) < 350:
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    asked_before = dict(teacher.asked)
    stored_before = {r.id for r in read_replies(replies) if isinstance(r, StoredReply)}
    assert 0 < lines_in(out / "prune" / "records.jsonl") < TRACES

    for _ in range(4):
        process = start(traces, out, server.url)
        said, _ = process.communicate(timeout=240)
        complete = json.loads((out / "prune" / "manifest.json").read_text())["complete"]
        assert process.returncode == (0 if complete else 1), (
            said
        )  # what is owed after all tries is no success
        if complete:
            break
    server.stop()

    pruned = list(read_records(out / "prune" / "records.jsonl", PrunedTrace))
    failures = {f.id: f for f in read_records(out / "prune" / "errors.jsonl", Failure)}
    given_up = {i for i, f in failures.items() if not f.retry}
    assert len({p.id for p in pruned}) == len(pruned)
    assert len({p.id for p in pruned} | given_up) == TRACES and not {p.id for p in pruned} & given_up
    assert sum(p.accepted for p in pruned) > 0.9 * TRACES
    assert {f.kind for i, f in failures.items() if i in given_up} <= {
        "refusal", "content_filter", "only_reasoning", "invalid_script",
    }  # fmt: skip
    assert set(teacher.faults) == set(FAULTS)
    share = sum(teacher.faults.values()) / sum(teacher.asked.values())
    assert 0.25 < share < 0.35

    stored = [r.id for r in read_replies(replies) if isinstance(r, StoredReply)]
    assert len(stored) == len(set(stored)), "a reply was stored twice"
    assert stored_before <= set(stored)
    # Only what was under way when the process was killed can have been delivered and not be on file.
    twice = {key for key, times in teacher.delivered.items() if times > 1}
    assert twice <= set(asked_before) and len(twice) <= CONCURRENCY
    assert len(teacher.delivered) == len(stored)
