"""Fast decoding is tried against the model's own forward pass, and what is broken is not used."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from drp.engines import nucleus, trial
from drp.engines.base import Sampling
from drp.engines.decoding import decode
from drp.engines.nucleus import kernels
from drp.engines.pages import Pages
from drp.engines.rooms import Rooms
from drp.engines.slots import SlotDecoder

interpreted = pytest.mark.skipif(
    not kernels("cpu"), reason="needs Triton, told to interpret kernels: TRITON_INTERPRET=1"
)
HOW = Sampling(temperature=0, max_new_tokens=12)


def model_of(kind: str = "qwen3", dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """Return a model whose norms have weights and whose attention looks at some positions more than at others."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        kind, vocab_size=300, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=96, head_dim=32, max_position_embeddings=2048,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            elif "bias" not in name:
                weight.mul_(4)
    return model.to(dtype)


class OwnStep:
    """A step over pages by the model's own layers; with ``broken``, one norm's weight counts as ones."""

    def __init__(self, model: Any, broken: bool = False) -> None:
        self.model, self.broken = model, broken

    def __call__(self, token: torch.Tensor, position: torch.Tensor, pages: Pages) -> torch.Tensor:
        weight = self.model.model.layers[1].post_attention_layernorm.weight
        kept = weight.detach().clone()
        if self.broken:
            weight.fill_(1)
        try:
            return self.model(
                input_ids=token[:, None], position_ids=position[:, None], past_key_values=pages.cache,
                attention_mask=None, use_cache=True,
            ).logits[:, -1]  # fmt: skip
        finally:
            weight.copy_(kept)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("qwen2", torch.float32), ("qwen3", torch.bfloat16), ("llama", torch.bfloat16)]
)
def test_sound_decoding_passes(kind: str, dtype: torch.dtype) -> None:
    model = model_of(kind, dtype)
    assert trial.fault(model, None) is None
    sound: Any = OwnStep(model)
    assert trial.fault(model, sound) is None


def at_a_wrong_place(step: Any) -> Any:
    return lambda pages, position, length: step(pages, position + 1, length)


def rotated_wrongly(logits: Any) -> Any:
    return lambda decoder, token, position, length: logits(decoder, token, position + 1, length)


def without_the_newest(attend: Any) -> Any:
    def broken(pages: Any, layer: int, query: torch.Tensor, scale: float) -> torch.Tensor:
        right, pages.position = pages.position, (pages.position - 1).clamp(min=0)
        try:
            return attend(pages, layer, query, scale)
        finally:
            pages.position = right

    return broken


def of_another_scale(attend: Any) -> Any:
    return lambda pages, layer, query, scale: attend(pages, layer, query, scale * 1.2)


def pages_swapped(one: tuple[int, int], other: tuple[int, int]) -> Callable[[Any], Any]:
    """Return what makes two pages change places before the first step; each is a row and a number.

    Keys are stored as they are rotated, so that two full pages of one row may change places and nothing is wrong.
    """

    def breaking(step: Any) -> Any:
        def broken(pages: Any, position: torch.Tensor, length: int) -> None:
            pages.write()
            if not getattr(pages, "broken", False):
                table = pages.table.clone()
                pages.table[one], pages.table[other] = table[other], table[one]
                pages.broken = True
            step(pages, position, length)

        return broken

    return breaking


def lengths_mixed_up(prefill: Any) -> Any:
    return lambda pages, first, lengths, width: prefill(pages, first, [len_ - 1 for len_ in lengths], width)


BROKEN = [
    (Pages, "step", at_a_wrong_place),
    (SlotDecoder, "logits", rotated_wrongly),
    (Pages, "attend", without_the_newest),
    (Pages, "attend", of_another_scale),
    (Pages, "step", pages_swapped((0, 0), (2, 0))),
    (Pages, "step", pages_swapped((0, 3), (0, 4))),
    (Pages, "prefill", lengths_mixed_up),
]


