import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drp.benchmarks.completions import Fields, read_completions
from drp.errors import DataError


def drp(*arguments: str) -> tuple[int, str]:
    call = [sys.executable, "-c", "from drp.cli.app import main; main()", *arguments]
    done = subprocess.run(
        call, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "110"}
    )
    return done.returncode, done.stdout + done.stderr


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_completions_of_any_shape_are_graded(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": "1+1?", "gold": "2", "completion": "<think>\nhm, \\boxed{3}\n</think>\n\n\\boxed{2}"},
        {"question": "1+1?", "gold": "2", "completion": "<think>\nso \\boxed{2}"},  # never closed: no answer
        {"question": "2+2?", "gold": "#### 4", "thinking": "t", "answer": "The answer is 4.", "closed": True},
    ]
    file = write(tmp_path / "mine.jsonl", rows)
    out = tmp_path / "graded.jsonl"
    code, said = drp("grade", str(file), "--out", str(out))
    assert code == 0 and "75.0" in said, said  # (1/2 + 1) / 2
    graded = [json.loads(line) for line in out.read_text().splitlines()]
    assert [g["correct"] for g in graded] == [True, False, True] and [g["sample"] for g in graded] == [
        0,
        1,
        0,
    ]
    code, said = drp("grade", str(file), "--from-thinking", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said))
    assert code == 0 and (row["run"], row["problems"], row["runs"], row["accuracy"]) == (
        "mine",
        "2",
        "2",
        "1",
    )
    again = read_completions(out)
    assert [t.correct for t in again] == [None] * 3  # graded anew, under the same names


def test_strict_grading_and_how_answers_were_read(tmp_path: Path) -> None:
    """An accuracy says what it rests on: boxes, or numbers picked from prose; --strict leaves the latter out."""
    completions = ["\\boxed{5}", "#### 5", "The answer is 5.", "He has 5.", "He has some."]
    rows: list[dict[str, object]] = [
        {"question": f"q{i}", "gold": "5", "completion": text} for i, text in enumerate(completions)
    ]
    file = write(tmp_path / "mine.jsonl", rows)
    code, said = drp("grade", str(file))
    assert code == 0 and "80.0" in said
    assert "box 1, #### 1, statement 1, last number 1, none 1" in " ".join(said.split())
    code, said = drp("grade", str(file), "--strict")
    assert code == 0 and "40.0" in said and "Strict: only answers in a box" in " ".join(said.split())


def test_lm_eval_samples_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"doc_id": 0, "doc": {"question": "3*4?", "answer": "#### 12"}, "target": "12", "resps": [["so \\boxed{12}"]],
         "filtered_resps": ["12"], "exact_match": 1.0},
        {"doc_id": 1, "doc": {"problem": "5*5?", "answer": "25"}, "target": "25", "resps": [["\\boxed{24}", "\\boxed{25}"]]},
    ]  # fmt: skip
    traces = read_completions(write(tmp_path / "samples.jsonl", rows))
    assert [(t.question, t.gold, t.sample) for t in traces] == [
        ("3*4?", "12", 0),
        ("5*5?", "25", 0),
        ("5*5?", "25", 1),
    ]
    code, said = drp("grade", str(tmp_path / "samples.jsonl"), "--format", "markdown")
    assert code == 0 and "| samples | 2 × 2 | 75.0 |" in said


