"""Run folders as commands leave them, without a model: every stage through the stage runner itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from drp.engines.identity import model_identity
from drp.grading import VERSION
from drp.records import Failure, Keyed, Trace, Usage
from drp.runs.folder import RunFolder
from drp.runs.manifest import Settings
from drp.runs.stage import run_stage

EVALUATED = {
    "evaluate": {"sampling": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 1200}, "seed": 1},
    "prompt": {"template": "[INST]{question}[/INST]"},
}


class Silent:
    """Shows no progress."""

    def begin(self, stage: str, done: int, wanted: int) -> None: ...

    def advance(self, items: int, tokens: int = 0) -> None: ...

    def remark(self, text: str) -> None: ...

    def end(self, note: str) -> None: ...


def completions(count: int, right: int, gold: str = "1", **fields: object) -> list[Trace]:
    """Return a completion of each of ``count`` problems, the first ``right`` of them right."""
    return [
        Trace.model_validate(
            {"id": f"trace-{i}-{gold}", "problem_id": f"problem-{i}-{gold}", "question": f"question {i}?", "gold": gold,
             "benchmark": "mini-gsm", "thinking": "t", "answer": gold, "closed": True, "correct": i < right,
             "usage": Usage(completion_tokens=100 + i)} | fields
        )
        for i in range(count)
    ]  # fmt: skip


def command(run: Path, stage: str, settings: Settings, outcomes: Sequence[Keyed]) -> None:
    """Do what a command does that wants these items of a stage, which end as given; those on file stay."""

    async def work(owed: set[str]) -> AsyncIterator[Keyed]:
        for outcome in outcomes:
            if outcome.id in owed:
                yield outcome

    with RunFolder(run) as held:
        folder, _ = held.open_stage(stage, settings)
        folder.graded(VERSION)
        kind = next((type(o) for o in outcomes if not isinstance(o, Failure)), Trace)
        asyncio.run(run_stage(folder, kind, outcomes, work, Silent()))


def evaluate(run: Path, which: str, outcomes: Sequence[Keyed], model: object = "student") -> None:
    """Evaluate a model."""
    command(run, f"evaluate/{which}", {**EVALUATED, "model": model}, outcomes)


def train(run: Path, weights: str | None, **settings: object) -> dict[str, str]:
    """Train a model, or begin to where there are no weights; return the model's identity."""
    with RunFolder(run) as held:
        folder, _ = held.open_stage("train", {"train": settings})
        model = folder.path / "model"
        if weights is None:
            folder.update(complete=False, counts={})
            return {}
        model.mkdir(exist_ok=True)
        (model / "model.safetensors").write_text(weights)
        folder.update(complete=True, counts={"examples": 8, "steps": 1})
        return model_identity(str(model))
