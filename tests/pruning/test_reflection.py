import pytest

from drp.pruning.reflection import reflective_steps
from drp.text.units import split_units

SOLVED = "Tom has 3 * 24 = 72. "


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (SOLVED + "Let me check: 72 / 3 = 24, and 72 is right. Yes.", ["verification"]),
        (
            SOLVED + "Plugging 72 back in: 72 - 15 = 57, so that fits.",
            ["verification"],
        ),  # held no word of the list
        (SOLVED + "72 / 3 = 24, which matches.", ["verification"]),
        (SOLVED + "Alternatively, 24 + 24 + 24 = 72. Same.", ["alternative"]),
        (SOLVED + "Wait, is it per week? The problem says 3 times a week, so 72.", ["rereading"]),
        (SOLVED + "Hmm, maybe I misinterpreted the problem. So 72.", []),
        ("Let me double-check. Mia has 24. " + SOLVED, []),  # nothing is there to be checked
        (SOLVED + "Let me check. Let me see.", []),
        (SOLVED + "So after double-checking it in two ways, I can say it is 72.", []),  # tells of a check
        (SOLVED + "Counting them directly and verifying with that confirms 72.", []),
        (SOLVED + "Therefore, both approaches lead to the same result, which is 72.", []),
        (SOLVED + "Then 72 and 15, and that adds up to 87.", []),  # arithmetic
        (
            SOLVED + "Is that right? Let me check it. Alternatively, 80 - 8 is it.",
            ["alternative"],
        ),  # swallowed by what is none
    ],
)
def test_steps_count_by_what_they_do(text: str, kinds: list[str]) -> None:
    """Words were counted: a plug-back without "check" was none, an orphan "Maybe I misinterpreted" was one."""
    found = reflective_steps("Mia has 24 shells. Tom has 3 times as many.", split_units(text))
    assert [step.kind for step in found] == kinds


def test_a_step_ends_with_its_verdict() -> None:
    units = split_units(
        SOLVED + "Let me check. 72 / 3 = 24. And 72 is 3 * 24. Yes, that's right. Then 72 - 15 = 57."
    )
    (step,) = reflective_steps("", units)
    assert (step.first, step.last) == (1, 4)
