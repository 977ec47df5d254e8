"""A training whose figures are no numbers ends, names the step, and leaves nothing; on real weights."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.errors import TrainingError
from drp.training.examples import Example, build_example
from drp.training.saving import interpolate, merge
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune, last_checkpoint


@pytest.fixture(scope="module")
def examples(student_path: str) -> list[Example]:
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    ask = [{"role": "user", "content": "Ana has 12 shells. Ben has 3 more. How many has Ben?"}]
    built = [
        build_example(tokenizer, str(n), ask, f"So 12 + 3 = 15, case {n}.", "It is 15.") for n in range(8)
    ]
    return [replace(e, rejected_ids=[*e.input_ids[e.prompt_length :], 5]) for e in built]


def settings(**fields: Any) -> TrainSettings:
    common: dict[str, Any] = {
        "rank": 4,
        "epochs": 3,
        "effective_batch": 4,
        "device_batch": 4,
        "save_steps": 1,
    }
    return TrainSettings(**common | fields)


@pytest.mark.parametrize("objective", ["sft", "preference", "lcpo"])
def test_a_rate_beyond_all_bounds_fails_at_its_step_and_leaves_nothing(
    examples: list[Example], student_path: str, tmp_path: Path, objective: str
) -> None:
    """It ended with loss 0.0, no error, and most tensors of the saved model NaN."""
    listened: list[dict[str, float]] = []
    wild = settings(learning_rate=1e38, objective=objective)
    with pytest.raises(TrainingError, match=r"training step [23]: .* train.learning_rate \(now 1e\+38\)"):
        fine_tune(
            StudentModel(student_path, "cpu"),
            examples,
            wild,
            tmp_path,
            listen=lambda *a: listened.append(a[2]),
        )
    assert 1 <= len(listened) <= 2
    # The checkpoint of the step before has weights near 1e38: the same command must not go on with it.
    assert list(tmp_path.iterdir()) == [] and last_checkpoint(tmp_path) == (None, 0)


def test_a_last_step_that_ruins_the_weights_is_not_saved(
    examples: list[Example], student_path: str, tmp_path: Path
) -> None:
    """Its loss and gradient are those of sound weights, so only the weights themselves tell."""
    one = settings(learning_rate=1e38, epochs=0.5, warmup=0.0, schedule="constant", save_steps=9)
    with pytest.raises(TrainingError, match=r"a weight|is not saved"):
        fine_tune(StudentModel(student_path, "cpu"), examples, one, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_ruined_checkpoint_of_an_interrupted_training_is_not_gone_on_with(
    examples: list[Example], student_path: str, tmp_path: Path
) -> None:
    """Left by an earlier version or a failing disk: the run that meets it fails, the one after begins anew."""
    wanted = settings(learning_rate=1e-3)

    def until_the_third(step: int, *_: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(
            StudentModel(student_path, "cpu"), examples, wanted, tmp_path / "out", listen=until_the_third
        )
    checkpoint, step = last_checkpoint(tmp_path / "out")
    assert checkpoint and step >= 2
    adapter = checkpoint / "adapter_model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(adapter).items()}, adapter)
    with pytest.raises(TrainingError, match=f"training step {step + 1}: "):
        fine_tune(StudentModel(student_path, "cpu"), examples, wanted, tmp_path / "out")
    fine_tune(StudentModel(student_path, "cpu"), examples, wanted, tmp_path / "out")
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model", dtype="auto")
    assert all(bool(torch.isfinite(w).all()) for w in trained.parameters())


def test_no_way_of_saving_takes_weights_that_are_no_numbers(
    examples: list[Example], student_path: str, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    fine_tune(StudentModel(student_path, "cpu"), examples, settings(learning_rate=1e-3, epochs=1), tmp_path)
    merge(student_path, tmp_path / "adapter", 1.0, tokenizer, tmp_path / "sound")
    with pytest.raises(TrainingError, match="is not saved"):  # finite in the adapter, not in the sum
        merge(student_path, tmp_path / "adapter", 1e38, tokenizer, tmp_path / "beyond")
    weights = load_file(tmp_path / "sound" / "model.safetensors")
    name = next(iter(weights))
    shutil.copytree(tmp_path / "sound", tmp_path / "bad")
    save_file({**weights, name: weights[name] * float("inf")}, tmp_path / "bad" / "model.safetensors")
    with pytest.raises(TrainingError, match=f"first {name}"):
        interpolate(student_path, str(tmp_path / "bad"), 0.5, tmp_path / "between")
    assert not (tmp_path / "beyond").exists() and not (tmp_path / "between").exists()
