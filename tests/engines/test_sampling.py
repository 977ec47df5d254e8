import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.sampling import sample, uniform
from drp.engines.slots import SlotDecoder, fits

GREEDY = Sampling(temperature=0, max_new_tokens=150)


def test_uniform_numbers_are_uniform_and_belong_to_the_row() -> None:
    seeds = torch.arange(20_000)
    for step in (0, 1, 700):
        draws = uniform(seeds, step)
        assert draws.min() >= 0 and draws.max() < 1
        counts = torch.histc(draws.float(), bins=20, min=0, max=1)
        assert ((counts - 1000).abs() < 150).all()  # 5 standard deviations
        assert torch.equal(uniform(seeds[7:9], step), draws[7:9])


def test_sampling_follows_the_nucleus() -> None:
    logits = torch.log(torch.tensor([0.05, 0.5, 0.3, 0.15])).repeat(40_000, 1)
    seeds = torch.arange(40_000)

    def drawn(**how: float) -> torch.Tensor:
        return torch.bincount(sample(logits, seeds, 3, Sampling.model_validate(how)), minlength=4) / 40_000

    share = drawn(temperature=1, top_p=1)
    assert torch.allclose(share, torch.tensor([0.05, 0.5, 0.3, 0.15]), atol=0.012)
    share = drawn(temperature=1, top_p=0.8)
    assert torch.allclose(share, torch.tensor([0.0, 0.625, 0.375, 0.0]), atol=0.012)
    assert drawn(temperature=0.5, top_p=1)[1] > 0.65
    assert drawn(temperature=0)[1] == 1


def test_filters_leave_the_tokens_they_say() -> None:
    logits = torch.log(torch.tensor([0.05, 0.5, 0.3, 0.15])).repeat(20_000, 1)
    seeds = torch.arange(20_000)

    def drawn(seen: torch.Tensor | None = None, **how: float) -> list[float]:
        sampling = Sampling.model_validate({"temperature": 1, "top_p": 1} | how)
        counts = torch.bincount(sample(logits, seeds, 3, sampling, seen), minlength=4)
        return [round(float(c), 2) for c in counts / len(seeds)]

    assert drawn(top_k=2) == pytest.approx([0, 0.625, 0.375, 0], abs=0.02)
    assert drawn(min_p=0.25) == pytest.approx([0, 0.526, 0.316, 0.158], abs=0.02)
    assert drawn(top_k=2, top_p=0.6) == [0, 1, 0, 0]  # the nucleus is of what top_k left: 0.625 is enough
    seen = torch.tensor([False, True, False, False]).expand_as(logits)
    assert drawn(seen, temperature=0, repetition_penalty=3.0) == [0, 0, 1, 0]


def test_the_largest_draw_takes_a_token_with_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """In single precision a draw of 1 - 2**-53 is 1.0, which pointed behind the last token: at the least likely one."""
    from drp.engines import sampling

    monkeypatch.setattr(
        sampling, "uniform", lambda seeds, _: torch.full(seeds.shape, 1 - 2.0**-53, dtype=torch.double)
    )
    logits = torch.full((1, 50_000), -40.0)
    logits[0, 7], logits[0, 9] = 5.0, 4.0
    assert int(sample(logits, torch.zeros(1, dtype=torch.long), 0, Sampling(temperature=1, top_p=1))) == 9


def test_repetition_penalty_is_generates(student) -> None:
    """The same rule as transformers' and vLLM's: prompt and completion count, padding does not."""
    tokenizer, model = student
    prompts = [tokenizer.encode(f"Ana has {n} shells." + " Ben too." * (n % 3)) for n in (5, 17, 204)]
    how = Sampling(temperature=0, repetition_penalty=1.4, max_new_tokens=30)
    for row, prompt in zip(
        decode(model, prompts, [1, 2, 3], how, [tokenizer.eos_token_id]), prompts, strict=True
    ):
        reference = model.generate(
            torch.tensor([prompt]), max_new_tokens=30, do_sample=False, repetition_penalty=1.4
        )
        assert row == reference[0, len(prompt) :].tolist()


