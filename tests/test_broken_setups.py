"""Set-ups that are broken as users' set-ups are: what cannot end well does not look as if it had."""

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drp.benchmarks.files import read_rows
from drp.cli.app import main
from drp.engines.identity import model_identity, resolve_model
from drp.errors import out_of_memory
from drp.grading import VERSION as GRADER
from drp.records import Trace
from drp.runs.folder import RunFolder, StageFolder
from tests.acting import act
from tests.loopback import Loopback, completion, failure

ROOT = Path(__file__).resolve().parent.parent
DRP = [sys.executable, "-c", "from drp.cli.app import main; main()"]
MINI = str(ROOT / "recipes" / "mini.yaml")
SMALL = ["problems.0.count=24", "evaluate.benchmarks=[{benchmark: mini-gsm, count: 8}]", "train.epochs=1"]
TRACE = {
    "gold": "72",
    "thinking": "Okay, let me see. Tom has 3 times as many, so 3 * 24 = 72.\n\n"
    "Wait, let me verify. 24 + 24 + 24 = 72. Yes, that's right.\n\nSo the answer is 72.",
    "answer": "The answer is \\boxed{72}.",
}
QUESTION = "Mia has 24 shells. Tom has 3 times as many shells as Mia. How many shells does Tom have, day {}?"


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def drp(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, where torch is loaded already."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        for name in [name for name in os.environ if name.endswith("_API_KEY")]:
            patch.delenv(name)
        patch.setattr(sys, "argv", ["drp", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def refused(result: subprocess.CompletedProcess[str], *said: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for part in said:
        assert part in result.stderr, result.stderr


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("broken") / "run"
    result = drp("generate", MINI, *SMALL, "--out", str(out))
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    file = tmp_path / "traces.jsonl"
    rows = [TRACE | {"question": QUESTION.format(n)} for n in range(8)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def moody() -> Iterator[Loopback]:
    """A teacher that prunes the traces of days 0 and 1, and is overloaded for the others."""

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        good = any(f"day {n}?" in json.dumps(body) for n in (0, 1)) or not server.answer_few
        return completion({"content": act(body)}) if good else failure(503, "overloaded")

    server: Any = Loopback(answer)
    server.answer_few = True
    yield server
    server.stop()


def test_one_ctrl_c_stops_generation_at_once_and_loses_nothing(tmp_path: Path) -> None:
    """The event loop only cancels its task, which computing never looks at: it took the rest of the stage."""
    command = [
        "generate",
        MINI,
        "problems.0.count=200",
        "generate.engine.batch_size=10",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        [*DRP, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )  # fmt: skip
    log = tmp_path / "generate" / "records.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    on_file = len(list(read_rows(log)))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues where this one left off" in errors and "Traceback" not in errors
    # How many seconds it takes depends on what else the machine does: no further batch may have been decoded.
    assert on_file <= len(list(read_rows(log))) <= on_file + 20 < 200


def test_nobody_listening_is_an_error_before_anything_starts(tmp_path: Path, traces: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    teacher = ["prune.teacher=edit_script", f"prune.teacher.endpoint.base_url={url}"]
    result = drp("prune", "--traces", str(traces), "--out", str(tmp_path / "out"), *teacher)
    refused(result, "teacher's endpoint", "nobody answers at", "is it running?")
    result = drp("run", MINI, *SMALL, *teacher, "--out", str(tmp_path / "run"))
    refused(result, "nothing was started", "nobody answers at")
    assert not (tmp_path / "run" / "generate").exists()


def test_a_missing_key_stops_a_run_before_hours_of_generation(tmp_path: Path) -> None:
    result = drp("run", MINI, *SMALL, "prune.teacher=edit_script", "--out", str(tmp_path / "run"))
    refused(result, "nothing was started", "OPENAI_API_KEY")
    assert not (tmp_path / "run" / "generate").exists()


def test_everything_missing_is_told_at_once_and_dry_run_shows_the_same(tmp_path: Path) -> None:
    broken = [
        "student.device=cuda", "prune.teacher=edit_script",
        "evaluate.benchmarks=[{benchmark: mine, path: absent.jsonl}]",
    ]  # fmt: skip
    result = drp("run", MINI, *broken, "--out", str(tmp_path / "run"))
    refused(result, "student.device=cuda", "OPENAI_API_KEY", "absent.jsonl")
    dry = drp("run", MINI, *broken, "--dry-run")
    assert (
        dry.returncode == 0 and dry.stdout.count("PROBLEM") == 3 and "3 problem(s) would stop" in dry.stdout
    )


def test_training_problems_that_are_evaluated_on_are_named(tmp_path: Path) -> None:
    rows = [json.dumps({"question": f"{n} + 1 = ?", "gold": str(n + 1)}) + "\n" for n in range(4)]
    (tmp_path / "p.jsonl").write_text("".join(rows))
    same = f"[{{benchmark: mine, path: {tmp_path / 'p.jsonl'}}}]"
    dry = drp("run", MINI, f"problems={same}", f"evaluate.benchmarks={same}", "--dry-run")
    assert "warning" in dry.stdout and "4 problems are trained on and evaluated on too" in dry.stdout


def test_a_run_stops_at_a_stage_with_items_pending(tmp_path: Path, traces: Path, moody: Any) -> None:
    """2 of 8 pruned and 6 to be tried again is no finished stage: exit 1, the reason and its file."""
    teacher = [
        "prune.teacher=edit_script", f"prune.teacher.endpoint.base_url={moody.url}", "prune.teacher.endpoint.max_retries=0",
    ]  # fmt: skip
    out = tmp_path / "out"
    command = ["prune", "--traces", str(traces), "--out", str(out), *teacher]
    refused(drp(*command), "6 of 8 items have no outcome yet", "503", "errors.jsonl", "tries them again")
    moody.answer_few = False
    again = drp(*command)
    assert again.returncode == 0 and "8 of 8 done" in again.stdout, again.stdout + again.stderr


@pytest.mark.parametrize(
    ("status", "code", "said", "mend"),
    [
        (404, "model_not_found", "the model's name there, 'wrong'", "prune.teacher.model=right"),
        (400, "unsupported_parameter", "endpoint.omit", "prune.teacher.endpoint.omit=[temperature]"),
        (429, "insufficient_quota", "Top it up", "prune.teacher.model=wrong"),
    ],
)
def test_a_refused_set_up_leaves_nothing_final_behind(
    tmp_path: Path, traces: Path, status: int, code: str, said: str, mend: str
) -> None:
    """`0 of 30 done, 30 left out`, complete: and with the setting mended the same command asked for nothing."""
    broken = True

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        if broken:
            return web.json_response({"error": {"message": "no", "code": code}}, status=status)
        return completion({"content": act(body)})

    server = Loopback(answer)
    out = tmp_path / "out"
    command = [
        "prune", "--traces", str(traces), "--out", str(out), "prune.teacher=edit_script",
        f"prune.teacher.endpoint.base_url={server.url}",
    ]  # fmt: skip
    refused(drp(*command, "prune.teacher.model=wrong"), said)
    folder = StageFolder(out / "prune", "prune")
    manifest = folder.manifest()
    assert manifest and not manifest.complete and not folder.failures()
    broken = False
    mended = drp(*command, mend)
    assert mended.returncode == 0 and "8 of 8 done" in mended.stdout, mended.stdout + mended.stderr
    server.stop()


def test_what_an_endpoint_refused_is_asked_of_another(tmp_path: Path, traces: Path) -> None:
    """A refusal of one text is final for the endpoint that gave it, not for the next one."""
    strict = True

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        if strict and "day 3?" in json.dumps(body):
            return failure(400, "flagged by our content policy")
        return completion({"content": act(body)})

    server = Loopback(answer)
    command = [
        "prune", "--traces", str(traces), "--out", str(tmp_path / "out"), "prune.teacher=edit_script",
        "prune.teacher.model=m",
    ]  # fmt: skip
    first = drp(*command, f"prune.teacher.endpoint.base_url={server.url}")
    assert first.returncode == 0 and "7 of 8 done, 1 left out" in first.stdout, first.stdout + first.stderr
    asked, strict = len(server.bodies), False
    assert (
        drp(*command, f"prune.teacher.endpoint.base_url={server.url}").returncode == 0
        and len(server.bodies) == asked
    )
    other = drp(*command, f"prune.teacher.endpoint.base_url={server.url.replace('127.0.0.1', 'localhost')}")
    assert "8 of 8 done" in other.stdout and len(server.bodies) > asked
    server.stop()


def test_an_endpoint_that_refuses_every_item_has_not_finished_anything(tmp_path: Path, traces: Path) -> None:
    """With a teacher whose context holds no trace, all of them were left out for good, and the stage was complete."""

    async def answer(body: dict[str, Any]) -> web.StreamResponse:
        said = "This model's maximum context length is 100 tokens and your request has 400 input tokens"
        return failure(400, said) if "day" in json.dumps(body) else completion({"content": "2"})

    server = Loopback(answer)
    command = [
        "prune", "--traces", str(traces), "--out", str(tmp_path / "out"), "prune.teacher=edit_script",
        f"prune.teacher.endpoint.base_url={server.url}", "prune.teacher.model=m",
    ]  # fmt: skip
    refused(drp(*command), "8 of 8 items have no outcome yet", "maximum context length")

    async def larger(body: dict[str, Any]) -> web.StreamResponse:
        return completion({"content": act(body)})

    server.answer = larger  # the same server, started with a larger context
    assert "8 of 8 done" in drp(*command).stdout
    server.stop()


def test_training_refuses_what_is_not_pruned_yet_unless_told_otherwise(generated: Path) -> None:
    """`drp prune --limit 10` and `drp train` used to train on ten traces and call that complete."""
    assert drp("prune", str(generated), "--limit", "10").returncode == 0
    refused(drp("train", str(generated)), "prune is incomplete: 14 of 24", "--partial")
    assert not (generated / "train").exists()
    partly = drp("train", str(generated), "--partial")
    assert partly.returncode == 0 and "going on without" in partly.stdout, partly.stderr


def test_nothing_to_train_on_names_what_became_of_the_traces(generated: Path, tmp_path: Path) -> None:
    strict = ["prune.checks.min_own_share=1.0", "prune.checks.max_length_ratio=0.01"]
    assert drp("prune", str(generated), *strict).returncode == 0
    refused(drp("train", str(generated), *strict), "no pruned trace was accepted", "prune/records.jsonl")


def test_a_run_folder_is_its_own_recipe(generated: Path) -> None:
    """Overrides given once need not be repeated, and a refused command leaves the recipe alone."""
    before = (generated / "recipe.json").read_bytes()
    refused(drp("prune", MINI, "--out", str(generated), "generate.seed=9"), "made with other settings")
    assert (generated / "recipe.json").read_bytes() == before
    result = drp("prune", "--out", str(generated), "prune.answer=short")
    assert result.returncode == 0, result.stderr


def test_a_system_prompt_the_template_refuses_is_one_sentence(tmp_path: Path) -> None:
    student = tmp_path / "gemma-like"
    student.mkdir()
    for file in Path(resolve_model("mini")).iterdir():
        (student / file.name).write_bytes(file.read_bytes())
    template = student / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refusal + template.read_text())
    result = drp(
        "run", MINI, f"student.model={student}", "prompt.system=Be brief.", "--out", str(tmp_path / "r")
    )
    refused(result, "System role not supported", "prompt.system=null")


@pytest.mark.long
def test_a_full_disk_is_one_sentence_and_keeps_what_was_finished(tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: the system refuses in the same place."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000))\n"
        "from drp.cli.app import main\nmain()\n"
    )
    command = [
        "generate",
        MINI,
        "problems.0.count=30",
        "generate.engine.batch_size=5",
        "--out",
        str(tmp_path),
    ]
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip
    refused(result, "records.jsonl: the disk is full", "run the same command again")
    left = len(StageFolder(tmp_path / "generate", "generate").records(Trace))
    assert 0 < left < 30
    assert drp(*command).returncode == 0
    assert len(StageFolder(tmp_path / "generate", "generate").records(Trace)) == 30


def test_memory_that_does_not_suffice_is_one_sentence(tmp_path: Path) -> None:
    """Torch's own error was a traceback that named no setting."""
    code = (
        "import resource, drp.engines.transformers_engine, drp.pipeline, drp.cli.progress  # what is loaded anyway\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "most = now + (700 << 20)  # room for the model and for threads, not for so many rows\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "from drp.cli.app import main\nmain()\n"
    )
    command = [
        "generate",
        MINI,
        "problems.0.count=1000",
        "generate.engine.batch_size=1000",
        "--out",
        str(tmp_path),
    ]
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip
    refused(result, "allocate memory", "generate.engine.batch_size")  # torch's words, or the system's own


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (MemoryError(), True),
        (OSError(28, "No space left on device"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_whoever_runs_out_of_memory_first_is_understood(error: Exception, told: bool) -> None:
    """Where a limit strikes is chance: a student whose loading found no room for a thread was called a checkpoint that cannot be read."""
    assert out_of_memory(error) == told


def test_a_change_in_the_middle_of_a_large_file_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only windows of large files were hashed, and some files that decide not at all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    large = model / "model.safetensors"
    with large.open("wb") as file:
        file.truncate(200 << 20)
    seen = {model_identity(str(model))["content"]}
    with large.open("r+b") as file:
        file.seek((100 << 20) + 12345)
        file.write(b"x")
    os.utime(large, ns=(1, 1))
    seen.add(model_identity(str(model))["content"])
    for name in ("pytorch_model.bin", "tokenizer.model", "special_tokens_map.json"):
        (model / name).write_text("1")
        seen.add(model_identity(str(model))["content"])
    assert len(seen) == 5
    (model / "training_args.bin").write_text("says nothing about answers")
    (model / "README.md").write_text("nor does this")
    assert model_identity(str(model))["content"] in seen


def test_what_an_earlier_grader_judged_is_judged_again(generated: Path) -> None:
    """An upgrade of the grader used to re-do nothing, and comparisons mixed the verdicts of both."""
    folder = StageFolder(generated / "generate", "generate")
    manifest, records = folder.manifest(), folder.records(Trace)
    assert manifest and manifest.graded_by == GRADER
    wrong = [trace.model_copy(update={"correct": not trace.correct}) for trace in records]
    folder.records_path.write_text("".join(t.model_dump_json() + "\n" for t in wrong))
    folder.graded(GRADER - 1)
    result = drp("generate", str(generated))
    assert f"{len(records)} verdicts changed" in result.stdout
    assert folder.records(Trace) == records


def test_on_another_number_format_nothing_is_mixed_and_nothing_redone(generated: Path) -> None:
    """`auto` is bfloat16 on a GPU: traces drawn there stand, but none are added to them on a CPU."""
    folder = StageFolder(generated / "generate", "generate")
    manifest = json.loads(folder.manifest_path.read_text())
    assert manifest["settings"]["student"]["dtype"] == "float32"
    there = {**manifest["settings"], "student": {**manifest["settings"]["student"], "dtype": "bfloat16"}}
    with RunFolder(generated) as run:
        for file in run.open_stage("generate", there)[0].path.parent.glob("superseded/generate-*/*.jsonl"):
            shutil.copy(file, folder.path / file.name)
    folder.update(complete=True, counts={})
    folder.graded(GRADER)
    records = folder.records_path.read_bytes()
    assert drp("prune", str(generated)).returncode == 0
    assert folder.records_path.read_bytes() == records
    more = drp("generate", str(generated), "problems.0.count=25")
    assert "dtype: bfloat16 → float32" in more.stdout and len(folder.records(Trace)) == 25


def test_interrupts_are_left_to_whoever_handles_them() -> None:
    from drp.runs.concurrency import run_until_done

    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGINT, mine)
    try:
        assert run_until_done(asyncio.sleep(0, 7)) == 7
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
