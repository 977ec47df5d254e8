"""The tutorial, two how-tos and the notebook, followed to the letter on the embedded student, with few problems."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from tools import notebook
from typer.testing import CliRunner

from drp.cli.app import app
from tests.test_documents import FENCE

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "notebook" / "first_steps.ipynb"
FEW = {
    "run": ("--limit=3", "train.epochs=1", "generate.sampling.max_new_tokens=400", "evaluate.sampling.max_new_tokens=50",
            "evaluate.benchmarks=[{benchmark: mini-gsm}]"),
    "diagnose": ("--limit=1", "--pruned=1", "generate.sampling.max_new_tokens=120"),
}  # fmt: skip
"""What makes a command of the documents short; it stands behind the command's own, and so wins."""


def commands(page: str) -> list[str]:
    bodies = [body for kind, body in FENCE.findall((ROOT / "docs" / page).read_text()) if not kind]
    return [line for line in "\n".join(bodies).replace("\\\n", " ").splitlines() if line.startswith("drp ")]


def follow(page: str) -> None:
    for command in commands(page):
        verb, *arguments = shlex.split(command, comments=True)[1:]
        short = FEW.get(verb, ())
        if any(a.endswith(".jsonl") for a in arguments) and verb == "diagnose":
            short = ("--pruned=1",)
        done = CliRunner().invoke(app, [verb, *arguments, *short])
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"


@pytest.mark.slow
@pytest.mark.long
def test_the_tutorial_and_what_goes_on_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command in the order of the page, in an empty folder; then what people do with traces and runs that they have."""
    monkeypatch.chdir(tmp_path)
    follow("tutorial.md")
    for made in ("runs/diagnose-mini/diagnosis.html", "runs/student/report/report.html", "runs/rules/superseded",
                 "runs/student/train/model-0.75/model.safetensors", "exported/trl/train.jsonl", "exported/parquet/pruned.parquet"):  # fmt: skip
        assert Path(made).exists(), made
    rows = [json.loads(line) for line in Path("runs/student/generate/records.jsonl").read_text().splitlines()]
    keep = ("question", "gold", "thinking", "answer", "closed")
    Path("traces.jsonl").write_text("".join(json.dumps({k: row[k] for k in keep}) + "\n" for row in rows))
    follow("how-to/own-traces.md")
    assert Path("runs/pruned/train/model/model.safetensors").exists()
    Path("runs/r1").symlink_to(Path("runs/student").resolve())
    follow("how-to/other-trainers.md")


@pytest.mark.slow
@pytest.mark.long
def test_the_notebook_runs() -> None:
    """All cells in order, with fewer problems; what is stored came from a run of these very cells."""
    namespace: dict[str, Any] = {}
    cells = notebook.code_cells(json.loads(NOTEBOOK.read_text()))
    with notebook.folder():
        for cell in cells:
            source = "".join(cell["source"]).replace("problems = 40", "problems = 4")
            source = source.replace("settings = [", f"settings = [*{FEW['run'][1:4]}, ")
            outputs = notebook.run_cell(source, namespace)
            assert [o["output_type"] for o in outputs] == [o["output_type"] for o in cell["outputs"]], source
            if (
                outputs and "problems" not in source and "{" not in source
            ):  # what no number of problems changes
                told = {"text", "data"}
                assert [{k: o.get(k) for k in told} for o in outputs] == [
                    {k: o.get(k) for k in told} for o in cell["outputs"]
                ]
    assert namespace["problems"] == 4 and [cell["execution_count"] for cell in cells] == list(
        range(1, len(cells) + 1)
    )
