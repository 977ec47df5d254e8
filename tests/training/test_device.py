"""One device for a training; what can be told of it without a GPU."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from trl import DPOConfig, GRPOConfig, SFTConfig

from drp.training.device import forward_batch, on_one_device

KINDS = [SFTConfig, DPOConfig, GRPOConfig]


@pytest.mark.parametrize("kind", KINDS)
def test_two_visible_gpus_are_one_for_the_trainer_and_the_one_asked_for(
    kind: type[SFTConfig | DPOConfig | GRPOConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 8 became one of 16, or an error of TRL's; and cuda:1 trained on cuda:0. Only the driver is played."""
    chosen = [0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[0])
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: chosen.__setitem__(0, torch.device(device).index)
    )
    try:

        def made() -> SFTConfig | DPOConfig | GRPOConfig:
            return kind(output_dir=str(tmp_path), per_device_train_batch_size=8, report_to="none", bf16=False)

        as_it_comes = made()
        assert (as_it_comes.n_gpu, as_it_comes.train_batch_size, str(as_it_comes.device)) == (2, 16, "cuda:0")
        args = on_one_device(made(), torch.device("cuda:1"))
        assert (args.n_gpu, args.train_batch_size, str(args.device)) == (1, 8, "cuda:1")
        # What the trainer builds from them agrees: batches go where accelerate says.
        assert str(Accelerator(cpu=False).device) == "cuda:1" and chosen == [1]
        assert (
            str(on_one_device(made(), torch.device("cuda")).device) == "cuda:0"
        )  # no number: the current one
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_on_a_cpu_nothing_is_changed(tmp_path: Path) -> None:
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    before = (args.n_gpu, args.device)
    assert on_one_device(args, torch.device("cpu")) is args and (args.n_gpu, args.device) == before


@pytest.mark.parametrize(("batch", "most", "size"), [(8, 8, 8), (8, 3, 2), (12, 5, 4), (7, 4, 1), (4, 16, 4)])
def test_a_batch_is_split_into_equal_parts_that_fit(batch: int, most: int, size: int) -> None:
    """Accumulation over parts of other sizes would make the batch another than the recipe's."""
    assert forward_batch(batch, most) == size
