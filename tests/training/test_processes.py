"""Training in several processes: the same curve as in one, and nothing left behind whoever dies; gloo on the CPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import AutoTokenizer

from drp.errors import TrainingError
from drp.training.processes import process_count
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune
from tests.training.test_order import KilledError, examples


@pytest.mark.long
@pytest.mark.parametrize("objective", ["sft", "preference", "lcpo"])
def test_two_processes_go_on_where_one_was_interrupted_and_train_as_it_would_have(
    student_path: str, tmp_path: Path, objective: Literal["sft", "preference", "lcpo"]
) -> None:
    """Ten examples in batches of four: the last batch of an epoch is short, and must not be filled with repeats."""
    rows = examples(AutoTokenizer.from_pretrained(student_path))

    def losses(out: str, processes: int, dies_after: int = 0, **parts: Any) -> list[float]:
        found: list[float] = []

        def listen(step: int, total: int, fields: dict[str, float]) -> None:
            assert total == 9
            found.append(fields["loss"])
            if step == dies_after:
                raise KilledError

        settings = TrainSettings(
            objective=objective,
            epochs=3,
            effective_batch=4,
            device_batch=1,
            save_steps=1,
            learning_rate=1e-3,
            processes=processes,
            **parts,
        )
        fine_tune(StudentModel(student_path, "cpu"), rows, settings, tmp_path / out, listen=listen)
        return found

    one = losses("one", 1)
    with pytest.raises(KilledError):
        losses("two", 1, dies_after=2)
    # The rest in parts of other sizes, as many of them as each process needs.
    assert losses("two", 2, device_tokens=200, packing=True) == pytest.approx(one[1:], abs=2e-6)
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["adapter", "model"]


def begin(folder: Path, work: str, tell: str = "print") -> subprocess.Popen[str]:
    """Start a caller of two processes whose work is light to import."""
    (folder / "light.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from drp.errors import TrainingError\n"
        "def full(*_):\n"
        "    raise OSError('No space left on device')\n"
        f"def work(out, tell):\n    rank = int(os.environ['RANK'])\n    {work}\n"
        "if __name__ == '__main__':\n"
        "    import light\n"
        "    from drp.training.processes import launch\n"
        f"    launch(2, light.work, ({str(folder)!r},), {tell})\n"
    )
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.Popen(
        [sys.executable, str(folder / "light.py")],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    """Orphans would go on training, and writing, beside the command that takes their place."""
    caller = begin(tmp_path, "Path(out, str(rank)).write_text(str(os.getpid())); time.sleep(100)")
    begun = [tmp_path / "0", tmp_path / "1"]
    while not all(p.exists() and p.read_text() for p in begun):
        assert caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    pids = [int(p.read_text()) for p in begun]
    deadline = time.monotonic() + 20
    while any(
        Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids
    ):
        assert time.monotonic() < deadline, "a process outlived the caller"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("work", "tell", "says"),
    [
        (
            "[tell(n, 9, {}) or time.sleep(0.2) for n in range(50)]",
            "light.full",
            "OSError: No space left on device",
        ),
        (
            "rank or time.sleep(6); assert rank; raise TrainingError('step 3: the loss')",
            "print",
            "TrainingError: step 3: the loss",
        ),
        (
            "rank and os._exit(9); time.sleep(100)",
            "print",
            "process 1 of the training ended with exit code 9",
        ),
    ],
    ids=["the listener refuses", "a known error", "a worker dies"],
)
def test_what_failed_is_told_by_its_cause(tmp_path: Path, work: str, tell: str, says: str) -> None:
    """The other processes fail because of the first one, and say nothing of interest."""
    said = begin(tmp_path, work, tell).communicate(timeout=100)[1]
    assert says in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("wanted", "device", "batch", "says"),
    [
        (3, "cpu", 8, "multiple of 3"),
        (2, "cuda:1", 8, "student.device=auto"),
    ],
)
def test_what_several_processes_cannot_do_is_said(wanted: int, device: str, batch: int, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        process_count(wanted, device, batch)


def test_without_a_gpu_auto_is_one_process() -> None:
    assert process_count("auto", "cpu", 8) == 1
