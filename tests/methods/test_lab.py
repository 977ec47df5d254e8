import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
    assert all(row["tiers"][0]["distilled"]["problems"] == 8 for row in rows.values())
    table = (tmp_path / "out/tables.md").read_text()
    assert "| base |" in table and "| direct-0 |" in table and "The long tail" in table
