"""GRPO's loss at padding, with two sharp models made of the embedded student."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from drp.engines.encoding import encode, render_prompt
from drp.training.rl import Reinforcer


def unmasked(
    self: Any, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *_: Any, **__: Any
) -> Any:
    """Return log probabilities of padding too, as TRL before 1.15 computes them."""
    logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[:, -logits_to_keep - 1 : -1]
    logps = logits.log_softmax(-1)
    entropies = -(logps.exp() * logps).sum(-1)
    return logps.gather(-1, input_ids[:, -logits_to_keep:, None])[..., 0], entropies, None


def loss_and_gradient(
    trainer: Any, rows: list[list[int]], prompt: list[int], items: int
) -> tuple[float, Any]:
    """Return the loss of completions in one batch, padded to the longest, and its gradient at one weight."""
    width, model = max(map(len, rows)), trainer.model
    padded = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    prompts = torch.tensor([prompt] * len(rows))
    both, real = torch.cat([prompts, padded], 1), torch.cat([torch.ones_like(prompts), mask], 1)
    with torch.no_grad():
        reference, *_ = trainer._get_per_token_logps_and_entropies(trainer.ref_model, both, real, width)
    model.zero_grad()
    loss = trainer._compute_loss(
        model,
        {
            "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts), "completion_ids": padded,
            "completion_mask": mask, "ref_per_token_logps": reference, "num_items_in_batch": torch.tensor(items),
            "advantages": torch.tensor([1.0, -0.5])[: len(rows)] if len(rows) > 1 else torch.tensor([trainer.only]),
        },
    )  # fmt: skip
    loss.backward()
    return float(loss.detach()), model.model.layers[0].mlp.up_proj.weight.grad.clone()


@pytest.mark.parametrize("older", [True, False], ids=["as TRL before 1.15", "as installed"])
def test_padding_leaves_loss_and_gradient_as_they_are_without_it(
    student_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    """exp(reference - model) came before the mask: infinity at padding, times nothing, is no number anywhere."""
    if older:
        monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", unmasked)
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    policy = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32)
    with torch.no_grad():
        policy.model.norm.weight.mul_(
            12
        )  # a sharp model: the same preferences, its log probabilities in the hundreds
    prompt = encode(tokenizer, render_prompt(tokenizer, [{"role": "user", "content": "Ana has 12 shells."}]))
    drawn = policy.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[
        0, len(prompt) :
    ].tolist()
    rows = [drawn, drawn[:9]]

    def trainer(kind: type[GRPOTrainer]) -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path), beta=0.05, bf16=False, use_cpu=True, report_to="none",
            per_device_train_batch_size=2, num_generations=2, gradient_checkpointing=False,
        )  # fmt: skip
        made: Any = kind(
            model=policy, reward_funcs=lambda **_: [0.0], args=config, processing_class=tokenizer,
            train_dataset=Dataset.from_list([{"prompt": "a"}]),
        )  # fmt: skip
        made.current_gradient_accumulation_steps = 1
        policy.train()
        return made

    ours = trainer(Reinforcer)
    items = sum(map(len, rows))
    loss, gradient = loss_and_gradient(ours, rows, prompt, items)
    apart: list[tuple[float, Any]] = []
    for row, ours.only in zip(rows, (1.0, -0.5), strict=True):
        apart.append(loss_and_gradient(ours, [row], prompt, items))
    assert loss == pytest.approx(sum(a for a, _ in apart), rel=1e-3, abs=1e-6)
    wanted = apart[0][1] + apart[1][1]
    assert wanted.norm() > 0 and (gradient - wanted).norm() < 1e-3 * wanted.norm()
    if older:  # what it is there for
        lost, spoilt = loss_and_gradient(trainer(GRPOTrainer), rows, prompt, items)
        assert not torch.isfinite(torch.tensor(lost)) and not bool(torch.isfinite(spoilt).any())
