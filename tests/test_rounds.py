"""Rounds: each on the model of the one before, going on where they stopped; on real weights."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drp.cli.app import app
from drp.runs.reader import RunReader

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "problems=[{benchmark: mini-gsm, split: train, count: 8}]", "generate.sampling.max_new_tokens=300", "train.epochs=1", "train.warmup=0",
    "evaluate.benchmarks=[{benchmark: mini-gsm, count: 4}]", "evaluate.sampling.max_new_tokens=60",
]  # fmt: skip


def rounds(*words: str) -> tuple[int, str]:
    """Call the command; return its exit status and what it said."""
    result = CliRunner().invoke(app, ["rounds", *words])
    return result.exit_code, f"{result.output}{result.exception or ''}"


@pytest.mark.long
def test_a_round_begins_from_the_model_of_the_last_and_more_rounds_are_added(tmp_path: Path) -> None:
    out = tmp_path / "chain"
    code, said = rounds(str(ROOT / "recipes/mini.yaml"), *SMALL, "--out", str(out), "--count", "1")
    assert code == 0 and "round-1" in said, said
    trained = (out / "round-1/train/records.jsonl").stat().st_mtime_ns
    code, said = rounds("--out", str(out), "--count", "2")
    assert code == 0 and "round-2" in said and "student" in said, said
    assert (out / "round-1/train/records.jsonl").stat().st_mtime_ns == trained
    recipe = json.loads((out / "round-2/recipe.json").read_text())
    assert recipe["student"]["model"] == str(out / "round-1/train/model")
    # The student of the second round is the model of the first, which was evaluated once.
    first, second = (RunReader(out / f"round-{number}") for number in (1, 2))
    after, before = first.manifest("evaluate/distilled"), second.manifest("evaluate/base")
    assert after and before and after.settings["model"] == before.settings["model"]
    same = [out / f"round-{place}/records.jsonl" for place in ("1/evaluate/distilled", "2/evaluate/base")]
    assert same[0].read_text() == same[1].read_text() and not (out / "round-2/superseded").exists()
    drawn = [(out / f"round-{number}/generate/records.jsonl").read_text() for number in (1, 2)]
    assert drawn[0] != drawn[1]


def test_what_has_no_second_round_is_said_before_anything_is_done(tmp_path: Path) -> None:
    out = tmp_path / "chain"
    code, said = rounds(str(ROOT / "recipes/mini.yaml"), "method=tale_ep", "--out", str(out))
    assert code == 1 and "method tale_ep trains nothing" in said and not out.exists()
    code, said = rounds("--out", str(out))
    assert code != 0 and "student" in said and not out.exists(), said
    code, said = rounds()
    assert code == 2 and "name a recipe" in said
