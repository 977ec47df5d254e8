"""Reading run folders: line by line, beside whoever writes them, and without leaving a trace."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from drp.errors import RunFolderError
from drp.evaluation.metrics import measure, measured_part
from drp.records import Trace
from drp.reporting.standing import evaluated
from drp.reporting.summary import summarise
from drp.runs.folder import RunFolder
from drp.runs.journal import Journal, read_records
from drp.runs.reader import RunReader
from tests.reporting.folders import completions, evaluate, train

LONG = "So 3 * 24 = 72, as the question asks. " * 5000
"""190,000 characters."""


def peak_of(work: Callable[[], object]) -> float:
    """Return the most memory that some work took at a time, in characters of a long trace."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / len(LONG)
    finally:
        tracemalloc.stop()


@pytest.fixture
def long_run(tmp_path: Path) -> Path:
    """40 long traces, 7.6 MB."""
    evaluate(tmp_path, "base", completions(40, 20, thinking=LONG))
    return tmp_path


def test_records_are_read_one_at_a_time(long_run: Path) -> None:
    """20,000 traces of 40,000 characters were held as bytes, as lines and as records at once: 1.7 GB, 2.4 GB for a report."""
    path = long_run / "evaluate/base/records.jsonl"
    assert peak_of(lambda: sum(1 for _ in read_records(path, Trace))) < 8
    assert peak_of(lambda: sum(1 for _ in RunReader(long_run).records("evaluate/base", Trace))) < 8
    assert peak_of(lambda: evaluated(RunReader(long_run), "base")) < 8
    assert peak_of(lambda: summarise(long_run, "x")) < 16  # scipy's own tables among them


def test_opening_a_journal_reads_no_more_than_its_last_line(long_run: Path) -> None:
    """The whole file was read to find its last line feed, at every start of a stage."""
    path = long_run / "evaluate/base/records.jsonl"
    whole = path.read_bytes()
    assert peak_of(lambda: Journal(path).close()) < 2 and path.read_bytes() == whole
    path.write_bytes(whole[:-1])  # a last line of more than one block, whole and then torn
    Journal(path).close()
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-2])
    Journal(path).close()
    assert path.read_bytes() == whole[: whole[:-1].rfind(b"\n") + 1]
    path.write_bytes(whole.splitlines()[0][:-1])  # a first line that is torn
    Journal(path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("looping", [True, False])
def test_what_is_kept_of_a_completion_gives_the_same_figures(looping: bool) -> None:
    """A report holds no thinking but the end of one without an answer, where loops are looked for."""
    ends = "Wait, again. " * 600 if looping else " ".join(map(str, range(4000)))
    made = [
        *completions(4, 2, thinking=LONG + ends + "\n\n"),
        *completions(3, 0, thinking=LONG + ends, answer="", closed=False),
    ]
    kept = [measured_part(trace) for trace in made]
    assert measure("x", kept) == measure("x", made)
    assert max(len(trace.thinking) for trace in kept) == 6000 and not kept[0].thinking


def test_a_reader_neither_waits_nor_writes(tmp_path: Path) -> None:
    """`drp report` beside a run that goes on: the writer holds the folder."""
    evaluate(tmp_path, "base", completions(5, 2))
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    with RunFolder(tmp_path) as held:
        (tmp_path / ".lock").stat()
        run = RunReader(tmp_path)
        assert run.began and len(list(run.records("evaluate/base", Trace))) == 5
        assert run.wanted("evaluate/base") == [t.id for t in completions(5, 2)]
        assert run.failures("evaluate/base") == [] and list(run.manifests()) == ["evaluate/base"]
        assert list(run.records("prune", Trace)) == [] and run.manifest("prune") is None
        with held.stage("evaluate/base").journal() as journal:  # half a line, as it is being written
            records = held.stage("evaluate/base").records_path
            journal.append(completions(6, 2)[-1])
        records.write_bytes(records.read_bytes()[:-9])
        assert len(list(run.records("evaluate/base", Trace))) == 5
    after = {p for p, _ in before} ^ set(tmp_path.rglob("*"))
    assert not after and not RunReader(tmp_path / "nowhere").began


def test_a_run_is_called_what_its_recipe_says_whatever_else_is_in_it(tmp_path: Path) -> None:
    """A recipe of a newer version has fields that this one refuses to run, but its name is its name."""
    run = RunReader(tmp_path)
    assert run.recipe_name is None
    (tmp_path / "recipe.json").write_text('{"name": "mine", "invented_later": {"a": 1}}')
    assert run.recipe_name == "mine"
    (tmp_path / "recipe.json").write_text('{"name": "mi')
    with pytest.raises(RunFolderError, match=r"recipe\.json cannot be read"):
        _ = run.recipe_name


def test_learnability_is_read_as_it_was_written(tmp_path: Path) -> None:
    train(tmp_path, "weights")
    assert RunReader(tmp_path).learnability() is None
    figures = {"examples": 64, "own_trace": 0.2, "pruned": 0.3, "own_tokens": 300.5, "pruned_tokens": 120.0}
    (tmp_path / "train/learnability.json").write_text(json.dumps(figures))
    found = RunReader(tmp_path).learnability()
    assert found == figures and isinstance(found["examples"], int)


def test_reading_a_run_folder_loads_no_torch() -> None:
    code = "import sys, drp.runs.reader, drp.reporting.standing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
