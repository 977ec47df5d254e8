import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reporting.page.reading import documents

CALL = "from drp.cli.app import main; main()"


def drp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments], capture_output=True, text=True, timeout=120
    )


def test_help_loads_neither_torch_nor_the_rest() -> None:
    code = (
        "import sys\nsys.argv = ['drp', '--help']\nfrom drp.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'openai', 'pydantic', 'jinja2'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "diagnose",
        "export",
        "plan",
        "init",
        "doctor",
        "recipes",
        "run",
        "generate",
        "prune",
        "train",
        "evaluate",
        "report",
        "view",
        "compare",
    ],
)
def test_every_verb_has_help(command: str) -> None:
    result = drp(command, "--help")
    assert result.returncode == 0 and "Usage" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.yaml"], "no such recipe"),
        (["prune", "--traces", "absent.jsonl"], "no such file"),
        (["prune", "--traces", "x.jsonl", "--teacher", "gpt"], "prune.teacher"),
        (["report", "absent"], "not a run folder"),
        (["view", "absent"], "not a run folder"),
        (["compare", "absent", "absent"], "does not exist"),
    ],
)
def test_mistakes_are_one_message(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", CALL, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr


def test_prune_traces_from_a_file(tmp_path: Path) -> None:
    good = {
        "question": "Mia has 24 shells. Tom has 3 times as many shells as Mia. How many shells does Tom have?",
        "gold": "72",
        "thinking": "Okay, let me see. Tom has 3 times as many, so 3 * 24 = 72.\n\n"
        "Wait, let me verify. 24 + 24 + 24 = 72. Yes, that's right.\n\nSo the answer is 72.",
        "answer": "The answer is \\boxed{72}.",
    }
    rows = [
        good,
        good | {"answer": "\\boxed{71}"},
        good | {"closed": False, "answer": ""},
        good | {"thinking": ""},
        good | {"thinking": good["thinking"] + " <script>alert(1)</script>"},
    ]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    result = drp("prune", "--traces", str(file), "--teacher", "rules", "--out", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert (
        "wrong_answer 1" in result.stdout
        and "unclosed 1" in result.stdout
        and "no_thinking 1" in result.stdout
    )
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "<script>alert" not in page
    assert any("<script>alert" in step["text"] for document in documents(page) for step in document["steps"])
    again = drp("prune", "--traces", str(file), "--out", str(tmp_path / "out"), "prune.teacher.keep_checks=0")
    assert again.returncode == 0, again.stderr
