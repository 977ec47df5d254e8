import pytest

from drp.pruning.support import unsupported
from drp.text.units import split_units
from tests.pruning.scripts import pruned

QUESTION = "Mia has 24 shells. Tom has three times as many. How many does he have after he gives away 15, with n = 2?"


def findings(
    text: str, *gone: int, question: str = QUESTION, texts: dict[int, str] | None = None
) -> list[str]:
    units = split_units(text)
    return [str(f) for f in unsupported(question, units, pruned(units, *gone, texts=texts))]


@pytest.mark.parametrize(
    ("text", "gone", "kind"),
    [
        ("Tom has 3 * 24 = 72. Okay. Then 72 - 15 = 57.", 0, "number 72"),
        ("Tom has 3 * 24 = 72. So Tom has 72 shells.", 0, "number 72"),
        ("Let me try n = 37. It is prime. So, n = 37 works.", 0, "number 37"),
        ("Let x be his age. In a year it is x + 1.", 0, "name x"),
        ("Let S be the price. Then the large one is 3S.", 0, "name S"),
        (
            "He walks on. Mary collects as many as both brothers did. This means she collects 3 times 24.",
            1,
            "reference",
        ),
        ("He walks on. The upper triangle has legs of one half. Similarly, the lower one.", 1, "reference"),
        ("He gets 15 more. So he has 39 in all by adding. Wait, no, that's not right.", 1, "doubt"),
        ("Does 3 divide 24? Yes, since 24 = 3 * 8.\n\nNext, I take the rest.", 1, "question"),
        (
            "I add. Maybe I misread the problem. It says fewer, so it is 72 - 15.\n\nSo the answer is 57.",
            2,
            "doubt",
        ),
        ("Let me add these up:\n\n3 * 24 = 72\n\nSo that's it.", 1, "list"),
        ('It says "Tom has more. He gives away some." So he has fewer.', 1, "quotation"),
    ],
)
def test_kept_text_that_rests_on_deleted_text_is_found(text: str, gone: int, kind: str) -> None:
    """Nothing saw it: a value, a name, a reference, a question, a doubt or a list that has lost the line it lives on."""
    assert any(found.startswith(kind) for found in findings(text, gone)), findings(text, gone)
    assert not findings(text)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("So 3 * 24 = 72. Hmm. Again, 3 * 24 = 72. Then 72 - 15 = 57.", 0),  # computed again
        ("That is 72. So 3 times 24 is 72. Then 72 - 15 = 57.", 0),  # in words
        ("Twelve is 12. There are 12 inches in a foot.", 0),  # everybody knows
        ("Maybe n = 11? Next, let me try n = 11.", 0),  # brought in anew
        ("Let x be his age. Let x be the number of shells. Then x + 1.", 0),
        ("Tom has 3 * 24 = 72. Okay, good. That means 72 shells.", 1),  # only talk between
        ("How many shells does Tom have? Hmm, let me see. Tom has 3 * 24 = 72 shells.", 1),
        ("Does 3 divide 24? Let me see. 24 = 3 * 8. Yes, it does.", 1),
        ("It is 57? Maybe I made a mistake. Hmm, let me see. 72 - 15 = 57, so it holds.", 2),
        (
            "It is 3 hours. So maybe I should convert those into minutes. Let me do that. Then 3 * 60 = 180.",
            2,
        ),  # a plan
        ("Maybe I read it as follows:\n\nLet me see. The table is structured as\n\nrows: 17 and 18.", 1),
        ("Is it 72? I take the 72 shells and think. No, it's 57.", 1),
    ],
)
def test_what_stands_by_itself_is_not(text: str, gone: int) -> None:
    assert not findings(text, gone)


def test_new_text_may_say_what_its_own_units_said() -> None:
    text = "Tom has 3 * 24 = 72. Then 72 - 15 = 57."
    assert not findings(text, texts={0: "Tom has 72."})
    assert findings(text, 0, texts={1: "So 72 - 15 is 57."})


def test_a_finding_names_the_sentence() -> None:
    assert findings("Tom has 3 * 24 = 72. Then 72 - 15 = 57.", 0) == ["number 72 in “Then 72 - 15 = 57.”"]
