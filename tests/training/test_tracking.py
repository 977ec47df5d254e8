"""Trackers: curves of real trainings in them, and one sentence where one is missing."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from drp.errors import TrainingError
from drp.preflight import preflight
from drp.recipe import load_recipe
from drp.training.examples import build_example
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune
from drp.training.tracking import lacking, tracking


def test_nothing_is_sent_anywhere_unless_asked(tmp_path: Path) -> None:
    """Trainers report to whatever they find installed, unless they are told not to."""
    assert tracking(TrainSettings().tracker, tmp_path) == {"report_to": "none"} and lacking("none") is None


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_missing_is_said_before_anything_starts(
    tmp_path: Path, tracker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was noticed by the trainer, when the traces of a night had been drawn."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "drp.training.tracking.find_spec", lambda name: None if name == tracker else found(name)
    )
    recipe = load_recipe(None, [f"train.tracker={tracker}", "problems=[{count: 1}]"])
    said = [str(f) for f in preflight(recipe, tmp_path, ["train"]) if f.what == "train.tracker"]
    assert len(said) == 1 and f"pip install 'drp-reasoning[{tracker}]'" in said[0] and "PROBLEM" in said[0]
    with pytest.raises(TrainingError, match=f"drp-reasoning.{tracker}"):
        tracking(tracker, tmp_path)


def test_a_tracker_that_would_ask_for_a_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B asks on the terminal, where nobody is, when training begins."""
    monkeypatch.setattr("drp.training.tracking.find_spec", lambda _: object())
    monkeypatch.setattr("drp.training.tracking.NETRC", (str(tmp_path / "netrc"),))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert "run `wandb login`, or set WANDB_MODE=offline" in str(lacking("wandb"))
    (tmp_path / "netrc").touch()
    assert lacking("wandb") is None
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert lacking("wandb") is None


def test_the_name_of_a_run_is_that_of_its_folder_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drp.training.tracking.lacking", lambda _: None)
    monkeypatch.delenv("TRACKIO_PROJECT", raising=False)
    named = [tracking("trackio", tmp_path / "mine" / part)["run_name"] for part in ("train", "train/round-1")]
    assert named == ["mine", "mine-round-1"]


@pytest.mark.skipif(
    not importlib.util.find_spec("tensorboard"), reason="the extra tensorboard is not installed"
)
def test_the_curve_of_a_training_is_in_tensorboard(
    student_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer would put it among the checkpoints, which go when the training has ended."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setitem(os.environ, "TENSORBOARD_LOGGING_DIR", "elsewhere")
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    ask = [{"role": "user", "content": "Ana has 12 shells. Ben has 3 more. How many has Ben?"}]
    example = build_example(tokenizer, "e", ask, "12 + 3 = 15.", "It is \\boxed{15}.")
    losses: list[float] = []
    settings = TrainSettings(rank=2, alpha=4, epochs=2, effective_batch=2, tracker="tensorboard")
    fine_tune(
        StudentModel(student_path, "cpu"),
        [example] * 4,
        settings,
        tmp_path / "train",
        listen=lambda _step, _total, figures: losses.append(figures["loss"]),
    )
    curves = EventAccumulator(str(tmp_path / "train" / "tensorboard"))
    curves.Reload()
    assert losses and [s.value for s in curves.Scalars("train/loss")] == pytest.approx(losses, rel=1e-5)
