"""Slips get the results that the trace itself arrives at later, or nothing is changed."""

import pytest

from drp.teachers.late_corrections import mend
from drp.text.units import split_units


def _mended(thinking: str) -> str | None:
    found = mend(split_units(thinking))
    return found and "".join(unit for unit, kept in zip(found.units, found.keep, strict=True) if kept)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # beside its correction
            "So 6 * 152 = 902. Hmm, is that right? That doesn't match. Let me redo it: 6 * 152 = 912.\n\nSo the answer is 912.",
            "So 6 * 152 = 912.So the answer is 912.",
        ),
        (  # corrected in a check of the whole, with all that was computed from it
            "First, 57 + 56 = 103.\n\nNow, 6 * 103 = 618. So Noah has 618 cookies.\n\nLet me double-check everything. 57 + 56 = 113. "
            "Oh, I made a mistake there. 6 * 113 = 678. So it is 678, not 618.\n\nTherefore, the answer is 678.",
            "First, 57 + 56 = 113.\n\nNow, 6 * 113 = 678. So Noah has 678 cookies.\n\nTherefore, the answer is 678.",
        ),
        (  # a check of the slip has no counterpart in the correction, and goes with the words around it
            "First, 9 + 21 = 20.\n\nSo 4 * 20 = 80. Is that right? 20 + 20 + 20 + 20 = 80. Good.\n\nLet me verify. 9 + 21 = 30. Oh, a "
            "mistake. 4 * 30 = 120.\n\nThe answer is 120.",
            "First, 9 + 21 = 30.\n\nSo 4 * 30 = 120.The answer is 120.",
        ),
        (  # the same number given and computed: only the computed one is replaced
            "First, 10 + 21 = 20. Then 20 + 20 = 40.\n\nLet me check again. 10 + 21 = 31. 31 + 20 = 51.\n\nSo 51.",
            "First, 10 + 21 = 31. Then 31 + 20 = 51.\n\nSo 51.",
        ),
        ("So 6 * 152 = 912. Then 912 + 1 = 913.", None),  # no slip
        ("So 6 * 152 = 902. The answer is 902.", None),  # never corrected
    ],
)  # fmt: skip
def test_a_slip_is_mended_from_its_correction(before: str, after: str | None) -> None:
    """What follows from the slip is said again with the results of the correction; white space is the seam's affair."""
    assert _mended(before) == after