@pytest.mark.parametrize(("owner", "name", "breaking"), BROKEN)
def test_broken_pages_are_refused(
    owner: Any, name: str, breaking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(dtype=torch.bfloat16)  # whose roundings hide the most
    monkeypatch.setattr(owner, name, breaking(getattr(owner, name)))
    assert "its logits differ" in (trial.fault(model, None) or "")


def test_a_norm_without_its_weight_is_refused() -> None:
    model = model_of(dtype=torch.bfloat16)
    step: Any = OwnStep(model, broken=True)
    assert "its logits differ" in (trial.fault(model, step) or "")


def test_numbers_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = Pages.attend
    monkeypatch.setattr(Pages, "attend", lambda *a: attend(*a) * torch.nan)
    assert "differ" in (trial.fault(model_of(), None) or "")


def test_a_graph_that_decodes_other_tokens_is_refused() -> None:
    model, prompts = model_of(), [[5, 6, 7], [9] * 150]
    rows = decode(model, prompts, [0, 0], HOW, [])
    assert trial.astray(model, prompts, rows, 1e-3) is None
    wrong = [rows[0], [*rows[1][:3], (rows[1][3] + 1) % 300, *rows[1][4:]]]
    assert "token 4 after a prompt of 150 tokens" in (trial.astray(model, prompts, wrong, 1e-3) or "")


def test_a_decoder_that_fails_says_so_once_and_decodes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = model_of(), [[5, 6, 7], list(range(8, 148)), [3] * 20]
    wanted = decode(model, prompts, [0] * 3, HOW, [])
    sound = SlotDecoder(model, [], 2, paged=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dict(sound.decode(prompts, [0] * 3, HOW)) == dict(enumerate(wanted))
    assert isinstance(sound.memory, Pages)

    def cannot(*_: Any) -> None:
        raise RuntimeError("no C compiler\nand more")

    for breaking in (of_another_scale(Pages.attend), cannot):
        with monkeypatch.context() as patch:
            patch.setattr(Pages, "attend", breaking)
            decoder = SlotDecoder(model, [], 2, paged=True)
            with pytest.warns(RuntimeWarning, match="is not used: .*(logits differ|no C compiler)") as said:
                assert dict(decoder.decode(prompts, [0] * 3, HOW)) == dict(enumerate(wanted))
            assert isinstance(decoder.memory, Rooms) and len(said) == 1
            longer = HOW.model_copy(update={"max_new_tokens": 300})  # more memory, and no second trial
            assert len(list(decoder.decode(prompts, [0] * 3, longer, [2] * 3))) == 3


def test_prompts_of_one_filling_go_in_several_passes() -> None:
    """The widest prompt is not in every pass: all passes are as wide as it."""
    model = model_of()
    prompts = [list(range(3, 3 + n)) for n in (77, 5, 78, 1, 130, 76, 131, 12)]
    how = Sampling(temperature=1, top_p=0.9, max_new_tokens=10)
    wanted = dict(enumerate(decode(model, prompts, range(8), how, [])))
    decoder = SlotDecoder(model, [], 8, paged=True)
    decoder.prefill_tokens = 300  # two rows a pass
    assert dict(decoder.decode(prompts, range(8), how)) == wanted


def test_rows_without_pages_make_way_and_lose_nothing() -> None:
    model = model_of()
    prompts = [list(range(3 + k, 129 + k)) for k in range(4)]
    wanted = dict(enumerate(decode(model, prompts, range(4), HOW, [])))
    decoder = SlotDecoder(model, [], 4, paged=True, pages=5)
    assert dict(decoder.decode(prompts, range(4), HOW)) == wanted
    assert decoder.used.set_back > 0
    memory: Any = decoder.memory
    assert sorted(memory.free) == list(range(1, memory.count))


FILTERS: tuple[dict[str, Any], ...] = ({"top_p": 0.95}, {"top_p": 1.0, "top_k": 20}, {"min_p": 0.1})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_draw_with_wrong_filters_is_refused(filters: dict[str, Any], dtype: torch.dtype) -> None:
    """What leaves a filter out, or is off by one, draws other tokens in many rows; the tensor operations in none."""
    how = Sampling.model_validate({"temperature": 0.6} | filters)

    def unlike(kernel: nucleus.Kernel) -> int:
        return nucleus.rows_unlike(kernel, torch.device("cpu"), dtype, 5000, how, 20.0, 0)

    def draw(logits: torch.Tensor, uniforms: torch.Tensor, how: Sampling, *_: Any) -> torch.Tensor:
        return nucleus.draw(logits, uniforms, how)

    without = how.model_copy(update={"top_p": 1.0, "top_k": 0, "min_p": 0.0})
    assert unlike(draw) == 0
    assert unlike(lambda *a: draw(a[0], a[1], without)) > nucleus.TIED_ROWS
    assert unlike(lambda *a: (draw(*a) + 1) % 5000) == nucleus.TRIED_ROWS
    assert unlike(lambda *a: draw(a[0], a[1] * 0.98, how)) > nucleus.TIED_ROWS


@interpreted
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_kernels_pass_and_broken_ones_do_not(kind: str) -> None:
    from drp.engines.fused import FusedStep

    model = model_of(kind)
    step = FusedStep(model)
    assert trial.fault(model, step) is None
    whole = step.layers
    other = model_of(kind, seed=1).model.layers[0].input_layernorm
    step.layers = [whole[0], replace(whole[1], between=other), whole[2]]
    assert "its logits differ" in (trial.fault(model, step) or "")
    step.layers = [whole[0], replace(whole[1], qkv=(whole[1].qkv[0].roll(32, 0), whole[1].qkv[1])), whole[2]]
    assert "its logits differ" in (trial.fault(model, step) or "")


@interpreted
def test_a_broken_draw_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from drp.engines import nucleus_kernel

    kernel, logits, how = nucleus_kernel.draw, torch.randn(4, 5000), Sampling(temperature=1, top_p=0.9)
    uniforms = torch.arange(4) / 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = nucleus.draw(logits, uniforms, how)
    monkeypatch.setattr(nucleus_kernel, "draw", lambda *a: kernel(*a) + 1)
    with pytest.warns(RuntimeWarning, match="draws other tokens in 64 of 64 rows"):
        assert nucleus.draw(logits, uniforms, how).tolist() == wanted.tolist()