TINY = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 256,
}  # fmt: skip
RECURRENT = {
    "qwen3_next": {
        "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32, "full_attention_interval": 2,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(RECURRENT))
def test_recurrent_states_follow_the_rows_that_go_on(kind: str) -> None:
    """Once rows ended, the states of convolutions and recurrences stayed as many as before: a crash."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TINY, **RECURRENT[kind])).eval()
    prompts = [[5, 6, 7], [9, 10, 11, 12, 13, 14], [20, 21], [33] * 5, [3, 4]]
    how = Sampling(temperature=1, top_p=1, max_new_tokens=40)
    together = decode(model, prompts, range(5), how, range(6))
    assert len({len(row) for row in together}) > 2
    assert together == [decode(model, [p], [s], how, range(6))[0] for s, p in enumerate(prompts)]


@pytest.fixture(scope="module")
def student(student_path: str):
    return AutoTokenizer.from_pretrained(student_path), AutoModelForCausalLM.from_pretrained(
        student_path, dtype=torch.float32
    ).eval()


def test_greedy_decoding_equals_generate(student) -> None:
    tokenizer, model = student
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True, return_dict=False)
        for q in ("Ana has 12 shells. Ben has 3 more shells than Ana. How many shells does Ben have?",
                  "Gia has 9 cards. Then Gia finds 8 more cards. Leo has 2 times as many cards as Gia. "
                  "How many cards does Leo have?")
    ]  # fmt: skip
    ours = decode(model, prompts, [1, 2], GREEDY, [tokenizer.eos_token_id])
    for prompt, output in zip(prompts, ours, strict=True):
        reference = model.generate(torch.tensor([prompt]), max_new_tokens=150, do_sample=False)
        assert output == reference[0, len(prompt) :].tolist()
        assert output[-1] == tokenizer.eos_token_id


def test_a_row_does_not_depend_on_its_company(student) -> None:
    tokenizer, model = student
    prompts = [tokenizer.encode(f"Ana has {n} shells.") for n in (5, 17, 204)]
    how, stops = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=40), [tokenizer.eos_token_id]
    together = decode(model, prompts, [11, 12, 13], how, stops)
    for prompt, seed, row in zip(prompts, (11, 12, 13), together, strict=True):
        assert decode(model, [prompt], [seed], how, stops) == [row]
    assert decode(model, prompts, [21, 22, 23], how, stops) != together


def test_slots_decode_what_the_loop_decodes_and_take_new_prompts(student) -> None:
    tokenizer, model = student
    prompts = [tokenizer.encode(f"Ana has {n} shells. How many?") for n in range(3, 15)]
    seeds = list(range(50, 62))
    for changes in (
        {"temperature": 0.0},
        {"temperature": 0.7},
        {"top_k": 9, "min_p": 0.01, "repetition_penalty": 1.3},
    ):
        how = Sampling(top_p=0.9, max_new_tokens=40).model_copy(update=changes)
        wanted = decode(model, prompts, seeds, how, [tokenizer.eos_token_id])
        for count in (12, 5):  # all at once; and five slots for twelve prompts
            slots = SlotDecoder(model, [tokenizer.eos_token_id], count)
            assert dict(slots.decode(prompts, seeds, how)) == dict(enumerate(wanted))
            again = dict(slots.decode(prompts[:4], seeds[:4], how))  # the same caches, used again
            assert again == dict(enumerate(wanted[:4]))
    assert model.config._attn_implementation == "sdpa"


def test_only_plain_full_attention_fits_slots(student) -> None:
    _, model = student
    assert fits(model)
    sliding = Gemma2ForCausalLM(
        Gemma2Config(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                     num_attention_heads=2, num_key_value_heads=1, head_dim=8)
    ).eval()  # fmt: skip
    assert not fits(sliding)
