"""Stage train: what is trained stays trained, whatever happens to the figures about it; on real weights."""

import json
from pathlib import Path

import pytest
import torch

from drp.recipe import load_recipe
from drp.records import Target
from drp.runs.folder import RunFolder
from drp.stages.learnability import Learnability
from drp.stages.merge import Merged
from drp.stages.train import TrainStep, train_student
from drp.training import learnability


class Heard:
    """Progress that remembers how stages ended."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """Listen."""

    def advance(self, items: int, tokens: int = 0) -> None:
        """Listen."""

    def remark(self, text: str) -> None:
        """Listen."""

    def end(self, note: str) -> None:
        """Remember."""
        self.notes.append(note)


def test_learnability_that_fails_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ran out of memory before training was marked complete, so every further run trained from scratch again."""
    recipe = load_recipe(None, ["student.model=mini", "student.device=cpu", "train.epochs=1", "train.rank=4"])
    targets = [
        Target(
            id=str(n), question="Ana has 12 shells. Ben has 3 more. How many has Ben?", thinking=f"12 + 3 = 15 ({n}).",
            answer="It is \\boxed{15}.", own_thinking=f"So 12 + 3 = 15. Wait, 12 + 3 = 15 ({n}).",
            own_answer="It is \\boxed{15}.",
        )
        for n in range(4)
    ]  # fmt: skip

    def no_room(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 77.00 GiB.\nmore")

    heard = Heard()
    with RunFolder(tmp_path / "run") as run:
        folder, _ = run.open_stage("train", {"any": 1})
        monkeypatch.setattr(learnability, "mean_nll", no_room)
        model = train_student(recipe, folder, targets, heard)
        manifest = folder.manifest()
        assert manifest and manifest.complete and (model / "model.safetensors").exists()
        assert (
            "learnability could not be measured (OutOfMemoryError: CUDA out of memory. Tried to"
            in heard.notes[-1]
        )
        [failure] = folder.failures()
        assert (failure.kind, failure.retry) == ("learnability", True) and "77.00 GiB" in failure.message
        weights = (model / "model.safetensors").stat()
        steps = folder.records(TrainStep)

        train_student(recipe, folder, targets, heard)  # still no room: said again, and nothing else happens
        assert "already trained on 4 examples; learnability could not" in heard.notes[-1]
        assert len(folder.failures()) == 1

        monkeypatch.undo()
        train_student(recipe, folder, targets, heard)
        found = Learnability.model_validate_json((folder.path / "learnability.json").read_bytes())
        assert found.pruned > 0 and found.own_trace > 0 and found.examples == 4
        assert heard.notes[-1] == "already trained on 4 examples" and folder.failures() == []
        assert (model / "model.safetensors").stat() == weights and folder.records(TrainStep) == steps
        assert json.loads(folder.manifest_path.read_text())["counts"]["steps"] == len(steps)


def test_the_scale_of_a_model_that_an_earlier_version_merged_is_known() -> None:
    """The setting has another name since; a file that could not be read would merge every old run's model again."""
    merged = Path(__file__).parents[1] / "runs/golden_run/train/merged.json"
    assert Merged.model_validate_json(merged.read_bytes()).strength == 1.0
