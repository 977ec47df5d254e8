"""What a report says beside its figures: what is owed, who decided, what was not asked of a teacher."""

import json
from pathlib import Path

import pytest

from drp.benchmarks.mini_world import load
from drp.cli.tables import print_report
from drp.pipeline import prune_file
from drp.recipe import load_recipe
from drp.records import Failure
from drp.reporting.summary import summarise, summarise_prune
from drp.reporting.text import pruning
from drp.reporting.write import read_summary, write_report
from drp.runs.folder import RunFolder
from tests.reporting.folders import Silent, command, completions, evaluate


def texts(run: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return a run's report as Markdown, as HTML and as printed, each without line breaks."""
    page = write_report(run, "x")
    print_report(read_summary(run))
    found = [page.with_suffix(".md").read_text(), page.read_text(), capsys.readouterr().out]
    return [" ".join(text.split()) for text in found]


def test_items_that_are_owed_stand_in_every_form_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures over the items that happened to work out looked like those of all."""
    failures = [
        Failure(id=f"trace-{i}-1", stage="evaluate/base", kind="timeout", message="no answer in 600 s [/INST]", retry=True)
        for i in range(3)
    ]  # fmt: skip
    evaluate(tmp_path, "base", [*failures, *completions(10, 6)[3:]])
    for said in texts(tmp_path, capsys):
        assert "evaluate/base is incomplete: 3 of 10 items have no outcome yet" in said
        assert "Mostly timeout (3 of 3): no answer in 600 s [/INST]" in said


def test_a_stage_that_was_killed_owes_what_it_had_not_begun(tmp_path: Path) -> None:
    """Its manifest was last written before it worked, so 0 items were said to be owed."""
    evaluate(tmp_path, "base", completions(4, 4))
    with RunFolder(tmp_path) as run:
        folder = run.stage("evaluate/base")
        folder.want([t.id for t in completions(10, 4)])
        folder.update(complete=False, counts={"wanted": 10, "done": 4})
    assert "6 of 10 items have no outcome yet" in summarise(tmp_path, "x").notes[0]


def test_the_versions_of_what_decided_and_templates_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdicts and checks change with versions that stood in the manifest alone; a template is no markup."""
    evaluate(tmp_path, "base", completions(10, 6))
    command(tmp_path, "prune", {"versions": {"units": 7, "checks": 8, "teachers": 9, "grader": 5}}, [])
    markdown, page, printed = texts(tmp_path, capsys)
    for said in (markdown, page, printed):
        assert "units 7, checks 8, teachers 9, grader 5" in said or "units 7, checks 8, teachers 9" in said
        assert "(evaluate/base)" in said
    assert "[INST]{question}[/INST]" in printed and "[INST]{question}[/INST]" in markdown
    assert printed.count("report: ") == 1


def test_what_failed_after_it_was_paid_was_not_left_out_before(tmp_path: Path) -> None:
    """Timeouts and unreadable replies stood in the row of traces that no request was made for."""
    kinds = {"a": "excluded_wrong_answer", "b": "no_answer", "c": "invalid_script", "d": "timeout"}
    failures = [
        Failure(id=i, stage="prune", kind=kind, message="m", retry=kind == "timeout")
        for i, kind in kinds.items()
    ]
    command(tmp_path, "prune", {}, failures)
    with RunFolder(tmp_path) as run:
        summary = summarise_prune(run.stage("prune"))
    assert summary
    rows = dict(pruning(summary).rows)
    assert rows["left out before pruning"] == "wrong_answer 1"
    assert rows["failed at the teacher"] == "no_answer 1, invalid_script 1"
    assert rows["failed, to be tried again"] == "timeout 1"


def test_what_is_not_asked_of_a_teacher_is_not_shown_as_passed(tmp_path: Path) -> None:
    """A teacher's own solution was accepted with failed checks, and by chance "58.6 %" of it was the student's."""
    thinking = "Let me see what we have. I add it all up, step by step. Wait, let me check that again. Yes."
    rows = [
        {"question": p.question, "gold": p.gold, "thinking": thinking, "answer": f"\\boxed{{{p.gold}}}"}
        for p in load("mini-gsm", "train", 6)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with RunFolder(tmp_path / "run") as run:
        recipe = load_recipe(None, ["method=direct", "prune.teacher=mini_direct", "prune.answer=teacher"])
        pruned, _ = prune_file(tmp_path / "t.jsonl", run, recipe, Silent())
        summary = summarise_prune(run.stage("prune"))
    assert summary and summary.accepted == 6
    required = {check.name for check in pruned[0].checks if check.required}
    assert required == {"answer_kept", "concluded", "supported", "no_slip_kept", "well_formed", "equations"}
    assert set(summary.waived) == {"shorter", "own_share", "reflection", "numbers_grounded"}
    assert summary.waived["own_share"] == 6 and summary.own_share is None
    printed = dict(pruning(summary).rows)
    assert "own_share 6" in printed["not required, and not passed by"] and printed["teacher"] == "mini_direct"
    assert printed["own bytes in the pruned thinking"] == "– (not asked of this teacher)"

    with RunFolder(tmp_path / "rules") as run:
        prune_file(tmp_path / "t.jsonl", run, load_recipe(None), Silent())
        of_rules = summarise_prune(run.stage("prune"))
    assert of_rules and not of_rules.waived


def test_the_first_training_example_can_be_read_in_the_page(tmp_path: Path) -> None:
    """A doubled tag, a missing stop token or a cut thinking shows in one example before it costs a training."""
    evaluate(tmp_path, "base", completions(4, 2))
    assert "first training example" not in write_report(tmp_path, "x").read_text()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "first_example.txt").write_text("12  loss  '<|im_end|>' <script>alert(1)</script>")
    page = write_report(tmp_path, "x").read_text()
    assert "The first training example" in page and "&lt;|im_end|&gt;" in page and "<script>alert" not in page
