"""Every method's recipe resolves; the parts they train on; a whole run of the quick ones on real weights."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from drp.benchmarks.mini_world import TIERS, expression, load, parse, stream
from drp.cli.app import app
from drp.engines.encoding import render_prompt
from drp.errors import DataError, TrainingError
from drp.pruning.apply import apply_script
from drp.recipe import load_recipe
from drp.teachers.ablations import cue_script, foreign_script, whole_script, with_mistakes
from drp.teachers.rules import RulesTeacher
from drp.text.units import split_units
from drp.training.saving import interpolate

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
    assert f"method {loaded.method.kind}" in result.output
    for stage in loaded.method.stages:
        assert f"\n{stage}: " in result.output


@pytest.mark.parametrize("benchmark", TIERS)
def test_a_mini_question_gives_its_problem_back(benchmark: str) -> None:
    for _, world in zip(range(60), stream(benchmark, "test", 5), strict=False):
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
    foreign = apply_script(units, foreign_script(script, units))
    assert "$12 + 3 = 15$" in foreign and "possesses" in foreign and " so " not in foreign
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


@pytest.mark.parametrize(("lora", "credit"), [(True, "conclusion"), (False, "completion")])
def test_reinforcement_needs_enough_problems_and_leaves_a_model(
    student_path: str, tmp_path: Path, lora: bool, credit: Literal["completion", "conclusion"]
) -> None:
    from drp.engines.transformers_engine import load_tokenizer
    from drp.grading.grader import Grader
    from drp.training.credit import conclusion_end
    from drp.training.grpo import Reinforcement
    from drp.training.rollouts import Task
    from drp.training.settings import GrpoSettings, StudentModel, TrainSettings

    tokenizer = load_tokenizer(student_path)
    tasks = [
        Task(render_prompt(tokenizer, [{"role": "user", "content": p.question}]), p.gold)
        for p in load("mini-gsm", "train", 12)
    ]
    settings = GrpoSettings(
        limits=(120,),
        steps=2,
        prompts=2,
        generations=4,
        learning_rate=1e-3,
        validation=4,
        checkpoints=1,
        device_batch=8,
        lora=lora,
        length_weight=0.3,
        length_by_pass_rate=True,
        length_credit=credit,
    )
    rewards: list[dict[str, float]] = []
    with Grader() as grader:
        reinforcement = Reinforcement(
            StudentModel(student_path, "cpu"),
            settings,
            TrainSettings(),
            grader.is_correct,
            lambda step, total, figures: rewards.append(figures),
            lambda _, thinking, answer: conclusion_end("", thinking, answer),
        )
        with pytest.raises(TrainingError, match="too few"):
            reinforcement.run(tasks[:5], tmp_path / "few")
        sampled = reinforcement.run(tasks, tmp_path)
    assert sampled > 0 and len(rewards) == 2 and all(0 <= r["reward"] <= 1 for r in rewards)
    before, after = (
        AutoModelForCausalLM.from_pretrained(p, dtype="auto") for p in (student_path, tmp_path / "model")
    )
    assert after.dtype == before.dtype  # and the weights have moved, unless the first checkpoint was the best
    assert all(bool(torch.isfinite(w).all()) for w in after.parameters())


@pytest.mark.long
def test_cot_valve_trains_phase_by_phase_and_resumes(student_path: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [
        "run", str(ROOT / "recipes/mini/cot_valve.yaml"), "--out", str(out), "method.short_model=mini", "method.shares=[0.5]",
        "problems=[{benchmark: mini-gsm, split: train, count: 8}]", "generate.sampling.max_new_tokens=300",
        "evaluate.benchmarks=[{benchmark: mini-gsm, count: 4}]", "evaluate.runs=1", "evaluate.sampling.max_new_tokens=300",
        "train.warmup=0",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    steps = [json.loads(line)["step"] for line in (out / "train/records.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) == 2
    assert (out / "train/phase-0/adapter").exists() and not (out / "explore/share-0.5/model").exists()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "already trained" in again.output and "merged again" not in again.output
    # Length control: another scale merges again, evaluates again, and trains nothing.
    weaker = CliRunner().invoke(app, [*arguments, "train.adapter_scale=0.5"])
    assert weaker.exit_code == 0 and "merged again at adapter scale 0.5" in weaker.output
    assert "evaluate/distilled: settings changed" in " ".join(weaker.output.split())
    assert len((out / "train/records.jsonl").read_text().splitlines()) == len(steps)
    back = CliRunner().invoke(app, arguments)
    assert back.exit_code == 0 and "merged again at adapter scale 1" in back.output


@pytest.mark.long
@pytest.mark.parametrize("credit", ["completion", "conclusion"])
def test_a_killed_reinforcement_goes_on_from_its_checkpoint(tmp_path: Path, credit: str) -> None:
    """SIGKILL in the middle of a round: the steps and their rewards are those of a run left alone."""
    command = [
        sys.executable, "-c", "from drp.cli.app import main; main()", "train", str(ROOT / "recipes/mini/think_prune.yaml"),
        "method.limits=[120]", "method.steps=6", "method.prompts=2", "method.generations=4", "method.validation=2", "method.checkpoints=3",
        "method.learning_rate=1e-3", "problems=[{benchmark: mini-gsm, split: train, count: 12}]",
        "method.length_weight=0.3", f"method.length_credit={credit}", "--out",
    ]  # fmt: skip
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    subprocess.run([*command, str(alone)], check=True, capture_output=True, timeout=280)
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waited = time.monotonic()
    while not list(killed.glob("train/round-0/checkpoints/checkpoint-2/round.json")):
        assert process.poll() is None and time.monotonic() - waited < 200
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (killed / "train/model").exists()
    done = subprocess.run([*command, str(killed)], check=True, capture_output=True, text=True, timeout=280)
    assert "6 steps" in done.stdout
    one, two = (
        [json.loads(line) for line in (out / "train/records.jsonl").read_text().splitlines()]
        for out in (alone, killed)
    )
    assert [r["step"] for r in two] == [1, 2, 3, 4, 5, 6]
    assert [(r["reward"], r["tokens"]) for r in one] == [(r["reward"], r["tokens"]) for r in two]
    sampled = [json.loads((out / "train/manifest.json").read_text())["counts"] for out in (alone, killed)]
    assert sampled[0] == sampled[1]
    assert not (killed / "train/round-0/checkpoints").exists()


def test_the_scale_of_an_adapter_moves_the_weights_in_proportion(student_path: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from drp.engines.transformers_engine import load_model, load_tokenizer
    from drp.training.saving import merge

    tuned: Any = get_peft_model(
        load_model(student_path, "cpu", "float32"),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(tmp_path / "adapter")
    tokenizer = load_tokenizer(student_path)
    weights: dict[float, torch.Tensor] = {}
    for scale in (0.0, 0.5, 1.0):
        merge(student_path, tmp_path / "adapter", scale, tokenizer, tmp_path / f"{scale}")
        model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / f"{scale}", dtype=torch.float32)
        weights[scale] = model.model.layers[0].mlp.up_proj.weight.detach()
    moved = weights[1.0] - weights[0.0]
    assert moved.norm() > 0
    assert (weights[0.5] - weights[0.0] - moved / 2).norm() < 0.02 * moved.norm()
