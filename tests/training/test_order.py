"""The order of examples in an epoch does not depend on what came before, so that an interruption changes nothing."""

from pathlib import Path
from typing import Any, Literal

import pytest
from torch.utils.data import RandomSampler
from transformers import AutoTokenizer
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl.trainer.utils import RepeatSampler

from drp.training.examples import Example, build_example
from drp.training.grpo import Reinforcer
from drp.training.order import EpochSampler, OrderedByEpoch
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import TRAINERS, fine_tune


class KilledError(Exception):
    """Stands for a kill between two steps: nothing is cleaned up."""


def examples(tokenizer: Any) -> list[Example]:
    """Return examples of different lengths, each with a longer rival."""

    def made(number: int, times: int) -> Example:
        ask = [{"role": "user", "content": f"Ana has {number} shells and finds {number} more. How many?"}]
        thinking = " ".join([f"So {number} + {number} = {2 * number}."] * times)
        return build_example(tokenizer, str(number), ask, thinking, f"It is \\boxed{{{2 * number}}}.")

    short, long = ([made(n, n % 4 + more) for n in range(2, 12)] for more in (1, 3))
    return [
        Example(a.id, a.input_ids, a.prompt_length, b.input_ids[b.prompt_length :])
        for a, b in zip(short, long, strict=True)
    ]


@pytest.mark.parametrize("objective", ["sft", "preference", "lcpo"])
def test_a_training_interrupted_within_an_epoch_trains_what_it_had_not_yet_seen(
    student_path: str, tmp_path: Path, objective: Literal["sft", "preference", "lcpo"]
) -> None:
    """A resumed process used to skip as many batches of an order of its own: some examples counted twice, some never."""
    rows = examples(AutoTokenizer.from_pretrained(student_path))
    settings = TrainSettings(
        objective=objective,
        epochs=3,
        effective_batch=2,
        device_batch=2,
        save_steps=2,
        dropout=0.0,
        max_length=512,
    )

    def losses(out: Path, dies_after: int = 0) -> list[float]:
        found: list[float] = []

        def listen(step: int, _: int, fields: dict[str, float]) -> None:
            found.append(fields["loss"])
            if step == dies_after:
                raise KilledError

        fine_tune(StudentModel(student_path, "cpu"), rows, settings, out, listen=listen)
        return found

    calm = losses(tmp_path / "calm")
    assert len(calm) == 15  # five steps an epoch
    with pytest.raises(KilledError):
        losses(tmp_path / "killed", dies_after=9)
    resumed = losses(tmp_path / "killed")
    assert len(resumed) == 7  # from the checkpoint of step 8, in the middle of the second epoch
    assert resumed == pytest.approx(calm[-7:], abs=1e-4)


@pytest.mark.parametrize(
    "made",
    [
        lambda: RandomSampler(range(40)),
        lambda: LengthGroupedSampler(4, lengths=[n % 7 for n in range(40)]),
        lambda: RepeatSampler(range(40), mini_repeat_count=2, batch_size=4, seed=3),
    ],
    ids=["preference", "sft", "reinforcement"],
)
def test_the_third_epoch_is_the_same_whether_the_first_two_were_met_or_not(made: Any) -> None:
    epoch = 0
    met = EpochSampler(made(), seed=5, epoch=lambda: epoch)
    orders: list[list[int]] = []
    for epoch in range(3):  # noqa: B007
        orders.append(list(met))
    assert orders[2] == list(EpochSampler(made(), seed=5, epoch=lambda: 2))
    assert orders[0] != orders[1] != orders[2] and len(met) == len(orders[0])


def test_every_trainer_orders_its_examples_so() -> None:
    assert all(issubclass(trainer, OrderedByEpoch) for trainer in (*TRAINERS.values(), Reinforcer))
