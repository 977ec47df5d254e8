"""What a page holds, and what it cannot hold."""

import re
from pathlib import Path

import pytest

from drp.errors import RunFolderError
from drp.records import PrunedTrace
from drp.reporting.page.document import asset, page_script
from drp.reporting.page.embedding import PART, Texts, visible
from drp.reporting.page.paper import PUBLISHED
from drp.reporting.page.skills import SkillTable
from drp.reporting.page.svg import Axis
from drp.reporting.write import write_report, write_view
from drp.runs.folder import StageFolder
from drp.text.units import split_units
from tests.reporting.folders import command, completions, evaluate
from tests.reporting.page.hostile import OVERRIDE, SCRIPT, hostile_run, pruned
from tests.reporting.page.reading import blocks, documents


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(hostile_run(tmp_path_factory.mktemp("page") / "run"), "x").read_text()


def test_every_trace_is_there_and_none_of_its_text_is_markup(page: str) -> None:
    """The report held ten traces; and a text that ends a script element must not end one of ours."""
    data = blocks(page)
    assert data["about"]["runs"][0] == {"name": "x", "outcome": "distilled", "traces": 12, "completions": 20}
    assert len(data["traces-0"]["id"]) == 12 and len(documents(page)) == 12 + 40
    assert documents(page)[0]["question"].startswith(f"Question 0 {SCRIPT}")
    scripts = re.findall(r"<script\b[^>]*>", page)
    assert len(scripts) == 2 + len(data) and "<img src=x" not in page and "onerror='" not in page
    assert "\u202e" not in page and "\u2028" not in page


def test_the_page_is_small_and_fetches_nothing(page: str) -> None:
    """1.2 MB of plots stood before the first figure."""
    shell = page[: page.index('<script type="text/plain"')]
    assert len(shell) < 300_000
    assert "default-src &#39;none&#39;" in shell and "unsafe-" not in shell[:2000]
    own = shell.replace(asset("temml.min.js"), "")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|url\(|@import""", own)
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch("):
        assert name not in page_script()


def test_documents_are_found_by_number_and_left_out_beyond_the_limit() -> None:
    """One folder of long traces would make a page that no browser opens."""
    with Texts(most=500) as texts:
        numbers = [texts.add({"n": n, "text": f"{n}" * PART}) for n in range(3)]
        numbers += [texts.add("more") for _ in range(20)]
        starts = texts.close_parts()
    assert numbers[0] == 0 and texts.left_out > 0 and numbers[-1] == -1
    assert list(starts) == sorted(set(starts)) and starts[0] == 0


def test_what_cannot_be_seen_is_spelled_out() -> None:
    assert visible("a\u202eb\tc\né\u200d") == "a⟨U+202E⟩b\tc\né\u200d"
    assert visible("\ud800") == "⟨U+D800⟩" and "⟨U+0000⟩" in visible(OVERRIDE)


def test_skills_share_a_trace_s_tokens() -> None:
    """Tokens of all skills must be those of the thinking, before and after, merges included."""
    trace, table = pruned(0), SkillTable()
    units = split_units(trace.original_thinking)
    table.count(trace, units)
    ranked = dict(table.ranked())
    thinking = (
        trace.tokens_before
        * len(trace.original_thinking)
        / (len(trace.original_thinking) + len(trace.original_answer))
    )
    assert sum(f.before for f in ranked.values()) == pytest.approx(thinking)
    assert ranked["verification"].after == 0 and ranked["verification"].actions == {"delete": 1}
    assert ranked["algebraic manipulation"].after == ranked["stating the answer"].after > 0


def test_a_script_of_other_units_is_shown_as_two_texts(tmp_path: Path) -> None:
    """A folder of an earlier version, whose units were cut otherwise, stopped the report."""
    trace = pruned(0)
    other = trace.model_copy(
        update={"original_thinking": trace.original_thinking + "\n\nAnd more. And more."}
    )
    command(tmp_path, "prune", {"prune": {}}, [other])
    (document,) = documents(write_report(tmp_path, "x").read_text())
    assert document["steps"] is None and document["thinking"] == [other.original_thinking, other.thinking]


def test_several_runs_stand_in_one_page_beside_the_paper(tmp_path: Path) -> None:
    """Which run is better was not to be seen in any page, nor where the paper's results lie."""
    for name in ("one", "two"):
        evaluate(tmp_path / name, "base", completions(8, 4, benchmark="gsm8k"))
        evaluate(tmp_path / name, "distilled", completions(8, 5, benchmark="gsm8k"), "tuned")
    page = write_view([tmp_path / "one", tmp_path / "two"]).read_text()
    assert (tmp_path / "one" / "report" / "view.html").is_file()
    assert [run["name"] for run in blocks(page)["about"]["runs"]] == ["one", "two"]
    assert "two, distilled: 62.5 %" in page and page.count(", base: 50.0 %") == 1  # whose base is one
    assert page.count("The paper, 7B DRP: 94.1 % at 328 tokens") == 2
    with pytest.raises(RunFolderError, match="not a run folder"):
        write_view([tmp_path / "absent"])


def test_the_paper_s_counts_are_shares() -> None:
    assert len(PUBLISHED) == 28 and all(
        40 < p.accuracy < 95 for p in PUBLISHED if p.benchmark in ("gsm8k", "math500")
    )
    assert (
        next(p for p in PUBLISHED if (p.benchmark, p.student, p.method) == ("aime24", "7B", "DRP")).accuracy
        == 50
    )


def test_ticks_are_round() -> None:
    assert Axis(0, 1234, 0, 100).ticks() == [0, 500, 1000]
    assert Axis(0.031, 0.078, 0, 100).ticks(4) == [0.04, 0.06]


def test_the_teacher_s_raw_replies_are_found(tmp_path: Path) -> None:
    """A reply was on file under its request, and nothing said which trace it was for."""
    trace = pruned(0).model_copy(update={"replies": ("reply-1", "reply-absent")})
    command(tmp_path, "prune", {"prune": {}}, [trace])
    stored = '{"schema":"1.2","id":"reply-1","completion":{"thinking":"","answer":"1-2 keep","closed":true,"finish_reason":"stop"}}'
    (tmp_path / "teacher_replies.jsonl").write_text(stored + "\n")
    assert StageFolder(tmp_path / "prune", "prune").records(PrunedTrace)[0].replies == trace.replies
    (document,) = documents(write_report(tmp_path, "x").read_text())
    assert document["replies"] == ["1-2 keep"]
