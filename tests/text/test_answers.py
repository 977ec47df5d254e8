import pytest

from drp.text.answers import boxed, final_answer, normalise, stated_answer
from drp.text.loops import loop_period
from drp.text.thinking import Tags, join_thinking, split_thinking


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{5}", "5"),
        ("\\boxed{\\frac{1}{2}} indeed", "\\frac{1}{2}"),
        ("first \\boxed{1}, then \\boxed{2}", "2"),
        ("\\boxed{1} and \\boxed{2", "1"),
        ("#### 1,000", "1,000"),
        ("The answer is 42.", "42"),
        ("**Final Answer:** 18 dollars\n", "18 dollars"),
        ("He runs 540 meters each week.", "540"),
        ("Nothing here", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("so \\boxed{5}", "box"),
        ("so 5\n#### 5", "####"),
        ("The answer is 5.", "statement"),
        ("He runs 5 miles.", "last_number"),
    ],
)
def test_how_an_answer_was_read_is_told(text: str, reading: str) -> None:
    """An accuracy that rests on guesses from prose must not look like one that rests on boxes."""
    found = stated_answer(text)
    assert found and (found.text, found.reading) == ("5", reading)


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("So x is \\boxed{3} or \\boxed{5}.", ("3", "5")),
        ("\\[x = \\boxed{3}, \\quad y = \\boxed{5}\\]", ("3", "5")),
        ("First \\boxed{3}. Then \\boxed{5}.", ("5",)),
        ("\\boxed{3}, no, \\boxed{5}", ("5",)),
        ("\\boxed{\\boxed{5}}", ("5",)),
    ],
)
def test_boxes_of_one_statement_belong_together(text: str, together: tuple[str, ...]) -> None:
    """Roots in a box each are one answer; an earlier box that was given up is not part of it."""
    found = stated_answer(text)
    assert found and found.together == together


def test_boxed_needs_its_closing_brace() -> None:
    assert boxed("\\boxed{3") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("\\dfrac{1}{2}", "\\frac12"), ("1{,}000", "1000"), ("$ 5 $", "5"), ("90^\\circ", "90"), ("\\text{even}", "even"),
     ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})")],
)  # fmt: skip
def test_normalise_agrees(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("text", "opened", "parts"),
    [
        ("abc\n</think>\n\nok", True, ("abc", "ok", True)),
        ("<think>\nabc</think>ok", False, ("abc", "ok", True)),
        ("<think>\n<", False, ("<", "", False)),
        ("abc", True, ("abc", "", False)),
        ("abc", False, ("", "abc", True)),
        ("<think>\nabc</think>ok", True, ("abc", "ok", True)),
    ],
)
def test_split_thinking(text: str, opened: bool, parts: tuple[str, str, bool]) -> None:
    assert split_thinking(text, opened=opened) == parts


def test_join_and_split_are_inverse() -> None:
    assert split_thinking(join_thinking("a\nb", "c"), opened=True) == ("a\nb", "c", True)


def test_a_model_may_think_between_other_tags() -> None:
    """Magistral's thinking was taken for its answer: the tags were R1's, whoever wrote."""
    tags = Tags("[THINK]", "[/THINK]")
    text = join_thinking("a </think> b", "c", tags)
    assert split_thinking(text, opened=True, tags=tags) == ("a </think> b", "c", True)
    assert split_thinking(f"[THINK]{text}", opened=False, tags=tags) == ("a </think> b", "c", True)
    assert split_thinking("[THINK]a", opened=False, tags=tags) == ("a", "", False)
    assert split_thinking("a[/THINK]", opened=True, cut=True, tags=tags) == ("a", "", False)
    assert tags.end("ask[THINK]\n") and not tags.end("ask<think>\n")


def test_loops_are_found_and_prose_is_not() -> None:
    block = "Wait, let me check again. 3 + 4 = 7. Yes. "
    assert loop_period("Some start. " + block * 12) == len(block)
    assert loop_period("Some start. " + block * 12 + block[:17]) == len(block)
    assert loop_period("Some start. " + block * 2) is None
    assert loop_period(" ".join(f"Step {i} gives {i * i + 3}." for i in range(300))) is None
    assert loop_period("") is None
