import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

from drp.engines.decoding import decode
from drp.engines.sampling import sample, uniform
from drp.engines.slots import SlotDecoder, fits


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
    share = torch.bincount(sample(logits, seeds, 3, 1.0, 1.0), minlength=4) / 40_000
    assert torch.allclose(share, torch.tensor([0.05, 0.5, 0.3, 0.15]), atol=0.012)
    share = torch.bincount(sample(logits, seeds, 3, 1.0, 0.8), minlength=4) / 40_000
    assert torch.allclose(share, torch.tensor([0.0, 0.625, 0.375, 0.0]), atol=0.012)
    cold = torch.bincount(sample(logits, seeds, 3, 0.5, 1.0), minlength=4) / 40_000
    assert cold[1] > 0.65
    assert (sample(logits[:4], seeds[:4], 0, 0.0, 1.0) == 1).all()


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
    ours = decode(
        model, prompts, [1, 2], temperature=0, top_p=1, max_new_tokens=150,
        stop_ids=[tokenizer.eos_token_id], pad_id=0,
    )  # fmt: skip
    for prompt, output in zip(prompts, ours, strict=True):
        reference = model.generate(torch.tensor([prompt]), max_new_tokens=150, do_sample=False)
        assert output == reference[0, len(prompt) :].tolist()
        assert output[-1] == tokenizer.eos_token_id


def test_a_row_does_not_depend_on_its_company(student) -> None:
    tokenizer, model = student
    prompts = [tokenizer.encode(f"Ana has {n} shells.") for n in (5, 17, 204)]
    settings = {
        "temperature": 0.8,
        "top_p": 0.9,
        "max_new_tokens": 40,
        "stop_ids": [tokenizer.eos_token_id],
        "pad_id": 0,
    }
    together = decode(model, prompts, [11, 12, 13], **settings)
    for prompt, seed, row in zip(prompts, (11, 12, 13), together, strict=True):
        assert decode(model, [prompt], [seed], **settings) == [row]
    assert decode(model, prompts, [21, 22, 23], **settings) != together


def test_slots_decode_what_the_loop_decodes_and_take_new_prompts(student) -> None:
    tokenizer, model = student
    prompts = [tokenizer.encode(f"Ana has {n} shells. How many?") for n in range(3, 15)]
    seeds = list(range(50, 62))
    for temperature, top_p in ((0.0, 1.0), (0.7, 0.9)):
        how = {"temperature": temperature, "top_p": top_p, "max_new_tokens": 40}
        wanted = decode(model, prompts, seeds, stop_ids=[tokenizer.eos_token_id], pad_id=0, **how)
        for count in (12, 5):  # all at once; and five slots for twelve prompts
            slots = SlotDecoder(model, [tokenizer.eos_token_id], count)
            assert dict(slots.decode(prompts, seeds, **how)) == dict(enumerate(wanted))
            again = dict(slots.decode(prompts[:4], seeds[:4], **how))  # the same caches, used again
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
