"""`drp diagnose` on files: figures that can be worked out by hand, odd input, and what it writes."""

import html
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import drp
from drp.cli.app import app
from drp.diagnosis.page import page
from drp.diagnosis.records import Diagnosis
from drp.diagnosis.tables import tables
from drp.errors import DataError, RunFolderError

UNTIL, BEHIND = "So 40 * 13 = 520.\n\n", "Wait, let me double-check. 13 * 40 = 520. Yes, that is right."
OPEN = "Is it 9? " * 60


def rows() -> list[dict[str, object]]:
    right = [
        {"question": f"What is 40 * 13, number {n}?", "gold": "520", "thinking": UNTIL + BEHIND, "answer": "\\boxed{520}",
         "level": n % 2 + 1}
        for n in range(12)
    ]  # fmt: skip
    wrong = {"question": "And 41 * 13?", "gold": "533", "thinking": "So 41 * 13 = 533. Wait, no. So the answer is 531.",
             "answer": "\\boxed{531}", "level": 2}  # fmt: skip
    loop = {
        "question": "And 8 * 8?",
        "gold": "64",
        "thinking": OPEN,
        "answer": "",
        "closed": False,
        "level": 1,
    }
    return [*right, wrong, loop]


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    return drp.diagnose(write(tmp_path_factory.mktemp("d") / "mine.jsonl", rows()))


def test_figures_are_those_that_can_be_counted(found: Diagnosis) -> None:
    assert (found.completions, found.thinking_completions) == (14, 14)
    assert found.accuracy.value == pytest.approx(12 / 14) and found.unclosed.value == pytest.approx(1 / 14)
    assert found.looping.value == pytest.approx(1 / 14) and found.cut is None
    assert found.conclusion.found.value == pytest.approx(13 / 14)
    assert found.conclusion.lost.value == 0.5  # the wrong one had it; the loop never did
    right = next(g for g in found.groups if g.name == "right")
    until = -(-len(UNTIL) // 4)
    units = ("Wait, let me double-check.", " 13 * 40 = 520.", " Yes, that is right.")
    assert right.after.value == pytest.approx(1 - until / (until + sum(-(-len(u) // 4) for u in units)))
    assert [g.name for g in found.groups if g.by == "level"] == ["1", "2"]
    assert sum(s.share.value for s in found.skills) == pytest.approx(1)
    assert found.skills[0].skill in (
        "reflection",
        "verification",
        "other",
        "arithmetic",
        "reading given quantities",
    )


def test_remedies_say_what_they_assume_and_the_model_is_asked_for(found: Diagnosis) -> None:
    cut = found.remedies[0]
    assert cut.kind == "assumed" and cut.change.value == 0 and "assumes" in cut.note and cut.saved.value > 0.1
    assert [r.saved for r in found.remedies if r.kind == "run"] == [None, None]
    assert "--model" in found.remedies[-1].note
    assert any("after the answer is first reached" in line for line in found.advice)
    assert found.next_command.startswith("drp prune --traces")


def test_tables_fit_a_terminal_and_the_page_is_inert(found: Diagnosis) -> None:
    for table in tables(found):
        columns = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
        assert sum(columns) + 2 * len(columns) <= 82, table.title
    hostile = found.model_copy(
        update={"model": "</title><script>alert(1)</script>\u202e", "notes": ("<b>x",)}
    )
    text = page(hostile)
    assert "<script" not in text and "&lt;script&gt;" in text and "\u202e" not in text
    assert (
        "default-src 'none'" in html.unescape(text)
        and not re.search(r"(?:src|href)=\"http", text)
        and len(text) < 60_000
    )


def test_chats_without_gold_answers_are_read_and_nothing_is_said_of_accuracy(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "What is 40 * 13?"}, {"role": "assistant", "reasoning_content": UNTIL + BEHIND, "content": "It is 520."}]  # fmt: skip
    share = [
        {"from": "human", "value": "2 * 30?"},
        {"from": "gpt", "value": "<think>\nSo 2 * 30 = 60.\n</think>\n\nIt is 60."},
    ]
    file = write(tmp_path / "chat.jsonl", [{"messages": chat}, {"conversations": share}])
    found = drp.diagnose(file, out=tmp_path / "out")
    assert found.accuracy is None and found.saving is None and found.completions == 2
    assert found.conclusion.found is not None and found.conclusion.found.value == 1
    assert any("no gold answer" in note for note in found.notes)
    assert json.loads((tmp_path / "out" / "diagnosis.json").read_text())["completions"] == 2
    with pytest.raises(DataError, match="no gold answer"):
        drp.grade(file)  # which cannot do without


def test_what_cannot_be_diagnosed_is_said_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        drp.diagnose(tmp_path / "none.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"no stage has run there.*config\.json"):
        drp.diagnose(tmp_path / "folder")
    (tmp_path / "run" / "train").mkdir(parents=True)
    with pytest.raises(RunFolderError, match="drp generate"):
        drp.diagnose(tmp_path / "run")


def test_answers_without_thinking_have_no_thinking_to_save(tmp_path: Path) -> None:
    file = write(
        tmp_path / "short.jsonl", [{"question": "1 + 1?", "gold": "2", "completion": "It is 2."}] * 3
    )
    found = drp.diagnose(file)
    assert found.thinking_completions == 0 and found.skills == () and found.conclusion.after is None
    assert found.saving is None and "nothing can be said" in found.advice[0]


def test_the_command_prints_one_page_and_writes_another(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", rows())
    said = CliRunner().invoke(
        app, ["diagnose", str(file), "--out", str(tmp_path / "out")], env={"COLUMNS": "80"}
    )
    assert said.exit_code == 0, said.output
    assert "Where the thinking goes" in said.output and "next: drp prune --traces" in said.output
    assert max(map(len, said.output.splitlines())) <= max(82, len(str(tmp_path)) + 60)
    assert (tmp_path / "out" / "diagnosis.html").exists()
