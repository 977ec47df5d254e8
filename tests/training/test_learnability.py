"""Learnability on real weights and on other architectures: the right figure, with a bound on logits."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from drp.engines import heads
from drp.training import learnability
from drp.training.examples import Example, build_example
from drp.training.learnability import mean_nll, summed_nll

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}


def plainly(model: Any, example: Example) -> tuple[float, int]:
    """Return the same by the whole model's own logits, one example at a time."""
    with torch.no_grad():
        logits = model(torch.tensor([example.input_ids])).logits[0].float().log_softmax(-1)
    scored = range(example.prompt_length, len(example.input_ids))
    return -sum(float(logits[i - 1, example.input_ids[i]]) for i in scored), len(scored)


def random_examples(vocabulary: int) -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    return [
        Example(str(n), torch.randint(1, vocabulary, (n,), generator=generator).tolist(), n // 3)
        for n in (30, 12, 47, 9, 47, 33)
    ]


@pytest.fixture(scope="module")
def student(student_path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32).eval()


def test_logits_are_bounded_and_only_those_of_responses(
    student: Any, student_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole traces of 12,000 tokens in batches of 16 were 77 GB of logits; the figure is the same without them."""
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    ask = [{"role": "user", "content": "Ana has 12 shells. Ben has 3 more. How many has Ben?"}]
    thinking = "Ben has 3 more, so 12 + 3 = 15. Wait, let me check. "
    examples = [
        build_example(tokenizer, str(n), ask, thinking * n, "It is \\boxed{15}.") for n in (1, 20, 5, 9)
    ]
    wanted = [plainly(student, example) for example in examples]
    vocabulary = student.config.vocab_size
    monkeypatch.setattr(heads, "LOGITS", {"cpu": 64 * vocabulary})
    monkeypatch.setattr(learnability, "TOKENS", 600)
    sizes: list[int] = []
    passes: list[int] = []
    hooks = [
        student.lm_head.register_forward_hook(lambda _, __, out: sizes.append(out.numel())),
        student.model.layers[0].register_forward_hook(
            lambda _, given, __: passes.append(given[0][..., 0].numel())
        ),
    ]
    try:
        found = summed_nll(student, examples)
    finally:
        for hook in hooks:
            hook.remove()
    assert max(sizes) <= 64 * vocabulary
    # Nothing of the prompts but one probing position a pass.
    assert sum(sizes) // vocabulary == sum(count for _, count in wanted) + len(passes)
    assert max(passes) <= max(600, *(len(e.input_ids) for e in examples)) and len(passes) > 1
    for (total, count), (total_plain, count_plain) in zip(found, wanted, strict=True):
        assert count == count_plain and total == pytest.approx(total_plain, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("gemma2", {"final_logit_softcapping": 2.0}),
        ("cohere", {"logit_scale": 0.25}),
        ("mixtral", {"num_local_experts": 2}),
        ("mamba", {"state_size": 4, "time_step_rank": 4}),
        ("opt", {"ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 64}),
        ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2}),
    ],
)
def test_it_holds_for_models_that_change_their_logits_or_have_no_body_apart(
    kind: str, more: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL, **more)).float().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    examples = random_examples(97)
    for (total, count), (wanted, n) in zip(
        summed_nll(model, examples), (plainly(model, e) for e in examples), strict=True
    ):
        assert count == n and total == pytest.approx(wanted, rel=1e-4)
    assert "forward" not in vars(model.base_model)


def test_the_mean_is_over_tokens(student: Any) -> None:
    examples = random_examples(97)
    sums = summed_nll(student, examples)
    assert mean_nll(student, examples) == pytest.approx(sum(t for t, _ in sums) / sum(n for _, n in sums))
