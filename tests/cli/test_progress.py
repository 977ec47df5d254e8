import io
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from drp.cli.progress import TerminalProgress
from drp.records import Failure, Target
from drp.runs.folder import RunFolder
from drp.runs.stage import run_stage


def shown(out: io.StringIO) -> str:
    return re.sub(r"\x1b\[[\d;?]*\w", "", out.getvalue())


def test_the_panel_says_from_the_first_second_what_it_waits_for() -> None:
    """For half a minute of loading and decoding the line stood still: `0/40 ETA –`."""
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, force_terminal=True, width=120, color_system=None))
    progress.open()
    time.sleep(0.3)
    assert "getting ready" in shown(out)
    progress.begin("explore/[/INST]", 0, 40)
    progress.remark("loading the model")
    drawn = 0
    progress.underway.flying, progress.underway.tokens = lambda: 32, lambda: drawn
    drawn = 6_400
    time.sleep(1.3)
    assert (
        "loading the model" in shown(out) and "0:01 elapsed" in shown(out) and "explore/[/INST]" in shown(out)
    )
    assert "32 in flight" in shown(out) and re.search(r"[3-6],\d{3} tokens/s", shown(out)), (
        "before anything has ended"
    )
    progress.begin("generate", 0, 40)
    progress.advance(4, 100)
    progress.underway.failed, progress.underway.left_out = 2, 1
    time.sleep(0.3)
    progress.end("4 of 40 done")
    progress.close()
    assert "4/40  10%" in shown(out) and "ETA 0:0" in shown(out) and "1 left out   2 failed" in shown(out)
    assert "generate: 4 of 40 done\n" in shown(out)


def test_without_a_terminal_there_are_lines_even_where_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first batch may take minutes; a log that says nothing for so long looks like a process that hangs."""
    monkeypatch.setattr("drp.cli.progress.FIRST_LINE_S", 0.1)
    monkeypatch.setattr("drp.cli.progress.LINE_EVERY_S", 0.2)
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=120))
    progress.begin("generate", 2, 40)
    progress.remark("decoding")
    time.sleep(0.6)
    progress.end("40 of 40 done")
    before = out.getvalue()
    time.sleep(0.4)
    assert before.count("generate: 2/40, 0:00 elapsed, decoding\n") >= 2 and before.endswith(
        "40 of 40 done\n"
    )
    assert out.getvalue() == before and "\x1b" not in before, "and none after the end"
    progress.begin("report", 0, 0)
    progress.close()


def test_what_is_left_out_at_once_does_not_quicken_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """73 of 400 traces were left out in the first second, and `drp prune` promised 11 seconds for 90."""
    monkeypatch.setattr("drp.cli.progress.FIRST_LINE_S", 1.1)
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, width=120))
    progress.begin("prune", 0, 400)
    progress.advance(73)
    progress.underway.left_out = 73
    time.sleep(1.3)
    assert "73/400" in out.getvalue() and "ETA" not in out.getvalue(), "nothing is known of the others yet"
    progress.begin("prune", 0, 400)
    progress.advance(83)
    progress.underway.left_out = 73
    time.sleep(1.3)
    progress.end("83 of 400 done")
    seconds = int(re.findall(r"ETA 0:(\d\d)", out.getvalue())[-1])
    assert 30 <= seconds <= 59, "317 are left, at ten in little more than a second"
    progress.close()


async def test_a_stage_says_what_is_under_way_to_progress_that_shows_it(tmp_path: Path) -> None:
    """Progress of others, without a place for it, is left alone."""
    seen: list[tuple[int, int]] = []
    progress = TerminalProgress(Console(file=io.StringIO()))

    class Plain:
        def begin(self, stage: str, done: int, wanted: int) -> None: ...
        def advance(self, items: int, tokens: int = 0) -> None: ...
        def remark(self, text: str) -> None: ...
        def end(self, note: str) -> None:
            seen.append((progress.underway.failed, progress.underway.left_out))

    async def work(owed: set[str]) -> AsyncIterator[Target | Failure]:
        for id_ in sorted(owed):
            yield Failure(id=id_, stage="prune", kind="x", message="x", retry=id_ != "b")
        seen.append((progress.underway.failed, progress.underway.left_out))

    for shows in (progress, Plain()):
        with RunFolder(tmp_path / type(shows).__name__) as run:
            folder, _ = run.open_stage("prune", {})
            wanted = [Failure(id=i, stage="x", kind="x", message="x") for i in "abc"]
            await run_stage(folder, Target, wanted, work, shows)
    progress.close()
    assert seen == [(2, 1), (0, 0), (0, 0)]


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
