import json
from pathlib import Path

import pytest

from drp.benchmarks.files import normalise_gold
from drp.benchmarks.public import PUBLIC
from drp.benchmarks.registry import ProblemSet, load_problems
from drp.errors import DataError
from drp.grading.grader import Grader

FILES = [
    ("gsm8k", "train", "gsm8k_train", 7_473), ("gsm8k", "test", "gsm8k_test", 1_319),
    ("prm12k", "train", "prm12k_train", 12_000), ("math500", "test", "math500_test", 500),
    ("aime24", "test", "aime24", 30), ("amc23", "test", "amc23", 40),
]  # fmt: skip


@pytest.mark.parametrize(("name", "split", "file", "count"), FILES)
def test_every_public_benchmark_loads_from_its_file(
    real_data: Path, name: str, split: str, file: str, count: int
) -> None:
    path = real_data / "benchmarks" / f"{file}.jsonl"
    problems = load_problems(ProblemSet(benchmark=name, split=split, path=path))
    assert len(problems) == count == PUBLIC[name].sizes[split]
    assert all(p.question.strip() and p.gold.strip() and "####" not in p.gold for p in problems)
    assert {(p.benchmark, p.split) for p in problems} == {(name, split)}
    if name in ("gsm8k", "aime24", "amc23"):
        assert all(p.gold.lstrip("-").replace(".", "").isdigit() for p in problems)


@pytest.mark.parametrize(("name", "split", "file", "count"), [f for f in FILES if f[0] != "prm12k"])
def test_gold_graded_against_gold_is_right(
    real_data: Path, name: str, split: str, file: str, count: int
) -> None:
    path = real_data / "benchmarks" / f"{file}.jsonl"
    with Grader() as grader:
        for p in load_problems(ProblemSet(benchmark=name, split=split, path=path)):
            assert grader.is_correct(f"The answer is \\boxed{{{p.gold}}}.", p.gold), p.gold


@pytest.mark.parametrize(
    ("written", "meant"),
    [("so 5 * 4 = 20\n#### 1,000", "1000"), ("27.0", "27"), ("-3.00", "-3"), ("2.50", "2.50"), ("(1,234)", "(1,234)"),
     ("1,2", "1,2"), ("12,345,678.5", "12345678.5"), ("\\frac{1}{2}", "\\frac{1}{2}"), ("204", "204")],
)  # fmt: skip
def test_gold_answers_are_brought_to_one_form(written: str, meant: str) -> None:
    assert normalise_gold(written) == meant


def test_fields_parquet_and_corrections(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "label": i} for i in range(4)]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    own = ProblemSet(benchmark="own", path=path, question="prompt", gold="label")
    assert [p.gold for p in load_problems(own)] == ["0", "1", "2", "3"]
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = tmp_path / "own.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    assert load_problems(own.model_copy(update={"path": table})) == load_problems(own)
    mended = tmp_path / "c.jsonl"
    mended.write_text('{"question": "q2", "gold": "1,000"}\n')
    corrected = load_problems(own.model_copy(update={"corrections": mended}))
    assert [p.gold for p in corrected] == ["0", "1", "1000", "3"] and corrected[2].id != load_problems(own)[
        2
    ].id
    mended.write_text('{"question": "q9", "gold": "1"}\n')
    with pytest.raises(DataError, match="not in the set, such as 'q9'"):
        load_problems(own.model_copy(update={"corrections": mended}))
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(DataError, match="not a Parquet file"):
        load_problems(own.model_copy(update={"path": tmp_path / "bad.parquet"}))


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"unknown benchmark 'gsm9k'.*gsm8k"):
        load_problems(ProblemSet(benchmark="gsm9k"))
    with pytest.raises(DataError, match="has the split train, not 'test'"):
        load_problems(ProblemSet(benchmark="prm12k"))
    with pytest.raises(DataError, match=r"path: FILE\.jsonl"):
        load_problems(ProblemSet(benchmark="math500"))  # offline here
