"""GRPO's loss at padding, with two sharp models made of the embedded student."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from drp.engines.encoding import encode, render_prompt
from drp.training.checkpoints import CheckpointEvaluation, Evaluated, RoundState
from drp.training.grpo import Reinforcer
from drp.training.rollouts import Drawn, Rollouts, Scoring, Task
from drp.training.settings import GrpoSettings


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


class Scripted(Rollouts):
    """Rollouts whose completions are given: one list of token ids a call, the same for each problem."""

    def __init__(self, tokenizer: Any, calls: list[list[int]], drawn: Drawn) -> None:
        self.tokenizer, self.calls, self.drawn = tokenizer, calls, drawn

    def complete(self, prompts: Any, temperature: float) -> list[list[int]]:
        """Return the next list for every prompt."""
        ids = self.calls.pop(0)
        self.drawn = Drawn(self.drawn.calls + 1, self.drawn.sampled + len(ids) * len(prompts))
        return [ids] * len(prompts)


def test_a_round_keeps_its_shortest_accurate_checkpoint_and_goes_on_from_where_it_was(
    student_path: str, tmp_path: Path
) -> None:
    """What a round knows came from attributes set on its parts from outside, in an order nothing enforced."""
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    stop = int(tokenizer.eos_token_id)
    right = [*encode(tokenizer, "1 + 1 = 2.\n</think>\n\nIt is 2."), stop]
    scoring = Scoring(tokenizer, [stop], True, lambda answer, gold: gold in answer, 99)
    tasks, settings = [Task("1 + 1?", "2")] * 2, GrpoSettings(most_loss=0.0)
    model = torch.nn.Linear(1, 1)

    def at(step: int, evaluation: CheckpointEvaluation) -> Evaluated | None:
        torch.nn.init.constant_(model.weight, step)
        evaluation.consider(model, step)
        return evaluation.best

    # Step 1 is as accurate and shorter, step 2 shorter still and wrong.
    calls = [[stop, *right], right, [stop]]
    evaluation = CheckpointEvaluation(Scripted(tokenizer, calls, Drawn()), scoring, tasks, settings)
    steps = [at(step, evaluation) for step in range(3)]
    assert [found.step for found in steps if found] == [0, 1, 1] and evaluation.weights["weight"] == 1
    assert evaluation.first and evaluation.best and evaluation.best.accuracy == 1
    RoundState(evaluation.rollouts.drawn, evaluation.first, evaluation.best, evaluation.weights).write(
        tmp_path
    )

    state = RoundState.read(tmp_path, torch.device("cpu"))
    assert state.drawn == Drawn(3, 2 * (2 * len(right) + 2))
    later = CheckpointEvaluation(Scripted(tokenizer, [right], state.drawn), scoring, tasks, settings, state)
    later.on_train_begin(model=model)  # draws nothing: an earlier process has
    assert (later.first, later.best) == (evaluation.first, evaluation.best)
    assert at(3, later) == Evaluated(3, 1.0, len(right)) and later.rollouts.drawn.calls == 4
