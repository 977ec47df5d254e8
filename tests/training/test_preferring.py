"""Objectives on pairs: their losses against their formulas, and the same however a step's pairs lie; on real weights."""

import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.training.collating import StepCollator
from drp.training.lora import fuse
from drp.training.packing import PACKED
from drp.training.preferring import log_odds
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune, rows_of, trainer_for
from tests.training.test_preference import pairs, summed

Objective = Literal["preference", "lcpo"]
PARTS: dict[str, dict[str, Any]] = {
    "one padded batch": {"rows": 5},
    "a pair at a time": {"rows": 1},
    "padded parts": {"rows": 5, "tokens": 400},
    "packed parts": {"rows": 5, "tokens": 400, "packed": True},
    "packed at once": {"rows": 5, "tokens": 10_000, "packed": True},
}


def test_log_odds_are_those_of_the_probability_and_finite_where_it_is_one() -> None:
    for p in (0.01, 0.5, 0.93, 0.999):
        assert float(log_odds(torch.tensor(math.log(p)))) == pytest.approx(math.log(p / (1 - p)), rel=1e-3)
    certain = torch.zeros(1, requires_grad=True)
    log_odds(certain).backward()
    assert bool(torch.isfinite(log_odds(certain)).all()) and certain.grad == 0


def trained(student_path: str, tmp_path: Path, settings: TrainSettings) -> tuple[Any, list[dict[str, Any]]]:
    """Return a trainer whose adapter has moved a little from the student, and its rows, the last of which is blank."""
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    preferred, _ = pairs(tokenizer)
    rows = rows_of(preferred, settings.objective)
    model = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32)
    data = Dataset.from_list(rows)
    trainer = trainer_for(model, tokenizer, data, settings, tmp_path, torch.device("cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    return trainer.model.eval() and trainer, rows


def step(trainer: Any, given: list[dict[str, Any]], **how: Any) -> tuple[float, torch.Tensor]:
    """Return the loss of one step and its gradient at every weight of the adapter."""
    trainer.model.set_attn_implementation(PACKED if how.get("packed") else "sdpa")
    trainer.model.zero_grad()
    collated, total = StepCollator(0, **how)(given), 0.0
    for part in collated["parts"]:
        loss = trainer.compute_loss(trainer.model, part, num_items_in_batch=collated["items"])
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("objective", ["preference", "lcpo"])
def test_the_loss_is_its_formula_and_the_same_however_pairs_lie(
    student_path: str, tmp_path: Path, objective: Objective
) -> None:
    """Pairs could not lie in parts by tokens: `device_tokens` was ignored, and a long pair filled a device alone."""
    settings = TrainSettings(objective=objective, rank=4, beta=0.3, sft_weight=0.5)
    trainer, rows = trained(student_path, tmp_path, settings)
    found = {name: step(trainer, rows, **how) for name, how in PARTS.items()}
    first, gradient = found["one padded batch"]
    for loss, other in found.values():
        assert loss == pytest.approx(first, abs=1e-5)
        assert (other - gradient).norm() < 1e-4 * gradient.norm()
    assert gradient.norm() > 0

    preferred, own = pairs(trainer.processing_class)
    trainer.model.set_attn_implementation("sdpa")

    def sums() -> torch.Tensor:
        model = trainer.model.get_base_model()
        return torch.tensor([[summed(model, [e]) for e in both] for both in (preferred, own)])

    counts = torch.tensor([[len(e.input_ids) - e.prompt_length for e in both] for both in (preferred, own)])
    with torch.no_grad():
        now = sums()
        with trainer.model.disable_adapter():
            before = sums()
    if objective == "lcpo":
        p = (now / counts).exp()
        odds = p / (1 - p)
        wanted = -(odds[0] / (odds[0] + odds[1])).log().mean()
    else:
        margin = 0.3 * ((now - before)[0] - (now - before)[1])
        wanted = (1 + (-margin).exp()).log().mean() - 0.5 * now[0].sum() / counts[0].sum()
    assert first == pytest.approx(float(wanted), abs=1e-4)


def test_lcpo_moves_the_odds_towards_the_preferred_texts(student_path: str, tmp_path: Path) -> None:
    preferred, own = pairs(AutoTokenizer.from_pretrained(student_path))
    settings = TrainSettings(
        objective="lcpo", learning_rate=1e-3, epochs=4, effective_batch=4, max_length=512, device_tokens=400
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

    def margin(folder: str | Path) -> float:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        per_token = [
            torch.tensor([summed(model, [e]) / (len(e.input_ids) - e.prompt_length) for e in both])
            for both in (preferred, own)
        ]
        return float((log_odds(per_token[0]) - log_odds(per_token[1])).mean())

    assert margin(tmp_path / "model") > margin(student_path) + 0.2


def test_the_reference_is_the_student_where_layers_are_fused(student_path: str, tmp_path: Path) -> None:
    """On a GPU the fused layers added the adapter to the reference, too: DPO's margin was 0 throughout, and its push never let up."""
    settings = TrainSettings(objective="preference", rank=4, beta=0.3, sft_weight=0.5)
    trainer, rows = trained(student_path, tmp_path, settings)
    loss, gradient = step(trainer, rows, rows=5)
    assert fuse(trainer.model) > 0
    found, other = step(trainer, rows, rows=5)
    assert found == pytest.approx(loss, abs=1e-4)
    assert (other - gradient).norm() < 1e-3 * gradient.norm()
