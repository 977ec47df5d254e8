"""What the checks refused is shown with its reason and its text: a check nobody can look at is trusted for nothing."""

from pathlib import Path

from drp.records import Check, Edit, EditScript, Failure, PrunedTrace
from drp.reporting.refused import refused, refused_page
from drp.reporting.write import write_report
from drp.runs.folder import RunFolder

THINKING = "So ```3 * 24 = 72```.\n\nLet me check: 72 / 3 = 24.\n\nSo the answer is 72."


def pruned(name: str, *failed: str) -> PrunedTrace:
    script = EditScript(
        units=3,
        edits=(
            Edit(first=0, last=0, action="keep", skills=("arithmetic",)),
            Edit(first=1, last=1, action="delete", skills=("verification",), reason="a check"),
            Edit(first=2, last=2, action="keep", skills=("stating the answer",)),
        ),
    )
    checks = tuple(
        Check(name=check, passed=False, figures={"findings": 2.0}, detail=f"{check} of {name}")
        for check in failed
    )
    return PrunedTrace(
        id=name, problem_id="p", question="?", gold="72", teacher="rules", original_thinking=THINKING, original_answer="72",
        thinking="", answer="72", script=script, checks=checks, accepted=not failed, reason=", ".join(failed) or None,
        tokens_before=9, tokens_after=5,
    )  # fmt: skip


def test_the_first_failed_check_of_each_trace_counts_and_three_are_shown() -> None:
    traces = [
        pruned("fine"),
        pruned("a", "supported", "reflection"),
        *(pruned(f"b{n}", "reflection") for n in range(5)),
    ]
    table = refused(traces)
    assert table and [row[:2] for row in table.rows] == [("reflection", "5"), ("supported", "1")]
    assert table.rows[1][2] == "supported of a"
    page = refused_page(traces)
    assert page and page.count("⟦−") == 4 and "`b2`" in page and "`b3`" not in page and "`fine`" not in page
    assert "````\nSo ```3 * 24" in page  # the trace's own fence ends nothing
    assert refused([pruned("fine")]) is None and refused_page([]) is None


def test_what_the_teacher_called_unusable_stands_beside_what_the_checks_refused() -> None:
    """It stood among the failures of the endpoint, and its reason nowhere but in errors.jsonl."""
    failure = Failure(
        id="u", stage="prune", kind="unusable", message="the teacher calls the trace unusable: it guesses"
    )
    table = refused([pruned("a", "supported")], [failure])
    assert table and table.rows[-1] == ("unusable", "1", failure.message)
    page = refused_page([], [failure])
    assert page and "`u`: the teacher calls the trace unusable: it guesses" in page


def test_the_page_of_refused_traces_goes_with_its_cause(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as run:
        folder, _ = run.open_stage("prune", {"prune": {}})
        with folder.journal() as journal:
            journal.append(pruned("a", "supported"))
        folder.want(["a"])
        write_report(tmp_path, "x")
        assert "supported of a" in (tmp_path / "report" / "refused.md").read_text()
        folder.want([])
        write_report(tmp_path, "x")
        assert not (tmp_path / "report" / "refused.md").exists()
