"""Evaluation of the student and of the trained model behind an endpoint: the same figures as in process."""

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from drp.cli.app import main
from drp.engines.identity import resolve_model
from drp.engines.transformers_engine import TransformersEngine
from drp.records import Trace
from drp.runs.folder import StageFolder
from tests.loopback import Loopback
from tests.served import ServedStudent

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = [
    "problems.0.count=16", "generate.sampling.max_new_tokens=300", "evaluate.benchmarks=[{benchmark: mini-gsm, count: 6}]",
    "evaluate.sampling={temperature: 0, max_new_tokens: 200}", "train.epochs=1", "train.learning_rate=3e-3",
]  # fmt: skip


def drp(*arguments: str) -> tuple[int, str]:
    said, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", ["drp", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, said.getvalue()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole job with both models evaluated in process, greedily."""
    out = tmp_path_factory.mktemp("served") / "run"
    code, said = drp("run", str(ROOT / "recipes/mini.yaml"), *SMALL, "--out", str(out))
    assert code == 0, said
    return out


@pytest.fixture
def server(here: Path) -> Iterator[Loopback]:
    def engine(path: str) -> TransformersEngine:
        return TransformersEngine(path, device="cpu", dtype="float32", batch_size=1)

    made = Loopback(ServedStudent(engine(resolve_model("mini")), drp=engine(str(here / "train/model"))))
    yield made
    made.stop()


def drawn(run: Path, which: str) -> dict[str, tuple[object, ...]]:
    traces = StageFolder(run / f"evaluate/{which}", f"evaluate/{which}").wanted_records(Trace)
    return {
        t.id: (t.thinking, t.answer, t.closed, t.correct, t.usage and t.usage.completion_tokens)
        for t in traces
    }


def test_a_served_student_and_its_trained_model_have_the_figures_of_the_process(
    here: Path, server: Loopback, tmp_path: Path
) -> None:
    """Evaluation was always in process, so a student too large for this machine could not be evaluated at all."""
    served = tmp_path / "run"
    shutil.copytree(here, served)
    endpoint = [
        "evaluate.engine=openai", f"evaluate.engine.base_url={server.url}", "evaluate.engine.model=base",
        "evaluate.engine.prefilled=true",
    ]  # fmt: skip
    code, said = drp("evaluate", str(served), *endpoint)
    assert code == 1 and "evaluate.engine.trained_model=NAME" in said and "--lora-modules" in said
    assert drawn(served, "base") == drawn(here, "base")
    code, said = drp("evaluate", str(served), *endpoint, "evaluate.engine.trained_model=drp")
    assert code == 0 and "served by an endpoint" in " ".join(said.split()), said
    assert drawn(served, "distilled") == drawn(here, "distilled") != drawn(here, "base")
    assert [body["model"] for body in server.bodies] == ["base"] * 6 + ["drp"] * 6  # nothing was asked twice
