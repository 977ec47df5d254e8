import itertools
import json
import random
import re
from pathlib import Path

import pytest

from drp.benchmarks.files import read_problems, read_traces
from drp.benchmarks.mini_world import FRACTIONS, SPLITS, TIERS, apply_operation, draw, load, split_of, stream
from drp.benchmarks.registry import ProblemSet, load_problems
from drp.errors import DataError


@pytest.mark.parametrize("tier", TIERS)
def test_problems_follow_from_the_seed(tier: str) -> None:
    one, two = load(tier, "test", 50), load(tier, "test", 50)
    assert one == two and len({p.id for p in one}) == 50
    assert load(tier, "test", 50, seed=1) != one
    low, high = TIERS[tier]
    for world in itertools.islice(stream(tier, "train", 3), 50):
        assert low <= world.operations <= high


def test_splits_share_no_problem() -> None:
    for tier in TIERS:
        questions = {split: {p.question for p in load(tier, split, 400, seed=7)} for split in SPLITS}
        for one, two in itertools.combinations(SPLITS, 2):
            assert not questions[one] & questions[two]
        assert all(split_of(q) == split for split, group in questions.items() for q in group)


def solve(question: str) -> int:
    """Solve a question from its words alone, without the generator's graph."""
    have: dict[str, int] = {}
    words = {name: k for k, name in FRACTIONS.items()}
    for sentence in re.split(r"(?<=[.?])\s+", question):
        if m := re.fullmatch(r"(\w+) has (\d+) \w+\.", sentence):
            have[m[1]] = int(m[2])
        elif m := re.fullmatch(r"(\w+) has (\d+) (more|fewer) \w+ than (\w+)\.", sentence):
            have[m[1]] = have[m[4]] + int(m[2]) * (1 if m[3] == "more" else -1)
        elif m := re.fullmatch(r"(\w+) has (\d+) times as many \w+ as (\w+)\.", sentence):
            have[m[1]] = int(m[2]) * have[m[3]]
        elif m := re.fullmatch(r"(\w+) has (half|a \w+) as many \w+ as (\w+)\.", sentence):
            assert have[m[3]] % words[m[2]] == 0
            have[m[1]] = have[m[3]] // words[m[2]]
        elif m := re.fullmatch(r"(\w+) has as many \w+ as (\w+) and (\w+) together\.", sentence):
            have[m[1]] = have[m[2]] + have[m[3]]
        elif m := re.fullmatch(r"Then (\w+) finds (\d+) more \w+\.", sentence):
            have[m[1]] += int(m[2])
        elif m := re.fullmatch(r"Then (\w+) gives away (\d+) \w+\.", sentence):
            have[m[1]] -= int(m[2])
        elif m := re.fullmatch(r"How many \w+ does (\w+) (?:now )?have\?", sentence):
            return have[m[1]]
        elif m := re.fullmatch(r"How many \w+ do (\w+) and (\w+) have together\?", sentence):
            return have[m[1]] + have[m[2]]
        else:
            raise AssertionError(sentence)
    raise AssertionError("no question")


def test_gold_answers_are_right() -> None:
    for tier in TIERS:
        for problem in load(tier, "test", 300):
            assert solve(problem.question) == int(problem.gold)


def test_draw_gives_the_operations_asked_for() -> None:
    rng = random.Random(0)
    assert all(draw(rng, n).operations == n for n in range(2, 11) for _ in range(20))
    assert apply_operation("share", (12,), 3) == 4


def test_registry_counts_and_refuses(tmp_path: Path) -> None:
    assert len(load_problems(ProblemSet(benchmark="mini-gsm", count=7))) == 7
    assert len(load_problems(ProblemSet(benchmark="mini-gsm", count=7), limit=3)) == 3
    for wrong, message in (
        (ProblemSet(benchmark="gsm9k"), "mini-gsm"),
        (ProblemSet(split="dev"), "train and test"),
    ):
        with pytest.raises(DataError, match=message):
            load_problems(wrong)
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"q":"a?","answer":"so\\n#### 1,000"}\n\n{"q":"a?","answer":"#### 1,000"}\n{"q":"b?","answer":2.5}\n'
    )
    problems = load_problems(ProblemSet(benchmark="mine", path=path, question="q", gold="answer"))
    assert [(p.gold, p.benchmark) for p in problems] == [("1000", "mine"), ("2.5", "mine")]


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 1: not JSON"), ("[1]", "JSON object"), ('{"question":"q"}', "'gold' is missing")],
)
def test_bad_problem_files_say_where(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        read_problems(path)
    path.write_bytes(b"\xff\xfe bad\n")
    with pytest.raises(DataError, match="in UTF-8"):
        read_problems(path)
    with pytest.raises(DataError, match="no such file"):
        read_problems(tmp_path / "absent.jsonl")


def test_traces_from_elsewhere(tmp_path: Path) -> None:
    row = {"id": "x/1", "question": "q", "gold": 5, "thinking": "t", "answer": "a", "closed": False}
    path = tmp_path / "t.jsonl"
    path.write_text((json.dumps(row) + "\n") * 2)
    (trace,) = read_traces(path)
    assert (trace.source_id, trace.gold, trace.closed, trace.correct) == ("x/1", "5", False, None)
