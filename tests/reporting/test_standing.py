"""A run folder holds what many commands left; a report counts what the last of them wanted, and what still stands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drp.errors import RunFolderError
from drp.records import Failure
from drp.reporting.pairing import evaluated_at
from drp.reporting.summary import summarise, summarise_prune
from drp.reporting.text import costs
from drp.reporting.write import report_markdown, write_report
from drp.runs.folder import StageFolder
from tests.reporting.folders import EVALUATED, command, completions, evaluate, train
from tests.reporting.page.reading import documents

THINKING = "Okay. So 3 * 24 = 72.\n\nWait, let me verify. 24 + 24 + 24 = 72. Yes.\n\nSo the answer is 72."


def drp(*arguments: str) -> str:
    call = [sys.executable, "-c", "from drp.cli.app import main; main()", *arguments]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_smaller_limit_counts_what_it_wanted(tmp_path: Path) -> None:
    """149 completions were counted for 50 wanted ones, and 16.1 % stood for 48.0 %."""
    evaluate(tmp_path, "base", completions(149, 24))
    evaluate(tmp_path, "base", completions(50, 24))
    (result,) = summarise(tmp_path, "x").benchmarks
    assert (result.base.problems, result.base.accuracy) == (50, 0.48)
    assert len(evaluated_at(tmp_path)[0]) == 50
    page = write_report(tmp_path, "x").read_text()
    assert "base: 50 completions" in page  # the histogram
    assert sorted(document["tokens"] for document in documents(page)) == list(range(100, 150))
    evaluate(tmp_path, "base", completions(149, 24))  # more again: nothing is drawn twice, and all count
    assert summarise(tmp_path, "x").benchmarks[0].base.problems == 149


def test_seconds_of_other_completions_are_not_the_price_of_these(tmp_path: Path) -> None:
    """The stage's time went into 149 completions and was divided by the right ones of 50."""
    evaluate(tmp_path, "base", completions(149, 24))
    assert "evaluate/base" in summarise(tmp_path, "x").seconds
    evaluate(tmp_path, "base", completions(50, 24))
    summary = summarise(tmp_path, "x")
    assert "evaluate/base" not in summary.seconds
    table = costs(summary)
    assert table and table.rows[0][-1] == "–"


def test_corrected_gold_answers_replace_the_problem(tmp_path: Path) -> None:
    """A problem with a corrected answer is another problem, and both were counted."""
    before, corrected = completions(40, 20), completions(5, 5, gold="2")
    evaluate(tmp_path, "base", before)
    evaluate(tmp_path, "base", [*corrected, *before[5:]])
    (result,) = summarise(tmp_path, "x").benchmarks
    assert (result.base.problems, result.base.accuracy) == (40, 0.5)


