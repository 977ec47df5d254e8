"""`drp prune` through the batch API: killed while it waits, partial failure and expiry, every protocol's second call."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drp.records import PrunedTrace
from drp.runs.journal import read_records
from tests.acting import act
from tests.batch_server import BatchServer


def answer(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": act(body)}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
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


def start(file: Path, out: Path, url: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-c", "from drp.cli.app import main; main()", "prune", "--traces", str(file),
        "--teacher", "two_stage", "--out", str(out), f"prune.teacher.endpoint.base_url={url}", "prune.teacher.model=m",
        "prune.teacher.endpoint.batch=true", "prune.teacher.endpoint.batch_poll_s=0.2", "prune.price={input: 1, output: 10}",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_killed_batch_run_goes_on_and_pays_once(server: BatchServer, tmp_path: Path) -> None:
    rows = [
        {
            "question": f"What is 3 times 24? ({i})", "gold": "72", "answer": "\\boxed{72}",
            "thinking": "Okay. So 3 * 24 = 72.\n\nWait, let me verify. 24 + 24 + 24 = 72. Yes.\n\nSo the answer is 72.",
        }
        for i in range(30)
    ]  # fmt: skip
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    # Of the first batch some expire and some fail; of the next one some again.
    server.fate = lambda batch, position: (
        {0: "expired", 3: "error"}.get(position % 10, "ok") if batch < 2 else "ok"
    )
    server.polls = 10**9
    process = start(file, tmp_path / "run", server.url)
    deadline = time.monotonic() + 60
    while not server.batches:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.polls = 1
    process = start(file, tmp_path / "run", server.url)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    pruned = list(read_records(tmp_path / "run" / "prune" / "records.jsonl", PrunedTrace))
    assert len(pruned) == 30 and all(p.accepted for p in pruned), said
    assert set(server.paid.values()) == {1}, "a request was answered, and paid, twice"
    assert len(server.submitted[0]) == 30 and len(server.submitted[1]) < 60
    spend = json.loads((tmp_path / "run" / "prune" / "spend.json").read_text())
    assert spend["requests"] == spend["batched"] == 60
    assert spend["usd"] == pytest.approx(60 * 0.5 * (1000 + 100 * 10) / 1e6)
