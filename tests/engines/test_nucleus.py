from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from drp.engines import nucleus
from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.rooms import Rooms
from drp.engines.slots import SlotDecoder

FILTERS: tuple[dict[str, Any], ...] = (
    {"top_p": 1.0},
    {"top_p": 0.95},
    {"top_p": 0.5, "temperature": 0.6},
    {"top_p": 0.3, "temperature": 5.0},
    {"top_p": 0.97, "temperature": 9.0},  # beyond the tokens that are looked at first
    {"top_p": 1.0, "top_k": 40},
    {"top_p": 0.8, "top_k": 40},
    {"top_p": 1.0, "min_p": 0.05},
    {"top_p": 0.9, "top_k": 100, "min_p": 0.02},
)


def by_sorting(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Return each token's probability by the definition: a stable sort, then one filter after another."""
    ranked, order = torch.softmax(logits.double() / how.temperature, -1).sort(stable=True, descending=True)
    if how.min_p:
        ranked = ranked.masked_fill(ranked < how.min_p * ranked[0], 0)
    if how.top_k:
        ranked[how.top_k :] = 0
    mass = ranked.cumsum(-1)
    if how.top_p < 1:
        ranked = ranked.masked_fill(mass - ranked >= how.top_p * mass[-1], 0)
    return torch.zeros_like(ranked).scatter(0, order, ranked / ranked.sum())


@pytest.mark.parametrize("number_format", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_an_unsorted_draw_has_the_distribution_of_a_sorted_one(
    filters: dict[str, Any], number_format: torch.dtype
) -> None:
    """Over an even grid of random numbers each token comes as often as its probability says: no chance in it.

    In bfloat16 many tokens are equally likely, at the edge of the nucleus too.
    """
    how = Sampling.model_validate({"temperature": 1.0} | filters)
    torch.manual_seed(0)
    count, logits = 250, (torch.randn(5000) * 3).to(number_format)
    expected = by_sorting(logits.float(), how)
    uniforms = (torch.arange(count, dtype=torch.double) + 0.5) / count
    drawn = nucleus.draw(logits.expand(count, -1), uniforms, how)
    assert float((torch.bincount(drawn, minlength=5000) / count - expected).abs().max()) <= 1.01 / count
    assert bool((expected[drawn] > 0).all())
    # The last random numbers reach the first token and the last one that may be drawn.
    ends = nucleus.draw(logits.expand(2, -1), torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.double), how)
    assert bool((expected[ends] > 0).all())


def test_of_equally_likely_tokens_the_first_are_drawn() -> None:
    logits = torch.zeros(1000, 6000)
    uniforms = torch.arange(1000) / 1000
    drawn = nucleus.draw(logits, uniforms, Sampling(temperature=1, top_p=0.0105))
    assert drawn.unique().tolist() == list(range(63))
    drawn = nucleus.draw(logits, uniforms, Sampling(temperature=1, top_p=1, top_k=7))
    assert torch.bincount(drawn).tolist() == pytest.approx([1000 / 7] * 7, abs=1)


class Narrow(Rooms):
    """Rooms with memory for a few tokens only, as pages have it."""

    def __init__(self, model: Any, slots: int, room: int, tokens: int) -> None:
        super().__init__(model, slots, room)
        self.tokens, self.held = tokens, dict[int, int]()
        self.refused = 0

    def hold(self, slot: int, tokens: int, spare: int = 0) -> bool:
        others = sum(self.held.values()) - self.held.get(slot, 0)
        if others + tokens + spare > self.tokens:
            self.refused += 1
            return False
        self.held[slot] = tokens
        return True

    def let_go(self, slot: int) -> None:
        self.held.pop(slot, None)

    def move(self, holes: Any, movers: Any) -> None:
        super().move(holes, movers)
        self.held |= {hole: self.held.pop(mover) for hole, mover in zip(holes, movers, strict=True)}


def tiny() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen2", vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=256,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


def test_rows_that_make_way_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory runs out the youngest rows go back to the queue, and go on later from where they were."""
    model = tiny()
    prompts, seeds = [[5 + i, 6, 7] * (1 + i % 3) for i in range(7)], list(range(7))
    how = Sampling(temperature=1, top_p=0.9, max_new_tokens=40, repetition_penalty=1.2)
    wanted = decode(model, prompts, seeds, how, [1])
    decoder = SlotDecoder(model, [1], 5)
    narrow = Narrow(model, 5, 128, 60)
    monkeypatch.setattr(decoder, "_memory", lambda: narrow)
    assert dict(decoder.decode(prompts, seeds, how)) == dict(enumerate(wanted))
    assert decoder.used.set_back > 0 and narrow.refused > 0 and not narrow.held
    assert decoder.used.tokens == sum(map(len, wanted)) < decoder.used.slot_steps


def test_a_row_ends_at_its_own_limit() -> None:
    model = tiny()
    how = Sampling(temperature=0, max_new_tokens=30)
    found = dict(SlotDecoder(model, [], 2).decode([[5, 6]] * 3, range(3), how, [4, 30, 11]))
    assert [len(found[i]) for i in range(3)] == [4, 30, 11]
    assert found[1][:4] == found[0]