def test_prefilled_prompts_are_told_in_the_output(tmp_path: Path) -> None:
    """A bare text in a log whose others close what they never opened is unclosed thinking; the table says so."""
    rows: list[dict[str, object]] = [
        {"question": "1+1?", "gold": "2", "completion": "hm\n</think>\n\n\\boxed{2}"},
        {"question": "1+1?", "gold": "2", "completion": "so \\boxed{2}, or is it"},
    ]
    file = write(tmp_path / "mine.jsonl", rows)
    code, said = drp("grade", str(file), "--format", "markdown")
    assert code == 0 and "| mine | 1 × 2 | 50.0 |" in said and "prompts ended in <think>" in said, said
    code, said = drp("grade", str(file), "--format", "markdown", "--no-prefilled")
    assert code == 0 and "| mine | 1 × 2 | 100.0 |" in said and "prompts ended" not in said, said
    code, said = drp("grade", str(write(file, rows[1:])), "--format", "markdown", "--prefilled")
    assert code == 0 and "| mine | 1 | 0.0 |" in said, said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question": "q", "gold": "1", "completion": "1", "completion_tokens": NaN}', "line 1: field"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_file_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    """What the readers say reaches the user as it is, without a traceback."""
    (tmp_path / "x.jsonl").write_bytes(content)
    code, said = drp("grade", str(tmp_path / "x.jsonl"))
    assert code == 1 and message in said and "Traceback" not in said and "x.jsonl" in said


def test_files_are_compared_problem_by_problem(tmp_path: Path) -> None:
    def rows(right: int) -> list[dict[str, object]]:
        return [
            {
                "question": f"q{i}",
                "gold": "1",
                "completion": f"\\boxed{{{1 if i < right else 0}}}",
                "completion_tokens": 10 + right,
            }
            for i in range(60)
        ]

    files = [write(tmp_path / f"{name}.jsonl", rows(n)) for name, n in (("a", 30), ("b", 45), ("c", 30))]
    one, two, three = map(str, files)
    code, said = drp("compare", one, two, three, "--margin", "2", "--format", "csv")
    assert code == 0, said
    base, better, same = csv.DictReader(io.StringIO(said))
    assert (base["run"], base["accuracy"], base["accuracy_difference"]) == ("a", "0.5", "")
    assert (better["run"], better["accuracy_difference"], better["not_inferior"]) == ("b", "0.25", "1")
    assert float(better["mcnemar_p"]) < 0.001 and float(better["tokens_ratio"]) == pytest.approx(
        55 / 40, rel=1e-4
    )
    assert (same["run"], same["accuracy_difference"], same["margin"]) == ("c", "0", "0.02")
    code, said = drp("compare", one, two, three)
    lines = [line.split() for line in said.splitlines()]
    assert code == 0 and ["a", "a", "60", "50.0", "40"] in lines, said  # the base once, before both
    assert sum(line[:2] == ["a", "a"] for line in lines) == 1
    assert any(line[:5] == ["a", "b", "60", "75.0", "+25.0"] and "<0.001" in line for line in lines), said
    assert "a, b, c: protocol" in said  # and one protocol for all
    code, said = drp("compare", one, two, "--format", "latex")
    assert code == 0 and r"\begin{tabular}" in said and "a & b & 60 & 75.0" in said
    code, said = drp("compare", one)
    assert code != 0 and "two or more" in said


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [{"q": "1?", "label": "1", "text": "\\boxed{1}"}])
    with pytest.raises(DataError, match="name its field with --gold"):
        read_completions(file)
    with pytest.raises(DataError, match="name its field with --completion"):
        read_completions(file, Fields(gold="label"))
    (trace,) = read_completions(file, Fields(question="q", gold="label", completion="text"))
    assert (trace.question, trace.gold, trace.answer) == ("1?", "1", "\\boxed{1}")
    (tmp_path / "e.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no completions"):
        read_completions(tmp_path / "e.jsonl")


def test_a_narrow_terminal_loses_no_digit() -> None:
    from rich.console import Console

    from drp.reporting.terminal import print_table
    from drp.reporting.text import Table

    row = ("mini-gsm", "a-long-name-of-a-run", "1,319 × 5", "[-15.625, 106.25]")
    out = io.StringIO()
    print_table(Console(width=30, file=out), Table("t", ("benchmark", "run", "n", "95 % CI"), (row,)))
    assert all(cell in out.getvalue() for cell in row)
