import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drp.errors import EditScriptError
from drp.pruning import alignment
from drp.pruning.alignment import (
    Group,
    Step,
    align_steps,
    covered_until,
    fit_text,
    groups_of,
    similarity,
    words,
)
from drp.pruning.apply import apply_script
from drp.pruning.statistics import own_words
from drp.records import Edit, EditScript
from drp.teachers.rules import RulesTeacher
from drp.text.units import split_units

UNITS = [
    "Ana has 3 cards. ",
    "Ben has 4 more. ",
    "Wait, is that right? ",
    "So 3 + 4 = 7. ",
    "Yes, 3 + 4 is 7. ",
    "The answer is 7.",
]


def steps(*bounds: tuple[int, int]) -> list[Step]:
    return [Step(a, b, f"s{n}") for n, (a, b) in enumerate(bounds)]


@given(st.lists(st.sampled_from("abcde"), max_size=60), st.lists(st.sampled_from("abcde"), max_size=60))
def test_long_texts_are_laid_in_pieces(source: list[str], copy: list[str]) -> None:
    """Exact comparison of half a million words with as many takes 30 GB; past a bound it goes piece by piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "MOST", 100)
        patch.setattr(alignment, "PIECE", 8)
        pairs = alignment.matched(source, copy)
        assert alignment.matched(source, source) == [(i, i) for i in range(len(source))]
    assert all(source[a] == copy[b] for a, b in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


def test_a_faithful_copy_gives_its_steps_back() -> None:
    copies = [("Ana has 3 cards.\nBen has 4 more.", "reading"), ("Wait, is that right?", "doubt"),
              ("So 3 + 4 = 7. Yes, 3 + 4 is 7. The answer is 7.", "arithmetic")]  # fmt: skip
    found, figures = align_steps(UNITS, copies)
    assert found == [Step(0, 1, "reading"), Step(2, 2, "doubt"), Step(3, 5, "arithmetic")]
    assert figures == {"omitted_share": 0.0, "altered_share": 0.0}


def test_what_a_copy_omits_and_alters_is_measured() -> None:
    copies = [("Ana owns 3 cards.", "a"), ("So 3 + 4 = 7.", "b"), ("The answer is 7.", "c")]
    found, figures = align_steps(UNITS, copies)
    assert [(s.first, s.last, s.skill) for s in found] == [(0, 2, "a"), (3, 4, "b"), (5, 5, "c")]
    total = len(words("".join(UNITS)))
    omitted = len(words(UNITS[1] + UNITS[2] + UNITS[4])) + 1  # and "has"
    assert figures["omitted_share"] == pytest.approx(omitted / total, abs=1e-4)
    assert 0 < figures["altered_share"] < 0.1
    assert covered_until(UNITS, copies[:2]) == 4


@settings(max_examples=60)
@given(st.data())
def test_steps_always_partition_the_units(data: st.DataObject) -> None:
    texts = st.text(alphabet="abc 12.=\n", min_size=1, max_size=20)
    units = data.draw(st.lists(texts, min_size=1, max_size=12))
    copies = data.draw(st.lists(st.tuples(texts, st.just("x")), min_size=1, max_size=8))
    found, figures = align_steps(units, copies)
    assert [i for s in found for i in range(s.first, s.last + 1)] == list(range(len(units)))
    assert all(0 <= value <= 1 for value in figures.values())


@settings(max_examples=100)
@given(st.data())
def test_no_word_of_a_fitted_text_is_lost_or_moved(data: st.DataObject) -> None:
    """Whatever the decisions and the text, the script is whole and its text is the teacher's."""
    groups: list[Group] = []
    index = 0
    while index < len(UNITS):
        size = data.draw(st.integers(1, min(3, len(UNITS) - index)))
        members = tuple(Step(i, i, "x") for i in range(index, index + size))
        groups.append(Group(members, data.draw(st.sampled_from(["keep", "delete", "rewrite", "merge"]))))
        index += size
    sentence = st.sampled_from([*(u.strip() for u in UNITS), "Fine then.", "3 + 4 = 7, so it is 7."])
    text = "\n".join(data.draw(st.lists(sentence, min_size=1, max_size=8)))
    if all(g.action == "delete" for g in groups):
        with pytest.raises(EditScriptError):
            fit_text(UNITS, groups, text)
        return
    script, figures = fit_text(UNITS, groups, text)
    assert words(apply_script(UNITS, script)) == words(text)
    assert all(0 <= value <= 1 for value in figures.values())
    for group in groups:
        if group.action == "delete":
            inside = [e for e in script.edits if group.first <= e.first <= group.last]
            assert {e.action for e in inside} == {"delete"}


def test_kept_steps_keep_their_bytes_and_altered_ones_are_told() -> None:
    groups = [Group(tuple(steps((0, 0), (1, 1))), "keep"), Group(tuple(steps((2, 2))), "delete"),
              Group(tuple(steps((3, 3), (4, 4))), "merge"), Group(tuple(steps((5, 5))), "keep")]  # fmt: skip
    script, figures = fit_text(
        UNITS, groups, "Ana has 3 cards. Ben has 5 more. So 3 + 4 is 7. The answer is 7."
    )
    assert [(e.action, e.text) for e in script.edits] == [
        ("keep", None), ("rewrite", "Ben has 5 more."), ("delete", None), ("merge", "So 3 + 4 is 7."), ("keep", None),
    ]  # fmt: skip
    assert script.edits[3].borders == (4,)
    assert figures == {"altered_keeps": pytest.approx(1 / 3, abs=1e-4), "left_out": 0.0}


def test_a_script_and_its_groups_agree(real_data: Path) -> None:
    """Fitting a script's own text to its groups changes nothing, on real traces."""
    rows = [json.loads(x) for x in (real_data / "traces" / "r1_qwen_1.5b.math_train.jsonl").open()][:30]
    same = 0
    for row in rows:
        units = split_units(row["thinking"])
        script = RulesTeacher().script(row["question"], row["answer"], units)
        text = apply_script(units, script)
        again, _ = fit_text(units, groups_of(script), text)
        assert words(apply_script(units, again)) == words(text)
        same += apply_script(units, again) == text
    assert same >= 27  # a sentence said twice may change places with itself


def test_own_words_are_those_in_runs() -> None:
    """Single words in order made a textbook rewrite the student's own: the human solution passed 73 times of 77."""
    units = ["So Ana gives away half of her 12 cards to Ben. ", "That leaves 6 of them. ", "The answer is 6."]

    def words_of(text: str) -> tuple[int, int]:
        rewrite = Edit(first=0, last=1, action="rewrite", skills=("x",), text=text)
        script = EditScript(units=3, edits=(rewrite, Edit(first=2, last=2, action="keep", skills=("x",))))
        return own_words("Ana has 12 cards. How many of her cards are left with Ana?", units, script)

    assert words_of("Ana gives away half of her 12 cards.") == (10, 10)
    assert words_of("Half of 12 cards were hers to give away to Ben, so she retains 6.") == (3, 16)
    assert words_of("How many of her cards are left with Ana?") == (3, 3)  # the question's words are nobody's
    assert words_of("12 / 2 = 6") == (3, 3)


def test_similarity() -> None:
    assert similarity("a b c d", "a b c d") == 1 and similarity("a b", "c d") == 0
