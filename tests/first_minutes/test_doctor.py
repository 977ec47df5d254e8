"""`drp doctor`: each thing that is missing is found, with its mend, in seconds and without torch."""

import json
import os
import shutil
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from drp import machine
from drp.checkup import checkup
from drp.findings import Finding
from drp.recipe import load_recipe
from drp.records import Trace, Usage
from drp.runs.folder import RunFolder

QWEN3 = (
    "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)


def looks(tmp_path: Path, *overrides: str, recipe: str = "mini") -> dict[str, Finding]:
    return {look.what: look for look in checkup(load_recipe(recipe, overrides), tmp_path / "run")}


def test_it_takes_seconds_and_no_torch_and_shows_no_key(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['drp', 'doctor', 'mini']\nfrom drp.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('CODE', end.code or 0)\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'datasets', 'openai'} & set(sys.modules)))\n"
    )
    began = time.process_time(), time.monotonic()
    environment = os.environ | {"OPENAI_API_KEY": "sk-very-secret", "GEMINI_API_KEY": ' "sk-quoted"'}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=environment,
    )
    assert "CODE 0" in done.stdout and "HEAVY []" in done.stdout, done.stdout + done.stderr
    assert "OPENAI_API_KEY set" in done.stdout and "GEMINI_API_KEY: there are quotes" in done.stdout
    assert "sk-" not in done.stdout + done.stderr and list(tmp_path.iterdir()) == []
    assert time.monotonic() - began[1] < 30  # 1.8 s alone, `results/first-minutes.md`


def test_what_a_recipe_lacks_is_a_problem_with_its_mend(tmp_path: Path, student_path: str) -> None:
    folder = tmp_path / "student"
    shutil.copytree(student_path, folder)
    (folder / "chat_template.jinja").write_text(QWEN3)
    found = looks(
        tmp_path, f"student.model={folder}", "prompt.template_arguments={enable_thinking: false}", "student.device=cuda:7",
        "generate.sampling.max_new_tokens=5000", "problems=[{path: absent.jsonl}]",
    )  # fmt: skip
    problems = {what for what, look in found.items() if look.state == "problem"}
    assert problems == {"template", "gpu", "training problems"}
    assert found["template"].mend == "prompt.template_arguments={enable_thinking: true}"
    assert found["context"].state == "warning" and "max_new_tokens=1748" in found["context"].mend
    assert load_recipe("mini", [found["template"].mend, found["context"].mend, found["gpu"].mend])
    mended = looks(tmp_path, f"student.model={folder}", found["template"].mend)
    assert mended["template"].state == "ok"
    other = looks(tmp_path, 'student.thinking_tags=["[THINK]", "[/THINK]"]')["template"]
    assert other.state == "problem" and load_recipe("mini", [other.mend]).student.thinking_tags == (
        "<think>",
        "</think>",
    )


def test_exit_1_where_something_needed_is_missing(tmp_path: Path) -> None:
    call = [
        sys.executable,
        "-c",
        "from drp.cli.app import main; main()",
        "doctor",
        "mini",
        "problems=[{path: absent.jsonl}]",
    ]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1 and "1 problem(s) to mend" in done.stdout and "absent.jsonl" in done.stdout


def test_traces_on_file_are_compared_with_the_longest_example(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as run:
        folder, _ = run.open_stage("generate", {})
        with folder.journal() as journal:
            for n in range(50):
                usage = Usage(prompt_tokens=1, completion_tokens=2_000 if n < 10 else 300)
                journal.append(
                    Trace(
                        id=f"t{n}", problem_id="p", question="q", gold="1", model="m", sample=n, thinking="x", answer="1",
                        closed=True, finish_reason="stop", usage=usage, correct=True,
                    )
                )  # fmt: skip
    found = looks(tmp_path)["max_length"]
    assert (
        found.state == "warning"
        and found.detail.startswith("10 of 50 traces on file")
        and "left out" in found.detail
    )
    assert looks(tmp_path, found.mend)["max_length"].state == "ok"


class _Models(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(
            {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 4096}]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_an_endpoint_says_which_models_it_serves_and_how_much_fits(tmp_path: Path) -> None:
    """vLLM names each model's context; a longer limit would cut replies off without a word."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Models)
    Thread(target=server.serve_forever, daemon=True).start()
    served = ["generate.engine=openai", f"generate.engine.base_url=http://127.0.0.1:{server.server_port}/v1"]
    try:
        good = looks(tmp_path, *served, "generate.engine.model=m")["generate.engine"]
        other = looks(tmp_path, *served, "generate.engine.model=x")["generate.engine"]
        long = looks(tmp_path, *served, "generate.engine.model=m", "generate.sampling.max_new_tokens=5000")[
            "generate.engine"
        ]
    finally:
        server.shutdown()
        server.server_close()
    assert good.state == "ok" and "serves m, context 4,096 tokens" in good.detail
    assert other.state == "unknown" and "names m and not x" in other.detail
    assert long.state == "warning" and "cut off" in long.detail and "--max-model-len" in long.mend


def test_a_hub_out_of_reach_is_said_with_what_would_come_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found = looks(tmp_path, "prune.teacher=student", recipe="r1_qwen_1.5b")
    assert (
        found["hub"].state == "warning"
        and "gsm8k" in found["hub"].detail
        and "path: FILE" in found["hub"].mend
    )
    assert found["student"].state == "unknown" and found["template"].state == "ok"


def test_gpus_are_read_from_what_the_drivers_tool_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for `nvidia-smi`, as its manual describes the output; one line is of a partitioned GPU."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 81079, 550.54.15'\necho 'NVIDIA A100, [N/A], [N/A], 550.54.15'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (gpu,) = machine.gpus()
    assert (gpu.name, round(gpu.total_gb), gpu.driver) == ("NVIDIA H100 80GB HBM3", 86, "550.54.15")
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert machine.gpus() == []


def test_packages_are_compared_with_the_packages_own_metadata() -> None:
    core, train = machine.packages(), machine.packages("train")
    assert (
        core
        and train
        and {"pydantic", "rich"} <= {p.name for p in core}
        and "torch" in {p.name for p in train}
    )
    assert all(p.fits for p in core) and not {p.name for p in core} & {p.name for p in train}
