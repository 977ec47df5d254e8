"""Every method's recipe resolves; the parts they train on; a whole run of the quick ones on real weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from drp.benchmarks.mini_world import TIERS, expression, load, parse, stream
from drp.cli.app import app
from drp.errors import DataError, TrainingError
from drp.methods.registry import method_of
from drp.recipe import load_recipe
from drp.teachers.crude import cue_script, whole_script, with_mistakes
from drp.teachers.rules import RulesTeacher
from drp.text.units import split_units
from drp.training.examples import render_prompt
from drp.training.sft import interpolate

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
THINKING = (
    "Let me think. Ana has 12 shells. Ben has 3 more, so 12 + 3 = 15. Wait, let me double-check. "
    "12 + 3 = 15. Yes. So Ben has 15 shells.\n"
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_recipe_dry_runs_without_network(recipe: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(recipe), "--dry-run"])
    assert result.exit_code == 0, result.output
    loaded = load_recipe(recipe)
    assert f"method {loaded.method}" in result.output
    for stage in method_of(loaded).stages:
        assert f"\n{stage}: " in result.output


@pytest.mark.parametrize("tier", TIERS)
def test_a_mini_question_gives_its_problem_back(tier: str) -> None:
    for _, world in zip(range(60), stream(tier, "test", 5), strict=False):
        found = parse(world.question)
        assert found.question == world.question and found.gold == world.gold
        assert eval(expression(found).replace("/", "//")) == int(world.gold)
    with pytest.raises(DataError):
        parse("What is the capital of France?")


def test_worse_teachers_still_write_whole_scripts() -> None:
    units = split_units(THINKING)
    cues = cue_script(units)
    assert [e.action for e in cues.edits if e.action == "delete"]
    whole = whole_script(units, "15")
    assert len(whole.edits) == 1 and "12 + 3 = 15" in (whole.edits[0].text or "")
    script = RulesTeacher().script(
        "Ana has 12 shells. Ben has 3 more. How many has Ben?", "\\boxed{15}", units
    )
    turned = with_mistakes(script, 1.0, "x")
    assert turned != script and with_mistakes(script, 0.0, "x") == script
    assert with_mistakes(script, 0.5, "x") == with_mistakes(script, 0.5, "x")


def test_interpolation_lies_between_and_ends_at_both(student_path: str, tmp_path: Path) -> None:
    other = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.5)
    other.save_pretrained(tmp_path / "other")
    interpolate(student_path, str(tmp_path / "other"), 0.5, tmp_path / "half")
    first, half = (
        AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32)
        for p in (student_path, tmp_path / "half")
    )
    for a, b in zip(first.parameters(), half.parameters(), strict=True):
        assert torch.allclose(0.75 * a, b, atol=1e-2, rtol=1e-2)


def test_reinforcement_needs_enough_problems_and_leaves_a_model(student_path: str, tmp_path: Path) -> None:
    from drp.engines.transformers_engine import load_tokenizer
    from drp.grading.grader import Grader
    from drp.training.rl import Task, reinforce
    from drp.training.settings import RlSettings, TrainSettings

    tokenizer = load_tokenizer(student_path)
    tasks = [
        Task(render_prompt(tokenizer, [{"role": "user", "content": p.question}]), p.gold)
        for p in load("mini-gsm", "train", 12)
    ]
    settings = RlSettings(
        limits=(120,),
        steps=2,
        prompts=2,
        generations=4,
        learning_rate=1e-3,
        validation=4,
        looks=1,
        device_batch=8,
    )
    rewards: list[dict[str, float]] = []
    with Grader() as grader:
        with pytest.raises(TrainingError, match="too few"):
            reinforce(student_path, tasks[:5], settings, TrainSettings(), tmp_path / "few", grader.is_correct)
        sampled = reinforce(
            student_path, tasks, settings, TrainSettings(), tmp_path, grader.is_correct, device="cpu",
            listen=lambda step, total, figures: rewards.append(figures),
        )  # fmt: skip
    assert sampled > 0 and len(rewards) == 2 and all(0 <= r["reward"] <= 1 for r in rewards)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model") is not None


def test_cot_valve_trains_phase_by_phase_and_resumes(student_path: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [
        "run", str(ROOT / "recipes/mini/cot_valve.yaml"), "--out", str(out), "valve.short_model=mini", "valve.shares=[0.5]",
        "problems=[{benchmark: mini-gsm, split: train, count: 8}]", "generate.sampling.max_new_tokens=300",
        "evaluate.benchmarks=[{benchmark: mini-gsm, count: 4}]", "evaluate.runs=1", "evaluate.sampling.max_new_tokens=300",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    steps = [json.loads(line)["step"] for line in (out / "train/records.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) == 2
    assert (out / "train/phase-0/adapter").exists() and not (out / "explore/share-0.5/model").exists()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "already trained" in again.output


def test_reinforcement_goes_on_after_a_kill_with_its_log_on_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [
        "train", str(ROOT / "recipes/mini/think_prune.yaml"), "--out", str(out), "rl.limits=[80]", "rl.steps=1", "rl.prompts=2",
        "rl.generations=2", "rl.validation=2", "rl.looks=1", "problems=[{benchmark: mini-gsm, split: train, count: 6}]",
    ]  # fmt: skip
    assert CliRunner().invoke(app, arguments).exit_code == 0
    manifest = out / "train/manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    for made in ("model", "round-0"):
        shutil.rmtree(out / "train" / made)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    steps = [json.loads(line)["step"] for line in (out / "train/records.jsonl").read_text().splitlines()]
    assert steps == [1] and (out / "train/model").exists()


def test_the_strength_of_an_adapter_moves_the_weights_in_proportion(
    student_path: str, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from drp.engines.transformers_engine import load_model, load_tokenizer
    from drp.training.sft import merge

    tuned: Any = get_peft_model(
        load_model(student_path, "cpu", "float32"),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(tmp_path / "adapter")
    tokenizer = load_tokenizer(student_path)
    weights: dict[float, torch.Tensor] = {}
    for strength in (0.0, 0.5, 1.0):
        merge(student_path, tmp_path / "adapter", strength, tokenizer, tmp_path / f"{strength}")
        model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / f"{strength}", dtype=torch.float32)
        weights[strength] = model.model.layers[0].mlp.up_proj.weight.detach()
    moved = weights[1.0] - weights[0.0]
    assert moved.norm() > 0
    assert (weights[0.5] - weights[0.0] - moved / 2).norm() < 0.02 * moved.norm()
