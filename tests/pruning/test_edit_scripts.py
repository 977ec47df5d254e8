import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drp.errors import EditScriptError
from drp.pruning.apply import apply_script, pieces
from drp.pruning.statistics import action_counts, kept_bytes
from drp.records import Edit, EditScript
from drp.text.units import split_units

SKILL = ("arithmetic",)


def keep(first: int, last: int) -> Edit:
    return Edit(first=first, last=last, action="keep", skills=SKILL)


def delete(first: int, last: int) -> Edit:
    return Edit(first=first, last=last, action="delete", skills=SKILL, reason="test")


@st.composite
def scripts(draw: st.DrawFn) -> tuple[list[str], EditScript]:
    sentences = st.sampled_from([" So 3 * 4 = 12.", "Next, ok.\n\n", " Hmm.", "It is $x$.\n", " Über 5."])
    units = split_units("".join(draw(st.lists(sentences, min_size=1, max_size=12))).strip())
    edits: list[Edit] = []
    start = 0
    while start < len(units):
        last = draw(st.integers(start, len(units) - 1))
        action = draw(st.sampled_from(["keep", "delete", "rewrite", "merge"]))
        if action == "merge" and last > start:
            edits.append(
                Edit(first=start, last=last, action="merge", skills=SKILL * 2, text="m", borders=(last,))
            )
        elif action == "rewrite":
            edits.append(Edit(first=start, last=last, action="rewrite", skills=SKILL, text="R."))
        elif action == "delete":
            edits.append(delete(start, last))
        else:
            edits.append(keep(start, last))
        start = last + 1
    return units, EditScript(units=len(units), edits=tuple(edits))


@given(scripts())
def test_applying_is_pure_and_keeps_bytes(case: tuple[list[str], EditScript]) -> None:
    units, script = case
    text = apply_script(units, script)
    assert text == apply_script(units, script)
    position = 0
    for edit in script.edits:  # every kept run stands in the result unchanged, in order
        if edit.action == "keep":
            run = "".join(units[edit.first : edit.last + 1]).strip()
            position = text.index(run, position) + len(run)
    assert sum(action_counts([script]).values()) == len(script.edits)
    assert kept_bytes(units, script) <= len("".join(units).encode())


@given(scripts())
def test_a_script_survives_json(case: tuple[list[str], EditScript]) -> None:
    assert EditScript.model_validate_json(case[1].model_dump_json()) == case[1]


def test_keeping_all_gives_the_trace_back() -> None:
    text = "One. Two.\n\nThree. Four"
    units = split_units(text)
    assert apply_script(units, EditScript(units=len(units), edits=(keep(0, len(units) - 1),))) == text


def test_a_deleted_paragraph_break_is_carried_over() -> None:
    units = ["One.", " Two.\n\n", "Three."]
    script = EditScript(units=3, edits=(keep(0, 0), delete(1, 1), keep(2, 2)))
    assert apply_script(units, script) == "One.\n\nThree."
    assert len(pieces(units, script)) == 2


def test_a_rewrite_keeps_the_white_space_around_it() -> None:
    units = ["One.", " Two and so on.\n\n", "Three."]
    edits = (keep(0, 0), Edit(first=1, last=1, action="rewrite", skills=SKILL, text="2."), keep(2, 2))
    assert apply_script(units, EditScript(units=3, edits=edits)) == "One. 2.\n\nThree."


@pytest.mark.parametrize(
    ("edits", "complaint"),
    [
        ([keep(0, 0), keep(2, 2)], "leave out unit 1"),
        ([keep(0, 1), keep(1, 2)], "overlap at unit 1"),
        ([keep(0, 1)], "cover 2 of 3"),
        ([], "cover 0 of 3"),
    ],
)
def test_a_script_must_cover_every_unit_once(edits: list[Edit], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EditScript(units=3, edits=tuple(edits))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"action": "delete"}, "no reason"),
        ({"action": "rewrite"}, "no text"),
        ({"action": "keep", "text": "x"}, "must not carry text"),
        ({"action": "merge", "text": "x"}, "two or more"),
        ({"action": "merge", "text": "x", "skills": ("a", "b"), "borders": (5,)}, "two or more"),
        ({"action": "merge", "text": "x", "skills": ("a", "b"), "last": 0}, "two or more"),
        ({"action": "keep", "borders": (1,)}, "merge borders"),
        ({"action": "keep", "last": -1}, "greater than or equal"),
        ({"action": "keep", "skills": ()}, "at least 1"),
    ],
)
def test_malformed_edits_are_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Edit.model_validate({"first": 0, "last": 2, "skills": SKILL} | fields)


def test_a_script_for_other_units_is_refused() -> None:
    with pytest.raises(EditScriptError, match="segmentation"):
        apply_script(["One."], EditScript(units=2, edits=(keep(0, 1),)))