def test_a_second_file_of_traces_is_reported_alone(tmp_path: Path) -> None:
    """`drp report` named neither file nor limit, and summed up both files."""
    for name, count in (("one", 3), ("two", 2)):
        rows = [
            {"question": f"{name} {i}: 3 * 24?", "gold": "72", "thinking": THINKING, "answer": "\\boxed{72}"}
            for i in range(count)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        drp("prune", "--traces", str(tmp_path / f"{name}.jsonl"), "--out", str(tmp_path / "out"))
    said = drp("report", str(tmp_path / "out"))
    assert ["traces", "2"] in [line.split() for line in said.splitlines()], said
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert {document["question"] for document in documents(page)} == {"two 0: 3 * 24?", "two 1: 3 * 24?"}


def test_an_item_counts_once_by_its_last_outcome(tmp_path: Path) -> None:
    """A trace that timed out once and was answered then stood among the answered and the failed."""
    late = [Failure(id="trace-0-1", stage="evaluate/base", kind="timeout", message="m", retry=True)]
    rest = completions(4, 4)[1:]
    evaluate(tmp_path, "base", [*late, *rest])
    assert "1 of 4 items" in summarise(tmp_path, "x").notes[0]
    evaluate(tmp_path, "base", completions(4, 4))
    summary = summarise(tmp_path, "x")
    assert summary.benchmarks[0].base.problems == 4 and not summary.notes

    command(
        tmp_path,
        "prune",
        {},
        [*late, Failure(id="b", stage="prune", kind="timeout", message="m", retry=True)],
    )
    command(tmp_path, "prune", {}, [*late, Failure(id="b", stage="prune", kind="no_answer", message="m")])
    pruned = summarise_prune(StageFolder(tmp_path / "prune", "prune"))
    assert pruned and (pruned.traces, pruned.pending, pruned.failed) == (2, {"timeout": 1}, {"no_answer": 1})


def test_a_folder_of_an_earlier_version_counts_all(tmp_path: Path) -> None:
    """It does not say what was wanted."""
    evaluate(tmp_path, "base", completions(30, 10))
    (tmp_path / "evaluate/base/wanted.txt").unlink()
    assert summarise(tmp_path, "x").benchmarks[0].base.problems == 30


def test_completions_of_a_model_that_is_gone_are_left_out(tmp_path: Path) -> None:
    """With training restarted, or another model in its place, the earlier model's accuracy stood as "distilled"."""
    first = train(tmp_path, "weights")
    evaluate(tmp_path, "base", completions(40, 20))
    evaluate(tmp_path, "distilled", completions(40, 30), first)
    assert summarise(tmp_path, "x").benchmarks[0].after and not summarise(tmp_path, "x").notes

    train(tmp_path, None, learning_rate=2)  # begun anew
    summary = summarise(tmp_path, "x")
    assert summary.benchmarks[0].after is None and "training has not ended" in summary.notes[0]
    assert "the model evaluated here is not the one that stands in train/" in summary.notes[0]

    train(tmp_path, "other weights", learning_rate=2)
    summary = summarise(tmp_path, "x")
    assert summary.benchmarks[0].after is None and not summary.benchmarks[0].comparison
    for page in (report_markdown(summary), write_report(tmp_path, "x").read_text()):
        assert "until `drp evaluate` has run" in page
    with pytest.raises(RunFolderError, match="not the one that stands in train/"):
        evaluated_at(tmp_path)

    evaluate(tmp_path, "distilled", completions(40, 35), train(tmp_path, "other weights", learning_rate=2))
    (result,) = summarise(tmp_path, "x").benchmarks
    assert result.after and result.after.accuracy == 35 / 40


def test_models_that_were_run_on_other_problems_are_no_error(tmp_path: Path) -> None:
    """A command that ended between the two models left a folder whose report could not be written."""
    model = train(tmp_path, "weights")
    evaluate(tmp_path, "distilled", completions(10, 5, gold="2"), model)
    evaluate(tmp_path, "base", completions(40, 20))
    summary = summarise(tmp_path, "x")
    assert summary.benchmarks[0].base.problems == 40 and summary.benchmarks[0].after is None
    assert "run on other problems" in summary.notes[0]


def test_a_student_that_was_only_prompted_needs_no_trained_model(tmp_path: Path) -> None:
    """TALE-EP evaluates the student itself, whatever an earlier method left in train/."""
    train(tmp_path, None)
    evaluate(tmp_path, "base", completions(20, 10))
    command(
        tmp_path, "evaluate/distilled", {**EVALUATED, "model": "student", "tale": {}}, completions(20, 12)
    )
    assert summarise(tmp_path, "x").benchmarks[0].after


def test_traces_pruned_before_others_were_drawn_are_named(tmp_path: Path) -> None:
    """The pruned traces of earlier settings of generate looked as if they came from those that stand there."""
    command(tmp_path, "generate", {"t": 0.6}, completions(4, 4))
    command(tmp_path, "prune", {"generate": {"t": 0.6}}, [])
    assert not summarise(tmp_path, "x").notes
    command(tmp_path, "generate", {"t": 0.8}, completions(4, 4))
    assert "not those that stand in generate/" in summarise(tmp_path, "x").notes[0]
