"""Another package adds an engine, a teacher, a task, a method and a benchmark by entry points, and the pipeline runs with them.

What ARCHITECTURE.md says under "Adding things" is this file: one file for each, and one line of its package's metadata.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drp.records import PrunedTrace, Trace
from drp.reporting.summary import summarise
from drp.runs.reader import RunReader

CODE = {
    "engine.py": '''
from typing import ClassVar, Literal
from drp.engines.base import Reply
from drp.engines.registry import EngineSettings
from drp.records import Completion, Usage

class Calculator:
    """Adds the two numbers of a question, and thinks aloud."""

    def __init__(self, name, wordy):
        self.name, self.identity, self.wordy = name, {"model": name}, wordy

    def batches(self, requests):
        return [list(requests)]

    async def complete(self, batches):
        for request in (r for batch in batches for r in batch):
            assert request.messages[-1].content.endswith("Say it in words.")
            a, b = (int(word) for word in request.messages[-1].content.split() if word.isdigit())
            thinking = f"I add {a} and {b}: {a} + {b} = {a + b}.\\n\\n" + "Let me check that once more, slowly.\\n\\n" * self.wordy
            done = Completion(thinking=thinking + f"So it is {a + b}.", answer=f"Sum: {a + b}", closed=True,
                              finish_reason="stop", usage=Usage(completion_tokens=10 + 10 * self.wordy))
            yield Reply(request.id, done)

    async def close(self):
        pass

class Settings(EngineSettings):
    kind: Literal["calculator"] = "calculator"
    wordy: int = 3
    in_process: ClassVar[bool] = True

    def open(self, subject, say=print):
        return Calculator(f"calculator for {subject.model}", 1 if subject.trained else self.wordy)
''',
    "teacher.py": '''
from typing import Literal
from drp.records import Edit, EditScript
from drp.teachers.base import Proposal
from drp.teachers.registry import TeacherSettings, ready

class Keeper:
    name, exempt = "keeper", frozenset({"reflection"})

    async def prune(self, trace, units, candidate=0):
        last = len(units) - 1
        edits = (Edit(first=0, last=0, action="keep", skills=("arithmetic",)),
                 Edit(first=1, last=last - 1, action="delete", skills=("verification",), reason="said before"),
                 Edit(first=last, last=last, action="keep", skills=("stating the answer",)))
        return Proposal(script=EditScript(units=len(units), edits=edits))

    async def repair(self, trace, units, proposal, complaints):
        return None

    async def polish(self, trace, units, proposal):
        return None

class Settings(TeacherSettings):
    kind: Literal["keeper"] = "keeper"

    def open(self, context):
        return ready(Keeper())
''',
    "task.py": '''
from typing import ClassVar, Literal
from drp.tasks.base import Task, Verdict

class Sum(Task):
    kind: Literal["sum"] = "sum"
    directive: ClassVar[str] = "Say it in words."

    def grade(self, text, gold, question, maths):
        return Verdict(correct=self.final_answer(text, question) == gold, reading="statement")

    def final_answer(self, text, question):
        return text.rpartition(" ")[2].rstrip(".") or None
''',
    "benchmark.py": '''
from typing import ClassVar, Literal
from drp.benchmarks.registry import Benchmark
from drp.records import Problem

class Sums(Benchmark):
    kind: Literal["sums"] = "sums"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    task: ClassVar[str] = "sum"

    def load(self, split, seed):
        first = 100 if split == "train" else 500
        return (Problem(question=f"Add {n} and {n + seed + 7} please", gold=str(2 * n + seed + 7)) for n in range(first, first + 50))
''',
    "method.py": '''
from typing import ClassVar, Literal
from drp.methods.drp import DrpSettings, of_pruned

class Shortest(DrpSettings):
    """Trains on the shorter half of what was pruned."""
    kind: Literal["shortest"] = "shortest"
    summary: ClassVar[str] = "fine-tune on the shortest pruned traces"

    def targets(self, context):
        kept = sorted((p for p in context.pruned() if p.accepted), key=lambda p: (p.tokens_after, p.id))
        return [of_pruned(p) for p in kept[: len(kept) // 2]]
''',
}  # fmt: skip
ENTRY_POINTS = """
[drp.engines]
calculator = addition.engine:Settings
[drp.teachers]
keeper = addition.teacher:Settings
broken = addition.nowhere:Settings
[drp.tasks]
sum = addition.task:Sum
wrong = addition.benchmark:Sums
[drp.benchmarks]
sums = addition.benchmark:Sums
[drp.methods]
shortest = addition.method:Shortest
"""
RECIPE = """
name: addition
method: shortest
prompt: {template: "{question} {directive}"}
problems: [{benchmark: sums, split: train, count: 6}]
generate: {engine: {kind: calculator, wordy: 4}}
prune: {teacher: keeper}
train: {rank: 2, epochs: 1, learning_rate: 1.0e-4}
evaluate: {benchmarks: [{benchmark: sums, count: 5}], engine: calculator}
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A package as pip leaves one: its modules, and its metadata beside them."""
    package = tmp_path / "site" / "addition"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, code in CODE.items():
        (package / name).write_text(code)
    metadata = tmp_path / "site" / "addition-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: addition\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path / "site"


def drp(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "drp", *arguments],
        cwd=installed.parent, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_the_pipeline_runs_with_what_another_package_adds(installed: Path) -> None:
    (installed.parent / "recipe.yaml").write_text(RECIPE)
    result = drp(installed, "run", "recipe.yaml", "--out", "run")
    assert result.returncode == 0, result.stdout + result.stderr
    run = RunReader(installed.parent / "run")
    traces = list(run.records("generate", Trace))
    assert len(traces) == 6 and all(t.correct and t.task == "sum" for t in traces)
    pruned = list(run.records("prune", PrunedTrace))
    assert all(p.accepted and p.teacher == "keeper" and "check" not in p.thinking for p in pruned), pruned
    manifest = run.manifest("train")
    assert manifest and manifest.counts["examples"] == 3
    (found,) = summarise(installed.parent / "run", "addition").benchmarks
    assert found.base.accuracy == 1 and found.after and found.after.tokens_mean < found.base.tokens_mean


MISTAKES = {
    "prune.teacher=broken": "teacher 'broken' (addition.nowhere:Settings) cannot be loaded: ModuleNotFoundError",
    "problems.0.task=wrong": "task 'wrong' (addition.benchmark:Sums) is no Task",
    "prune.teacher=keepr": "there is no teacher 'keepr'; choose one of rules, student, answer_likelihood, answer_perplexity, attention_saliency, edit_script",
    "problems.0.benchmark=sumz": "aime24, amc23, sums, or give the path",
    "problems.0.split=dev": "sums has the split train and test, not 'dev'",
    "generate.engine.wordyness=1": "generate.engine.wordyness: unknown field of calculator; did you mean 'wordy'?",
}
ASKED = """
import json, sys, drp
from drp.errors import DrpError
for change in json.loads(sys.argv[1]):
    try:
        drp.generate("recipe.yaml", [change], out="run")
    except DrpError as error:
        print(json.dumps([change, str(error)]))
"""


def test_what_cannot_be_used_is_said(installed: Path) -> None:
    (installed.parent / "recipe.yaml").write_text(RECIPE)
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", ASKED, json.dumps(list(MISTAKES))],
        cwd=installed.parent, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = dict(json.loads(line) for line in result.stdout.splitlines())
    assert said.keys() == MISTAKES.keys()
    for change, message in MISTAKES.items():
        assert message in " ".join(said[change].split()), said[change]
