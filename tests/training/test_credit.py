"""Which tokens answer for a completion's length, by figures and on real weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from drp.engines.encoding import encode, render_prompt
from drp.errors import RecipeError
from drp.recipe import defining, load_recipe
from drp.training.credit import Score, advantages, conclusion_end, tokens_until
from drp.training.grpo import Reinforcer
from drp.training.rollouts import Judge, Scoring

QUESTION = "Ana has 12 shells. Ben has 3 more. How many shells has Ben?"
BEFORE = "Ben has 3 more, so 12 + 3 = 15. So Ben has 15 shells."
BEHIND = " Let me double-check that. 12 + 3 = 15. Yes, that is right."
CLOSED = "\n</think>\n\nThe answer is \\boxed{15}."


def completions(tokenizer: Any) -> list[list[int]]:
    """Return a completion that stops where it concludes, one that goes on, one that is wrong, one that never ends."""
    stop = int(tokenizer.eos_token_id)
    texts = [BEFORE + CLOSED, BEFORE + BEHIND + CLOSED, BEFORE + CLOSED.replace("15", "16")]
    return [*([*encode(tokenizer, text), stop] for text in texts), encode(tokenizer, BEFORE)]


def scoring(tokenizer: Any, **settings: Any) -> Scoring:
    """Return how they are scored at a limit of 100 tokens."""
    stops = [int(tokenizer.eos_token_id)]
    concludes = (lambda _, thinking, answer: conclusion_end(QUESTION, thinking, answer)) if settings.pop(
        "steps", False
    ) else None  # fmt: skip
    return Scoring(
        tokenizer, stops, True, lambda answer, gold: gold in answer, 100, concludes=concludes, **settings
    )


def test_the_conclusion_is_found_in_the_text_and_among_the_tokens(student_path: str) -> None:
    end = conclusion_end(QUESTION, BEFORE + BEHIND, "The answer is \\boxed{15}.")
    assert end is not None and (BEFORE + BEHIND)[:end].strip() == BEFORE
    assert conclusion_end(QUESTION, "Let me think.", "The answer is \\boxed{15}.") is None
    assert conclusion_end(QUESTION, BEFORE, "I do not know.") is None
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    ids = encode(tokenizer, BEFORE + BEHIND)
    count = tokens_until(tokenizer, ids, end)
    assert tokenizer.decode(ids[:count]).startswith(BEFORE)
    assert not tokenizer.decode(ids[: count - 1]).startswith(BEFORE)


def test_length_costs_less_where_fewer_completions_are_right(student_path: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    rows = completions(tokenizer)
    shares = [len(row) / 100 for row in rows]
    plain = scoring(tokenizer, length_weight=0.4).scores(rows, ["15"] * 4)
    assert [s.reward for s in plain] == [1 - 0.4 * shares[0], 1 - 0.4 * shares[1], 0, 0]
    # Two of four are right, and of another problem both; the same completions, the same lengths.
    half = scoring(tokenizer, length_weight=0.4, by_pass_rate=True)
    mixed = half.scores([*rows, *rows[:2]], ["15"] * 4 + ["\\boxed{15}"] * 2)
    assert [s.reward for s in mixed] == pytest.approx(
        [1 - 0.2 * shares[0], 1 - 0.2 * shares[1], 0, 0, 1 - 0.4 * shares[0], 1 - 0.4 * shares[1]]
    )


def test_only_what_stands_behind_the_conclusion_counts_as_length(student_path: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    rows = completions(tokenizer)
    short, long, wrong, _ = scoring(tokenizer, length_weight=0.4, steps=True).scores(rows, ["15"] * 4)
    assert short.start == long.start > 0 and wrong == Score(right=False)
    assert tokenizer.decode(rows[1][long.start :]).strip().startswith("Let me double-check")
    assert long.length == pytest.approx(-0.4 * (len(rows[1]) - long.start) / 100)


def test_advantages_of_a_whole_completion_are_grpos_and_those_by_steps_differ_behind_the_conclusion() -> None:
    scores = [Score(right=True, length=-0.1), Score(right=True, length=-0.3)]
    rewards = torch.tensor([s.reward for s in scores])
    grpo = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    assert torch.allclose(advantages(scores, 2, 3), grpo[:, None].expand(2, 3))
    later = [
        Score(right=True, length=-0.1, start=1),
        Score(right=True, length=-0.3, start=2),
        Score(right=False),
    ]
    found = advantages(later, 3, 4)
    right = found[2, 0] * -0.5  # one wrong of three: the right ones stand half as far on the other side
    assert torch.allclose(found[0], torch.stack([right, *[found[0, 3]] * 3])) and found[0, 3] > right
    assert torch.allclose(found[1], torch.stack([right, right, *[found[1, 3]] * 2])) and found[1, 3] < right
    assert bool((found[2] == found[2, 0]).all())
    none = advantages([Score(right=False)] * 2, 2, 3)
    assert bool((none == 0).all())


class Watched(Reinforcer):
    """Keeps the log probabilities of the last loss, to look at their gradients."""

    def _get_per_token_logps_and_entropies(self, *positional: Any, **named: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*positional, **named)
        if found[0].requires_grad:
            self.seen = found[0]
            self.seen.retain_grad()
        return found


def test_gradients_differ_only_behind_conclusions(student_path: str, tmp_path: Path) -> None:
    """Through the trainer's own step: its batch, its padding, its loss."""
    tokenizer: Any = AutoTokenizer.from_pretrained(student_path)
    rows = completions(tokenizer)[:2] + completions(tokenizer)[:1]
    messages = [{"role": "user", "content": QUESTION}]
    prompt = render_prompt(tokenizer, messages)

    def gradients(weight: float, steps: bool) -> tuple[torch.Tensor, list[Score]]:
        judge = Judge(scoring(tokenizer, length_weight=weight, steps=steps))
        config = GRPOConfig(
            output_dir=str(tmp_path), beta=0.0, bf16=False, use_cpu=True, report_to="none", max_completion_length=100,
            per_device_train_batch_size=3, num_generations=3, gradient_checkpointing=False,
        )  # fmt: skip
        trainer: Any = Watched(
            model=AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32), reward_funcs=judge.reward,
            args=config, processing_class=tokenizer, train_dataset=Dataset.from_list([{"prompt": "a", "gold": "15"}]),
            rollout_func=lambda prompts, _: {
                "prompt_ids": [encode(tokenizer, p) for p in prompts], "completion_ids": rows, "logprobs": None,
            },
        )  # fmt: skip
        trainer.current_gradient_accumulation_steps = 1
        if steps:
            trainer.judge, trainer.generations = judge, 3
        trainer.model.train()
        batch = trainer._generate_and_score_completions([{"prompt": prompt, "gold": "15"}] * 3)
        trainer._compute_loss(trainer.model, batch).backward()
        return trainer.seen.grad, list(judge.latest)

    by_steps, scores = gradients(0.4, True)
    whole, _ = gradients(0.4, False)
    starts = [s.start for s in scores]
    assert starts[0] == starts[1] > 5
    # All are right: nothing but length tells them apart, and what stands before the conclusion is not touched by it.
    assert bool((by_steps[:, : starts[0]] == 0).all()) and bool((whole[:, : starts[0]] != 0).all())
    assert bool((by_steps[1, starts[1] : len(rows[1])] > 0).all())  # going down: the gradient of a loss
    assert bool((by_steps[0, starts[0] : len(rows[0])] < 0).all())
    assert bool((by_steps[0, len(rows[0]) :] == 0).all())  # padding


def test_how_length_counts_needs_a_length_term_and_leaves_earlier_runs_theirs() -> None:
    with pytest.raises(RecipeError, match=r"that is 0: set length_weight"):
        load_recipe(None, ["method=think_prune", "method.length_credit=conclusion"])
    changed = load_recipe(
        None, ["method=think_prune", "method.length_weight=0.3", "method.length_credit=conclusion"]
    )
    plain = load_recipe(None, ["method=think_prune", "method.length_weight=0.3"])
    assert set(defining(changed.method)) - set(defining(plain.method)) == {"length_credit"}
