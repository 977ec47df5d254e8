"""Preference of pruned traces over own ones, and what keeps reinforcement from losing its model; on real weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from drp.cli.app import app
from drp.errors import RecipeError, TrainingError
from drp.recipe import load_recipe
from drp.training.examples import Example, build_example, within_limit
from drp.training.guard import LeaveOut
from drp.training.learnability import mean_nll
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune

NAMES = ("Ana", "Ben", "Sam", "Kim")
SHORT = "{name} has 3 more, so 12 + 3 = 15."
LONG = f"Okay, let's see. {SHORT} Let me double-check that. 12 + 3 = 15. Yes, that is right. So it is 15."
ANSWER = "The answer is \\boxed{15}."


def pairs(tokenizer: Any) -> tuple[list[Example], list[Example]]:
    """Return short examples with their long rivals, and the rivals as examples."""
    short, long = (
        [
            build_example(
                tokenizer,
                name,
                [{"role": "user", "content": f"{name} has 3 more shells than Uma, who has 12. How many?"}],
                text.format(name=name),
                ANSWER,
            )
            for name in NAMES
        ]
        for text in (SHORT, LONG)
    )
    for a, b in zip(short, long, strict=True):
        assert a.input_ids[: a.prompt_length] == b.input_ids[: b.prompt_length]
    preferred = [
        Example(a.id, a.input_ids, a.prompt_length, b.input_ids[b.prompt_length :])
        for a, b in zip(short, long, strict=True)
    ]
    return preferred, long


def summed(model: Any, examples: list[Example]) -> float:
    """Return the mean log likelihood of whole responses."""
    lengths = [len(e.input_ids) - e.prompt_length for e in examples]
    return -sum(mean_nll(model, [e]) * n for e, n in zip(examples, lengths, strict=True)) / len(examples)


def test_preference_widens_the_margin_over_the_own_traces(student_path: str, tmp_path: Path) -> None:
    preferred, own = pairs(AutoTokenizer.from_pretrained(student_path))
    settings = TrainSettings(
        objective="preference",
        learning_rate=1e-3,
        epochs=4,
        effective_batch=4,
        sft_weight=0.1,
        max_length=512,
    )
    losses: list[float] = []
    fine_tune(
        StudentModel(student_path, "cpu"),
        preferred,
        settings,
        tmp_path,
        listen=lambda *a: losses.append(a[2]["loss"]),
    )
    assert len(losses) == 4 and losses[-1] < losses[0]
    before, after = (
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32).eval()
        for p in (student_path, tmp_path / "model")
    )
    margins = [summed(m, preferred) - summed(m, own) for m in (before, after)]
    assert margins[1] > margins[0] + 1


def test_the_longer_of_a_pair_counts_against_the_limit(student_path: str) -> None:
    preferred, own = pairs(AutoTokenizer.from_pretrained(student_path))
    limit = max(len(e.input_ids) for e in preferred)
    assert all(e.length == len(rival.input_ids) > limit for e, rival in zip(preferred, own, strict=True))
    assert within_limit(preferred, limit) == ([], preferred)


def test_preference_needs_targets_that_are_not_the_own_traces() -> None:
    assert load_recipe(None, ["train.objective=preference"]).train.objective == "preference"
    with pytest.raises(RecipeError, match="method self has none"):
        load_recipe(None, ["method=self", "train.objective=preference"])


def test_a_step_whose_gradient_is_no_number_is_left_out() -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    guard = LeaveOut()
    kept = layer.weight.detach().clone()

    def step(scale: float) -> None:
        layer(torch.full((1, 2), scale)).sum().backward()
        guard.on_pre_optimizer_step(model=layer, optimizer=optimizer)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(4):
        step(float("nan"))
    assert torch.equal(layer.weight, kept) and guard.in_a_row == 4
    step(1.0)
    assert not torch.equal(layer.weight, kept) and guard.in_a_row == 0
    for _ in range(4):
        step(float("inf") - float("inf"))
    with pytest.raises(TrainingError, match="five steps in a row"):
        step(float("nan"))
    assert bool(torch.isfinite(layer.weight).all())


def test_an_adapter_is_merged_at_another_scale_from_the_command_line(
    student_path: str, tmp_path: Path
) -> None:
    preferred, _ = pairs(AutoTokenizer.from_pretrained(student_path))
    plain = [Example(e.id, e.input_ids, e.prompt_length) for e in preferred]
    run = tmp_path / "run"
    settings = TrainSettings(learning_rate=1e-3, epochs=2, effective_batch=4, max_length=512)
    fine_tune(StudentModel(student_path, "cpu"), plain, settings, run / "train")

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["merge", str(run), *words])
        return result.exit_code, str(result.exception or result.output)

    assert call("--adapter-scale", "0.5")[0] == 0
    assert call("--adapter-scale", "0", "--out", str(tmp_path / "none"))[0] == 0
    code, said = call("--adapter-scale", "0.5")
    assert code == 1 and "exists already" in said
    folders = [tmp_path / "none", run / "train" / "model-0.5", run / "train" / "model"]
    nll = [
        mean_nll(AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32).eval(), plain) for f in folders
    ]
    assert nll[0] > nll[1] > nll[2]
    assert nll[0] == pytest.approx(
        mean_nll(AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32).eval(), plain),
        rel=1e-3,
    )
    assert json.loads((run / "train" / "model-0.5" / "config.json").read_text())["model_type"] == "qwen3"
    (run / "train" / "adapter" / "adapter_config.json").write_text("{}")
    assert "cannot be merged (KeyError" in call()[1]
    (run / "train" / "adapter").rename(tmp_path / "gone")
    assert "run `drp run` or `drp train` there first" in call()[1]
