from collections import Counter

import pytest

from drp.pruning.apply import apply_script
from drp.records import EditScript
from drp.teachers.rules import RulesSettings, RulesTeacher
from drp.text.units import split_units

QUESTION = (
    "Mia has 24 shells. Tom has 3 times as many shells as Mia. Ana has 15 fewer shells than Tom. "
    "How many shells does Ana have?"
)
ANSWER = "The answer is \\boxed{57}."


def prune(
    thinking: str, question: str = QUESTION, answer: str = ANSWER, **settings: object
) -> tuple[str, EditScript]:
    units = split_units(thinking)
    script = RulesTeacher(RulesSettings.model_validate(settings)).script(question, answer, units)
    return apply_script(units, script), script


def test_the_derivation_stays_and_the_second_pass_goes() -> None:
    text, script = prune(
        "Okay, so I need to find how many shells Ana has. Let me think.\n\n"
        "First, Tom has 3 times as many as Mia, so 3 * 24 = 72.\n\n"
        "Next, Ana has 15 fewer than Tom, so 72 - 15 = 57. So Ana has 57 shells.\n\n"
        "Wait, let me verify the whole thing. 3 * 24 = 72. 72 - 15 = 57. Yes, it all checks out.\n\n"
        "So the answer is 57.",
        reflection_share=0,
    )
    assert "3 * 24 = 72" in text and "72 - 15 = 57" in text
    assert text.count("3 * 24 = 72") == 1
    assert "whole thing" not in text and "Let me think" not in text
    assert text.endswith("So the answer is 57.")
    assert {e.reason for e in script.edits if e.action == "delete"}


def test_a_corrected_slip_is_mended_in_place() -> None:
    text, script = prune(
        "Okay, so I need to find how many shells Ana has.\n\n"
        "First, Tom has 3 times as many as Mia, so 3 * 24 = 62. Let me check: 24 + 24 + 24 = 72. "
        "That doesn't match, it should be 62. Let me redo it: 3 * 24 = 72.\n\n"
        "Next, Ana has 15 fewer than Tom, so 72 - 15 = 57.\n\nSo the answer is 57."
    )
    assert "so 3 * 24 = 72." in text and "62" not in text
    assert Counter(e.action for e in script.edits)["merge"] == 1


def test_a_misreading_is_mended_in_place() -> None:
    text, _ = prune(
        "Okay, so I need to find how many shells Ana has.\n\nFirst, so 3 * 24 = 72.\n\n"
        "Next, Ana has 15 more than Tom, so 72 + 15 = 87. Wait, no, it says fewer, not more. So 72 - 15 = 57.\n\n"
        "So the answer is 57."
    )
    assert "Ana has 15 fewer than Tom, so 72 - 15 = 57." in text and "87" not in text


def test_a_branch_that_is_given_up_goes_whole_and_a_result_merely_unused_stays() -> None:
    """A number that no later line repeats may still be needed; only the trace's own word for it tells otherwise."""
    text, _ = prune(
        "Okay, so Tom has more.\n\nMaybe I can use fractions. Then Tom has 24 / (1/3). That seems too complicated.\n\n"
        "If I add them, 24 + 15 = 39.\n\nTom has 3 * 24 = 72 shells.\n\n"
        "Ana has 72 - 15 = 57 shells.\n\nSo the answer is 57."
    )
    assert "fractions" not in text and "complicated" not in text
    assert "24 + 15 = 39" in text and "72 - 15 = 57" in text and "3 * 24 = 72" in text


@pytest.mark.parametrize("keep_checks", [0, 1])
def test_short_checks_are_kept_as_told(keep_checks: int) -> None:
    text, _ = prune(
        "Okay, so I need to find it.\n\nTom has 3 * 24 = 72. Let me check: 72 / 3 = 24. Okay, that matches.\n\n"
        "Ana has 72 - 15 = 57. Let me check: 57 + 15 = 72. Good.\n\nSo the answer is 57.",
        keep_checks=keep_checks, reflection_share=0,
    )  # fmt: skip
    assert text.count("Let me check") == keep_checks


def test_an_intermediate_value_equal_to_the_answer_does_not_end_the_trace() -> None:
    question = "Mia has 50 cards. Tom has 7 more cards than Mia. Ana has 3 fewer cards than Tom. Then Ana finds 3 more cards. How many cards does Ana now have?"
    text, _ = prune(
        "Okay, let's see.\n\nFirst, Tom has 7 more than Mia, so 50 + 7 = 57. So Tom has 57 cards.\n\n"
        "Then, Ana has 3 fewer than Tom, so 57 - 3 = 54.\n\nThen, Ana finds 3 more, so 54 + 3 = 57.\n\n"
        "So Ana has 57 cards.\n\nSo the answer is 57.",
        question,
    )
    assert "54 + 3 = 57" in text


def test_a_trace_without_its_answer_is_left_nearly_alone_and_empty_ones_work() -> None:
    text, _ = prune("It is some prose about numbers. The triangle is isosceles.", answer="\\boxed{\\pi}")
    assert "isosceles" in text
    assert prune("")[1].units == 0


def test_the_same_trace_gives_the_same_script() -> None:
    thinking = "Hmm. Tom has 3 * 24 = 72. Wait, 72 - 15 = 57. So 57. Let me verify. 72 - 15 = 57."
    assert prune(thinking)[1] == prune(thinking)[1]


def test_only_what_is_made_worse_on_purpose_is_exempt_from_checks_of_soundness() -> None:
    """The checks refused the ablations' faults, so that an ablation trained on the traces it had not harmed."""
    sound = {"concluded", "supported", "no_slip_kept"}
    assert RulesTeacher().exempt == frozenset()
    assert RulesTeacher(RulesSettings(mistakes=0.1)).exempt == sound
    assert RulesTeacher(RulesSettings(style="foreign")).exempt == sound | {"own_share", "reflection"}
