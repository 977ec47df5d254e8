"""What deletions cost in likelihood, on the embedded student's real weights."""

from typing import Any

import numpy as np
import pytest

from drp.engines.scoring import Scorer
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.student_scoring import open_student
from drp.pruning.apply import apply_script
from drp.recipe import PruneSettings
from drp.records import Edit, EditScript, Trace
from drp.stages.scoring import likelihood_checks
from drp.teachers.counting import counting
from drp.teachers.feedback import complaints
from drp.teachers.seams import Likelihoods, measure
from drp.text.units import split_units
from drp.training.examples import build_example
from drp.training.learnability import summed_nll
from tests.pruning.scripts import pruned
from tests.teachers.test_student import QUESTION, THINKING, asks

UNITS = split_units(THINKING)
TRACE = Trace(
    id="t", problem_id="p", question=QUESTION, gold="196", thinking=THINKING, answer=r"The answer is \boxed{196}.", closed=True
)  # fmt: skip


def unit(words: str) -> int:
    return next(i for i, text in enumerate(UNITS) if words in text)


@pytest.fixture(scope="module")
def opened() -> tuple[Scorer, Any]:
    return open_student(StudentSettings(device="cpu"), PromptSettings())


async def found(opened: tuple[Scorer, Any], script: EditScript, answer: str = TRACE.answer) -> Likelihoods:
    scorer, speller = opened
    return await measure(scorer, speller, counting("digits", speller), TRACE, UNITS, script, answer)


async def test_what_is_needed_is_missed_where_it_was_used(opened: tuple[Scorer, Any]) -> None:
    """Gia's tickets are computed, go, and the next line adds to them: it falls, and the seam before it is named."""
    gone = range(unit("2 * 11 = 22"), unit("So Gia has") + 1)
    needed = await found(opened, pruned(UNITS, *gone))
    (seam,) = needed.seams
    assert (seam.first, seam.last) == (gone[0], gone[-1])
    assert "22 + 55" in UNITS[seam.worst]
    talk = await found(opened, pruned(UNITS, unit("Let me think")))
    assert seam.worst_fall > 5 > talk.seams[0].worst_fall
    assert needed.rise > talk.rise
    settings = PruneSettings(learnability=True, max_seam_fall=5.0)
    learnable, seams = likelihood_checks(needed, UNITS, settings)
    assert learnable.passed and not seams.passed
    assert f"units {gone[0]}-{gone[-1]} went: “First, Gia" in seams.detail and "22 + 55" in seams.detail
    assert seams.figures[f"units {gone[0]}-{gone[-1]}"] == pytest.approx(seam.coherence, abs=0.01)
    assert all(check.passed for check in likelihood_checks(talk, UNITS, settings))
    (complaint,) = complaints(TRACE, UNITS, pruned(UNITS, *gone), [seams])
    assert complaint.at == seam.worst and "22 + 55" in complaint.text


async def test_the_limit_on_the_whole_names_the_seam_too(opened: tuple[Scorer, Any]) -> None:
    needed = await found(opened, pruned(UNITS, unit("2 * 11 = 22"), unit("So Gia has")))
    settings = PruneSettings(learnability=True, max_nll_rise=0.0)
    learnable, seams = likelihood_checks(needed, UNITS, settings)
    assert seams.passed and not learnable.passed
    assert "above the original" in learnable.detail and "went: “First, Gia" in learnable.detail


async def test_the_nll_is_that_of_training(opened: tuple[Scorer, Any]) -> None:
    """Read in pieces and from the original's memory, and still what training measures of both texts, rewrites included."""
    scorer, speller = opened
    first, last = unit("77 + 42"), unit("77 + 119")
    edits = [
        Edit(first=0, last=first - 1, action="keep", skills=("x",)),
        Edit(first=first, last=last, action="merge", skills=("x", "y"), text="So 77 + 42 = 119, and 77 + 119 = 196."),
        Edit(first=last + 1, last=len(UNITS) - 2, action="delete", skills=("x",), reason="test"),
        Edit(first=len(UNITS) - 1, last=len(UNITS) - 1, action="keep", skills=("x",)),
    ]  # fmt: skip
    script = EditScript(units=len(UNITS), edits=tuple(edits))
    measured = await found(opened, script)
    thinkings = [THINKING, apply_script(UNITS, script)]
    examples = [
        build_example(speller.tokenizer, "", asks(QUESTION), text, TRACE.answer) for text in thinkings
    ]
    nll = [total / tokens for total, tokens in summed_nll(scorer.core.model, examples)]  # type: ignore[attr-defined]
    np.testing.assert_allclose([measured.original, measured.pruned], nll, atol=2e-3)
    assert [(seam.first, seam.last) for seam in measured.seams] == [(first, len(UNITS) - 2)]


async def test_nothing_that_both_have_is_nothing_to_compare(opened: tuple[Scorer, Any]) -> None:
    """All written anew, the answer too; all deleted; nothing changed."""
    whole = Edit(first=0, last=len(UNITS) - 1, action="rewrite", skills=("x",), text="It is 196.")
    anew = await found(opened, EditScript(units=len(UNITS), edits=(whole,)), "196")
    assert anew.seams == () and anew.pruned > anew.original
    assert all(
        check.passed
        for check in likelihood_checks(anew, UNITS, PruneSettings(learnability=True, max_seam_fall=0.0))
    )
    empty = await found(opened, pruned(UNITS, *range(len(UNITS))))
    (seam,) = empty.seams
    assert (seam.first, seam.last, seam.worst) == (0, len(UNITS) - 1, len(UNITS))
    assert empty.pruned == pytest.approx(empty.answer_alone)
    same = await found(opened, pruned(UNITS))
    assert same.seams == () and same.rise == 0


async def test_each_text_is_read_once(opened: tuple[Scorer, Any]) -> None:
    """The original, what of the pruned text differs from it, and the answer alone: no more."""
    scorer, _ = opened
    before = scorer.scored
    await found(opened, pruned(UNITS, unit("double-check")))
    whole = len(opened[1].whole(QUESTION, THINKING, TRACE.answer))
    assert whole < scorer.scored - before < 1.5 * whole
