"""Prunings of real traces with a planted fault, and sound ones: each plant takes a trace and returns one of either, or nothing.

A plant knows what it breaks from how it is made (the sentence that first names a number is deleted), not from the check.
"""

from plants import conclusions, slips, supports, writing
from plants.base import SOUND, Plant, Pruning, Source, whole
from plants.second import SECOND

__all__ = ["SETS", "Plant", "Pruning", "Source"]

FIRST: dict[str, tuple[Plant, ...]] = {
    "concluded": (
        conclusions.ends_early,
        conclusions.announces_only,
        conclusions.other_answer,
        conclusions.sign_lost,
        conclusions.conclusion_deleted,
        whole,
        *SOUND,
    ),
    "supported": (
        supports.value_lost,
        supports.name_lost,
        supports.reference_lost,
        supports.answer_to_question_lost,
        supports.object_of_doubt_lost,
        supports.doubt_left_open,
        supports.list_lost,
        supports.quotation_opened,
        *SOUND,
    ),
    "well_formed": (writing.formula_opened, *SOUND),
    "numbers_grounded": (writing.number_invented, writing.typeset),
    "equations": (writing.falsified, writing.true_again),
    "own_share": (writing.textbook, writing.answer_as_thinking, writing.tightened, *SOUND),
    "reflection": (writing.checks_deleted, writing.one_check_kept),
    "no_slip_kept": (
        slips.correction_deleted,
        slips.wrong_step_kept,
        slips.slip_and_correction_kept,
        slips.slip_deleted,
        slips.idle_doubt_deleted,
        *SOUND,
    ),
}
"""What is planted for each check, sound prunings too."""
SETS: dict[str, dict[str, tuple[Plant, ...]]] = {"first": FIRST, "second": SECOND}
"""Sets of plants by name."""
