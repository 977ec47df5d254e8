import json
import random
import re
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from drp.pruning.apply import apply_script, pieces, seam
from drp.records import Edit, EditScript
from drp.text.units import split_units

SKILL = ("arithmetic",)
SPACE = re.compile(r"\s+")
PARAGRAPH = re.compile(r"\n[^\S\n]*\n")


def script_of(actions: list[str]) -> EditScript:
    """One edit a unit; a rewrite says only ``R.``, so that all white space around it is the seam's."""
    more: dict[str, dict[str, str]] = {
        "keep": {},
        "delete": {"reason": "test"},
        "rewrite": {"text": "\n R. "},
    }
    edits = [
        Edit.model_validate({"first": i, "last": i, "action": action, "skills": SKILL, **more[action]})
        for i, action in enumerate(actions)
    ]
    return EditScript(units=len(edits), edits=tuple(edits))


def assert_seams_are_the_originals(units: list[str], script: EditScript) -> None:
    """Nothing but white space of the original, kept bytes in order, paragraphs apart that were apart."""
    original, text = "".join(units), apply_script(units, script)
    assert set(SPACE.findall(text)) <= set(SPACE.findall(original))
    made = pieces(units, script)
    position = 0
    for piece in made:
        if piece.edit.action == "keep":
            run = "".join(units[piece.edit.first : piece.edit.last + 1]).strip()
            position = text.index(run, position) + len(run)
    for before, after in pairwise(made):
        crossed = range(before.edit.last, after.edit.first)
        borders = [
            units[i][len(units[i].rstrip()) :] + units[i + 1][: -len(units[i + 1].lstrip())] for i in crossed
        ]
        if any(PARAGRAPH.search(space) for space in borders):
            assert PARAGRAPH.search(before.text[len(before.text.rstrip()) :]), (before.text, after.text)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], EditScript]:
    sentence = st.sampled_from(["So 3 * 4 = 12.", "Hmm.", "It is $x$.", "Über 5?", "- an item.", "好。"])
    space = st.sampled_from([" ", "  ", "\n", "\n\n", " \n\n", "\n  ", "\n \n", "\t"])
    parts = draw(st.lists(st.tuples(sentence, space), min_size=1, max_size=14))
    units = split_units("".join(a + b for a, b in parts).strip())
    action = st.sampled_from(["keep", "delete", "rewrite"])
    return units, script_of([draw(action) for _ in units])


@given(cases())
def test_white_space_at_seams_is_the_originals(case: tuple[list[str], EditScript]) -> None:
    """Seams gave "checks out.\n\n And": a pattern that no trace has, and that would be taught."""
    assert_seams_are_the_originals(*case)


def test_the_strongest_break_that_went_stays() -> None:
    """A leading space was kept behind an empty line, and an empty line inside what went was lost."""
    units = ["One.\n\n", "Two.", " Three.", " Four.\n\n", "Five.", " Six."]
    keep, delete = "keep", "delete"
    assert apply_script(units, script_of([keep, delete, keep, keep, keep, keep])) == (
        "One.\n\nThree. Four.\n\nFive. Six."
    )
    assert apply_script(units, script_of([keep, delete, delete, delete, delete, keep])) == "One.\n\nSix."
    assert apply_script(units, script_of([keep, keep, delete, keep, keep, keep])) == (
        "One.\n\nTwo. Four.\n\nFive. Six."
    )
    assert apply_script(units, script_of([delete, keep, keep, delete, "rewrite", delete])) == (
        "Two. Three.\n\nR."
    )


def test_of_equal_breaks_that_before_what_follows_stays() -> None:
    """It holds the indentation of a list item or of a line of code."""
    assert seam(["Items:\n", "- one\n  ", "- two"], 0, 2) == "\n  "


def test_seams_of_real_traces_are_the_originals(real_data: Path) -> None:
    """All real traces, each pruned at random once: no white space that its original lacks."""
    rng = random.Random(0)
    for file in sorted((real_data / "traces").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            units = split_units(json.loads(line)["thinking"])
            actions = rng.choices(["keep", "delete", "rewrite"], [5, 4, 1], k=len(units))
            assert_seams_are_the_originals(units, script_of(actions))
