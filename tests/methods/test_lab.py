import json
import subprocess
import sys
from pathlib import Path

import pytest

from drp.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from lab_grid import grid, only  # noqa: E402 – the tools are no package
from lab_report import CONTROLS, TITLES, tables  # noqa: E402


def test_every_row_of_the_grid_is_a_recipe_and_follows_what_it_needs() -> None:
    rows = grid(3, "full")
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        changes = [*row.changes, *([f"{row.takes}=x"] if row.takes else [])]
        assert load_recipe(ROOT / "recipes/mini" / f"{row.recipe}.yaml", changes)
        assert row.after is None or row.after in names
    chain = [row.name for row in only(rows, ["self_drp_rl-1"])]
    assert chain == ["self-1", "self_drp-1", "self_drp_rl-1"]


def test_every_table_shows_the_controls_and_what_a_row_was_trained_on() -> None:
    """Shorter answers were shown without how much shorter the texts were that taught them, and controls in one table of eight."""
    found = json.loads((ROOT / "results/mini-teachers/lab.json").read_text())
    found["rows"] |= {"lcpo-0": found["rows"]["student-4-0"] | {"table": "objectives"}}
    shown = tables(found).split("\n\n")
    for key in ("methods", "teachers", "objectives"):
        start = next(n for n, part in enumerate(shown) if TITLES[key] in part)
        table = "".join(shown[start : start + 2])
        assert all(f"{control}-0" in table for control in CONTROLS), key
        assert "| run | trained on |" in table
    target, own = (found["rows"]["student-4-0"]["learnability"][k] for k in ("pruned_tokens", "own_tokens"))
    assert f"| lcpo-0 | {100 * (target / own - 1):+.0f} % |" in "".join(shown)


def test_what_needs_no_training_has_a_table_of_its_own() -> None:
    """Budgets differ from benchmark to benchmark, so that each had a row to itself and nothing could be compared."""

    def figure(value: float) -> dict[str, object]:
        return {"value": value, "interval": {"low": value - 0.1, "high": value + 0.1}, "n": 20}

    def tried(budget: int) -> dict[str, object]:
        names = [
            f"budget of {budget:,} tokens (50 % fit)",
            *(f"answer after {budget + n} tokens" for n in (0, 50, 90)),
            "no thinking",
        ]
        remedies = [
            {
                "name": n,
                "kind": "assumed" if "budget" in n else "run",
                "saved": figure(0.3),
                "change": figure(-0.05),
            }
            for n in names
        ]
        remedies[-1]["saved"] = None
        return {"completions": 20, "accuracy": figure(0.8), "tokens": figure(250.0), "remedies": remedies}

    shown = tables({"rows": {}, "curves": {}, "remedies": {"mini-gsm": tried(100), "mini-math": tried(2000)}})
    assert "| none | 80.0 / 250 | 80.0 / 250 |" in shown and "mini-gsm (n = 20)" in shown
    cell = "-5.0 [-15.0, +5.0], -30 %"
    assert f"| stopped where 50 % of thinkings fit | {cell} *assumed* | {cell} *assumed* |" in shown
    assert f"| made to answer where 75 % of thinkings fit | {cell} | {cell} |" in shown
    assert "| no thinking | – | – |" in shown


@pytest.mark.long
def test_the_small_grid_runs(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "tools/lab.py"), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"),
        "--grid", "small", "--jobs", "1", "problems=[{benchmark: mini-gsm, split: train, count: 24}]",
        "evaluate.benchmarks=[{benchmark: mini-gsm, count: 8}]", "evaluate.runs=1", "evaluate.sampling.max_new_tokens=300",
        "generate.sampling.max_new_tokens=300", "train.epochs=1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "out/lab.json").read_text())["rows"]
    assert set(rows) == {"drp-0", "self-0", "direct-0"}, done.stdout
    assert all(row["benchmarks"][0]["after"]["problems"] == 8 for row in rows.values())
    table = (tmp_path / "out/tables.md").read_text()
    assert "| base |" in table and "| direct-0 |" in table and "The long tail" in table
