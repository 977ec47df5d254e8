"""What a trained student's folders hold: a card that tells the truth, files that others may read."""

import json
import os
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from drp.training.examples import build_example
from drp.training.saving import merge
from drp.training.settings import StudentModel, TrainSettings
from drp.training.sft import fine_tune


@pytest.fixture(scope="module")
def trained(student_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    student = tmp_path_factory.mktemp("students") / "shells-1b"
    student.symlink_to(student_path, target_is_directory=True)
    tokenizer = AutoTokenizer.from_pretrained(student_path)
    example = build_example(tokenizer, "a", [{"role": "user", "content": "12 + 3?"}], "12 + 3 = 15.", "15")
    out = tmp_path_factory.mktemp("trained")
    fine_tune(
        StudentModel(str(student), "cpu"), [example], TrainSettings(rank=4, epochs=1, effective_batch=1), out
    )
    return out


def test_the_card_is_true_and_names_no_folder_of_this_machine(trained: Path, student_path: str) -> None:
    """It was PEFT's blank form with the absolute path of the student in its heading."""
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    card = (trained / "adapter" / "README.md").read_text()
    assert (
        "**shells-1b**" in card and "rank 4" in card and "likelihood" in card and "library_name: peft" in card
    )
    assert "[More Information Needed]" not in card and "base_model:" not in card
    student = Path(config["base_model_name_or_path"])
    assert str(student.parent) not in card and str(Path(student_path).parent) not in card
    # The path itself stays where it is loaded from.
    merge(str(student), trained / "adapter", 0.5, AutoTokenizer.from_pretrained(student), trained / "half")


def test_every_file_has_the_permissions_of_a_new_file(trained: Path) -> None:
    """Weights were written for their owner alone, 0600, so that no colleague could load them."""
    umask = os.umask(0)
    os.umask(umask)
    modes = {p.name: p.stat().st_mode & 0o777 for p in trained.rglob("*") if p.is_file()}
    assert {"adapter_model.safetensors", "model.safetensors", "README.md", "tokenizer.json"} <= set(modes)
    assert set(modes.values()) == {0o666 & ~umask}
