import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from drp.cli.progress import TerminalProgress


def test_before_the_first_item_ends_the_bar_says_what_it_waits_for() -> None:
    """For half a minute of loading and decoding the line stood still: `0/40 ETA –`."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    progress = TerminalProgress(console)
    progress.begin("explore/[/INST]", 0, 40)
    progress.remark("loading the model")
    time.sleep(1.3)
    progress.close()
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", out.getvalue())
    assert "loading the model" in shown and "0:01 so far" in shown and "explore/[/INST]" in shown
    progress.begin("generate", 0, 40)
    progress.advance(4, 100)
    time.sleep(0.3)
    progress.close()
    assert "ETA 0:0" in out.getvalue() and "tokens/s" in out.getvalue()


def test_an_estimate_leaves_out_what_pruning_would(tmp_path: Path) -> None:
    """Traces from files are not graded yet: wrong ones were counted as if the teacher would be asked about them."""
    good = {"question": "1 + 1?", "gold": "2", "thinking": "So 1 + 1 = 2.", "answer": "\\boxed{2}"}
    rows = [good | {"question": f"1 + 1? ({i})", "answer": f"\\boxed{{{2 + i % 2}}}"} for i in range(10)]
    rows += [good | {"answer": ""}, good | {"closed": False}, good | {"question": "[/INST]", "answer": "x"}]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = [
        sys.executable,
        "-c",
        "from drp.cli.app import main; main()",
        "estimate",
        "prune.teacher=edit_script",
    ]
    done = subprocess.run([*call, "--traces", str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "measured on 5 traces worth pruning of 13 on file" in done.stdout and "5 traces" in done.stdout
