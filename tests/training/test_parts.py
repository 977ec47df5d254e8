"""A step's examples in parts: every one once, none over the budget, and the step's gradient is the same however they lie."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer

from drp.errors import TrainingError
from drp.recipe import load_recipe
from drp.training.collating import StepCollator
from drp.training.loading import packs, to_be_trained
from drp.training.lora import fuse, new_adapter
from drp.training.order import EpochSampler
from drp.training.packing import PACKED, why_not_packed
from drp.training.parts import parts_of, shared_out
from drp.training.recompute import Kept, Recompute, layers_kept
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune
from tests.training.test_order import examples

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(lengths=LENGTHS, budget=st.integers(8, 600), packed=st.booleans())
def test_every_row_is_in_one_part_and_no_part_over_the_budget(
    lengths: list[int], budget: int, packed: bool
) -> None:
    parts = parts_of(lengths, budget, packed=packed)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        own = [lengths[row] for row in part]
        assert len(part) == 1 or (sum(own) if packed else max(own) * len(own)) <= budget


def test_rows_of_about_one_length_are_padded_together() -> None:
    assert parts_of([3, 100, 4, 99, 5], 200, packed=False) == [[1, 3], [4, 2, 0]]
    assert parts_of([3, 100, 4, 99, 5], 120, packed=True) == [[1, 4, 2, 0], [3]]


@given(lengths=st.lists(st.integers(1, 300), min_size=8, max_size=8), shares=st.sampled_from([1, 2, 4]))
def test_processes_get_as_many_rows_and_about_as_many_tokens(lengths: list[int], shares: int) -> None:
    hands = shared_out(lengths, shares)
    assert sorted(row for hand in hands for row in hand) == list(range(8))
    assert {len(hand) for hand in hands} == {8 // shares}
    tokens = [sum(lengths[row] for row in hand) for hand in hands]
    assert max(tokens) - min(tokens) <= max(lengths)


def test_a_batch_is_dealt_among_processes_and_stays_the_batch() -> None:
    def order(shared: Any) -> list[int]:
        return list(
            EpochSampler(
                torch.utils.data.RandomSampler(range(10)), 1, lambda: 0, blank=10, multiple=4, shared=shared
            )
        )

    plain, dealt = order(None), order((2, [*range(10), 10]))
    assert len(dealt) == 12
    for start in range(0, 12, 4):
        assert sorted(plain[start : start + 4]) == sorted(dealt[start : start + 4])
        assert abs(sum(dealt[start : start + 2]) - sum(dealt[start + 2 : start + 4])) <= 9


@pytest.fixture(scope="module")
def some_rows(student_path: str) -> list[dict[str, Any]]:
    """Rows as the trainer has them, the last of them blank."""
    made = [
        {"input_ids": e.input_ids, "labels": e.labels}
        for e in examples(AutoTokenizer.from_pretrained(student_path))
    ]
    return [*made[:6], {"input_ids": made[0]["input_ids"][:1], "labels": [-100]}]


def step(
    student_path: str, some_rows: list[dict[str, Any]], recompute: bool = False, **how: Any
) -> tuple[float, torch.Tensor]:
    """Return the loss of one step and its gradient at every weight, in float32."""
    model = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32).train()
    if how.get("packed"):
        model.set_attn_implementation(PACKED)
    Recompute(model, recompute)
    collator = StepCollator(0, **how)
    collated, total = collator(some_rows), 0.0
    for part in collated["parts"]:
        labels = part.pop("labels")
        logits = model(**part).logits[:, :-1].flatten(0, 1)
        loss = (
            torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), reduction="sum")
            / collated["items"]
        )
        loss.backward()
        total += loss.item()
    assert collator.counts.parts == len(collated["parts"])
    assert (collator.counts.padding == 0) == (how.get("packed", False) or how["rows"] == 1)
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    "how",
    [
        {"rows": 7},
        {"rows": 7, "tokens": 200},
        {"rows": 7, "tokens": 200, "packed": True},
        {"rows": 7, "tokens": 10_000, "packed": True},
        {"rows": 7, "tokens": 10_000, "packed": True, "recompute": True},
    ],
    ids=["a padded batch", "padded parts", "packed parts", "packed at once", "computed again"],
)
def test_a_step_is_the_same_as_row_by_row(
    student_path: str, some_rows: list[dict[str, Any]], how: dict[str, Any]
) -> None:
    loss, gradient = step(student_path, some_rows, rows=1)
    found, other = step(student_path, some_rows, **how)
    assert found == pytest.approx(loss, abs=1e-6)
    assert (other - gradient).norm() / gradient.norm() < 1e-5


def test_training_is_the_same_in_parts_of_any_kind(student_path: str, tmp_path: Path) -> None:
    """Through the trainer: rounding is all that differs."""
    given = examples(AutoTokenizer.from_pretrained(student_path))[:8]

    def losses(name: str, **settings: Any) -> list[float]:
        found: list[float] = []
        how = TrainSettings(epochs=1, effective_batch=4, learning_rate=1e-3, **settings)
        fine_tune(
            StudentModel(student_path, "cpu"),
            given,
            how,
            tmp_path / name,
            listen=lambda _s, _t, f: found.append(f["loss"]),
        )
        return found

    fixed = losses("fixed", device_batch=2)
    assert len(fixed) == 2
    assert losses("padded", device_tokens=256) == pytest.approx(fixed, abs=2e-6)
    assert losses("packed", device_tokens=256, packing=True) == pytest.approx(fixed, abs=2e-6)


def test_all_weights_are_trained_where_no_adapter_is_wanted(student_path: str, tmp_path: Path) -> None:
    given = examples(AutoTokenizer.from_pretrained(student_path))[:4]
    settings = TrainSettings(
        lora=False, epochs=1, effective_batch=4, learning_rate=1e-3, device_tokens=512, packing=True
    )
    fine_tune(StudentModel(student_path, "cpu"), given, settings, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    base, tuned = (AutoModelForCausalLM.from_pretrained(path) for path in (student_path, tmp_path / "model"))
    assert tuned.dtype == base.dtype
    pairs = zip(base.named_parameters(), tuned.named_parameters(), strict=True)
    assert all(not torch.equal(a, b) for (name, a), (_, b) in pairs if "proj" in name)


def test_as_many_layers_keep_their_activations_as_there_is_room_for() -> None:
    kept = Kept(layer=1000.0, rest=500.0)
    assert layers_kept(10, 28, 10 * 500 + 10 * 1000 * 28, kept) == 28
    assert layers_kept(10, 28, 10 * 500 + 10 * 1000 * 5 + 1, kept) == 5
    assert layers_kept(10, 28, 0, kept) == 0


def test_the_last_layers_are_the_first_to_keep_theirs(student_path: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(student_path)
    recompute = Recompute(model, "auto")
    recompute._keep(2)
    assert [layer.gradient_checkpointing for layer in recompute.layers] == [True] * (
        len(recompute.layers) - 2
    ) + [False] * 2


def test_models_whose_attention_would_not_keep_rows_apart_are_told(student_path: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(student_path)
    assert why_not_packed(model, torch.device("cpu")) is None
    wanted = TrainSettings(device_tokens=64, packing=True)
    assert packs(model, wanted, torch.device("cpu"))
    assert not packs(model, TrainSettings(device_tokens=64), torch.device("cpu"))  # auto: on a GPU
    model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(TrainingError, match="packing=false"):
        packs(model, wanted, torch.device("cpu"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quantise": "nf4"}, "needs a GPU"),
        ({"attention": "flash_attention_2"}, "flash-attn"),
    ],
)
def test_what_is_absent_is_said_before_the_weights_are_read(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        to_be_trained(StudentModel("no/such-model", "cpu"), TrainSettings(**settings), torch.device("cpu"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.lora=false", "train.quantise=nf4"], "set lora: true"),
        (["train.packing=true"], "device_tokens"),
        (["method.kind=think_prune", "train.processes=2"], "one process"),
        (["method.kind=think_prune", "train.lora=false"], "method.lora=false"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(Exception, match=says):
        load_recipe(None, overrides)


def test_an_adapter_added_in_one_pass_is_the_same_adapter(
    student_path: str, some_rows: list[dict[str, Any]]
) -> None:
    def gradients(fused: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(student_path, dtype=torch.float32)
        model: Any = get_peft_model(base, new_adapter(TrainSettings(rank=4, alpha=12)))
        adapted = [m for m in model.modules() if isinstance(m, LoraLayer)]
        for layer in adapted:  # B is 0 at first, and what A learns too
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
        assert fuse(model) == len(adapted) if fused else True
        part = StepCollator(0, rows=4)(some_rows[:4])["parts"][0]
        model(**part).loss.backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain, fused = gradients(False), gradients(True)
    assert len(plain) == len(fused) > 0
    for a, b in zip(plain, fused, strict=True):
        assert (a - b).norm() <= 1e-5 * a.norm()
