"""Readers of foreign text take time in proportion to it; all of it is what a model, a teacher or a file may write."""

import signal

import pytest
from perf import hostile_text

from drp.text.answers import boxed, stated_answer
from drp.text.units import split_units


@pytest.fixture(autouse=True)
def _limited() -> None:
    signal.signal(signal.SIGVTALRM, hostile_text._stop)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("name", hostile_text.READERS)
def test_no_short_text_takes_long(name: str) -> None:
    """Nothing of 12,000 characters takes a second; what was quadratic, or worse, took from one to many."""
    for what, text in hostile_text.inputs(12_000):
        if "5 = x!" in what or what.startswith("distinct"):
            assert hostile_text.seconds(hostile_text.READERS[name], text, 1.0) < 1.0, (name, what)


def test_boxes_and_formulas_never_closed_are_read_in_one_scan() -> None:
    """28,000 characters of open boxes held the event loop for 12 s; open formulas in a trace did not end in 25 s."""
    text = "\\boxed{" * 40_000
    assert hostile_text.seconds(boxed, text, 3.0) < 3.0 and boxed(text) is None
    assert hostile_text.seconds(stated_answer, "1 " + text, 3.0) < 3.0
    formulas = "\\(x. Y " * 40_000
    assert (
        hostile_text.seconds(split_units, formulas, 6.0) < 6.0 and "".join(split_units(formulas)) == formulas
    )
