import pytest

from drp.pruning.slips import kept_slips
from drp.text.units import split_units
from tests.pruning.scripts import pruned

SLIP = "So 5 + 7 = 13. Wait, no, 5 + 7 = 12. Then 12 * 2 = 24."
MISREAD = (
    "Ana has 3 more, so 72 + 3 = 75. Wait, no, it says fewer, not more. So 72 - 3 = 69. The answer is 69."
)
IDLE = "So 72 - 3 = 69. Wait, no, is that wrong? 72 - 3 = 69. Okay. So the answer is 69."


def slips(text: str, *gone: int, texts: dict[int, str] | None = None) -> list[str]:
    units = split_units(text)
    return kept_slips(units, pruned(units, *gone, texts=texts))


@pytest.mark.parametrize(("text", "gone"), [(SLIP, (1,)), (SLIP, (1, 2)), (MISREAD, (1, 2)), (MISREAD, (1,))])
def test_a_slip_without_its_correction_is_found(text: str, gone: tuple[int, ...]) -> None:
    """ "5+7=13. Wait, no, 5+7=12." passed all checks with the correction deleted: the original has the equation too."""
    assert slips(text, *gone)


@pytest.mark.parametrize(
    ("text", "gone"),
    [(SLIP, ()), (SLIP, (0,)), (SLIP, (0, 1)), (MISREAD, ()), (MISREAD, (0, 1)), (IDLE, (1, 2, 3))],
)
def test_what_is_corrected_or_was_right_is_no_slip(text: str, gone: tuple[int, ...]) -> None:
    assert not slips(text, *gone)


def test_a_slip_that_is_written_anew_is_mended() -> None:
    assert not slips(SLIP, 1, texts={0: "So 5 + 7 = 12."})


def test_a_false_equation_that_the_student_never_corrects_is_its_own() -> None:
    assert not slips("So 5 + 7 = 13. Then 13 * 2 = 26.", 1)
