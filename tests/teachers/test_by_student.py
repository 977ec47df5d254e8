"""One suite over every teacher that asks the student, on the embedded student's real weights."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from drp.engines.scoring import Scorer
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.student_scoring import open_student
from drp.errors import TeacherError
from drp.pruning.apply import apply_script
from drp.recipe import PruneSettings
from drp.recipe.settings import defining_pruning
from drp.records import Edit, EditScript
from drp.runs.manifest import fingerprint_of
from drp.teachers.by_student import ANSWERS, ByStudent, ByStudentSettings, with_a_check
from drp.teachers.steps import read_steps
from drp.teachers.student import StudentTeacherSettings
from drp.text.units import split_units
from drp.training.examples import build_example
from drp.training.learnability import summed_nll
from tests.teachers.test_student import QUESTION, THINKING, _trace, asks

KINDS: dict[str, dict[str, Any]] = {
    "student": {"coherence": 8.0},
    "answer_likelihood": {"answer": 0.5, "following": 2.0},
    "answer_perplexity": {"share": 1.0},
    "attention_saliency": {"share": 0.5},
}
GENTLE = {"student": {"coherence": 0.0}, "answer_likelihood": {"answer": 0.0, "following": 0.0}, "answer_perplexity": {"share": 0.1},
          "attention_saliency": {"share": 0.05}}  # fmt: skip
UNITS = split_units(THINKING)


@pytest.fixture(scope="module")
def opened() -> tuple[Scorer, Any]:
    return open_student(StudentSettings(device="cpu"), PromptSettings())


def teacher_of(opened: tuple[Scorer, Any], kind: str, **settings: Any) -> ByStudent:
    chosen = TypeAdapter(PruneSettings).validate_python({"teacher": {"kind": kind} | settings}).teacher
    assert isinstance(chosen, ByStudentSettings) and chosen.loads_student
    return chosen.teacher(*opened, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_step_has_its_figures_and_the_student_still_answers(
    opened: tuple[Scorer, Any], kind: str
) -> None:
    """A shorter text, a reason with a figure for whatever went, the NLL that training measures, and the guard."""
    scorer, speller = opened
    trace = _trace()
    teacher = teacher_of(opened, kind, **KINDS[kind])
    proposal = await teacher.prune(trace, UNITS)
    thinking = apply_script(UNITS, proposal.script)
    assert teacher.name == kind
    assert 0 < len(thinking) < 0.9 * len(THINKING)
    gone = [edit for edit in proposal.script.edits if edit.action == "delete"]
    assert gone and all(any(c.isdigit() for c in edit.reason or "") for edit in gone)
    (check,) = proposal.checks
    assert (check.name, proposal.figures[ANSWERS]) == (ANSWERS, float(check.passed))
    examples = [
        build_example(speller.tokenizer, "", asks(QUESTION), text, trace.answer)
        for text in (THINKING, thinking)
    ]
    nll = [total / tokens for total, tokens in summed_nll(scorer.core.model, examples)]  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        [proposal.figures["nll_before"], proposal.figures["nll_after"]], nll, atol=2e-3
    )
    assert proposal.figures["spelled_as_trained"] == 1
    assert await teacher.prune(trace, UNITS) == proposal


@pytest.mark.parametrize("kind", KINDS)
async def test_settings_are_a_dial(opened: tuple[Scorer, Any], kind: str) -> None:
    lengths = [
        len(apply_script(UNITS, (await teacher_of(opened, kind, answer_tokens=0, **settings).prune(_trace(), UNITS)).script))
        for settings in (GENTLE[kind], KINDS[kind])
    ]  # fmt: skip
    assert lengths[0] > lengths[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_sentence_stays_and_nothing_is_an_error(opened: tuple[Scorer, Any], kind: str) -> None:
    """Whatever the limits, not all of a trace goes."""
    extreme = {"student": {"coherence": 1e6, "support": 1e6}, "answer_likelihood": {"answer": 1e6, "following": 1e6},
               "answer_perplexity": {"share": 1.0}, "attention_saliency": {"share": 0.99}}[kind]  # fmt: skip
    teacher = teacher_of(opened, kind, answer_tokens=0, **extreme)
    for thinking in ("Wait, is 77 + 119 = 196?", THINKING):
        units = split_units(thinking)
        proposal = await teacher.prune(_trace(thinking), units)
        assert apply_script(units, proposal.script).strip()
    with pytest.raises(TeacherError, match="no units"):
        await teacher.prune(_trace(""), [])


async def test_progressive_steps_are_never_deleted(opened: tuple[Scorer, Any]) -> None:
    """With a share of 1 all that looks back goes, and nothing else."""
    proposal = await teacher_of(opened, "answer_perplexity", share=1.0).prune(_trace(), UNITS)
    kept = apply_script(UNITS, proposal.script)
    assert kept == THINKING[: THINKING.index("Let me double-check")] + "Therefore, the answer is 196."


async def test_a_trace_too_long_to_show_attention_is_left_out_with_the_way_out(
    opened: tuple[Scorer, Any],
) -> None:
    with pytest.raises(TeacherError, match=r"longest=100: raise it .* or use teacher student") as raised:
        await teacher_of(opened, "attention_saliency", longest=100).prune(_trace(), UNITS)
    assert raised.value.kind == "too_long"


async def test_attention_is_a_share_and_leaves_the_model_as_it_was(opened: tuple[Scorer, Any]) -> None:
    """What one token pays to those before it and to itself sums to one; scoring afterwards gives the same figures."""
    scorer, speller = opened
    ids = speller.whole(QUESTION, THINKING, "196")
    async with scorer.open(ids) as passage:
        before = passage.logprobs
    paid = await scorer.attention(ids, slice(100, 101))
    assert len(paid) == len(ids)
    assert paid[:101].sum() == pytest.approx(1, abs=1e-3) and not paid[101:].any()
    async with scorer.open(ids) as passage:
        np.testing.assert_array_equal(passage.logprobs, before)


def test_steps_are_a_partition_and_know_what_looks_back() -> None:
    steps = read_steps(UNITS)
    assert steps[0].first == 0 and steps[-1].last == len(UNITS) - 1
    assert all(a.last + 1 == b.first for a, b in pairwise(steps))
    back = ["".join(UNITS[step.span]) for step in steps if step.functional]
    assert [text[:19] for text in back] == ["Let me double-check"]
    doubt = split_units(
        "So 5 + 7 = 13. Hmm, is that right? 5 + 7 = 12.\n\nAlternatively, 12 is 2 * 6.\n\nSo it is 12."
    )
    assert [("".join(doubt[step.span])[:5], step.functional) for step in read_steps(doubt)] == [
        ("So 5 ", False), (" Hmm,", True), ("Alter", True), ("So it", False)
    ]  # fmt: skip


def test_earlier_runs_keep_the_fingerprint_of_the_student_teacher() -> None:
    """Fields in another order would make another fingerprint, and a whole stage would be pruned again."""
    order = ["kind", "coherence", "support", "tokens", "passes", "slack", "window", "mend", "answer_tokens"]
    assert list(StudentTeacherSettings.model_fields) == order
    assert (
        fingerprint_of(defining_pruning(PruneSettings(teacher=StudentTeacherSettings(coherence=8))))
        == "fp-7169b86304a3b083"
    )


def test_of_checks_that_went_as_one_stretch_one_comes_back() -> None:
    """Both came back: traces that check twice were kept nearly whole, or, where both are called another way, refused."""
    question = "Quinn has 4 times as many as Gia, who has 22, and 51 more. How many?"
    checks = (
        "Let me go through it again. 4 * 22 = 88. 88 + 51 = 139. So it is still 139.\n\n",
        "Alternatively, let me do it once more from the start. 4 * 22 = 88. 88 + 51 = 139. So it is still 139.\n\n",
    )
    units = split_units("So 4 * 22 = 88. Then 88 + 51 = 139.\n\n" + "".join(checks) + "So the answer is 139.")
    last = len(units) - 1
    script = EditScript(
        units=len(units),
        edits=(
            Edit(first=0, last=1, action="keep", skills=("arithmetic",)),
            Edit(first=2, last=last - 1, action="delete", skills=("other",), reason="support 0.00"),
            Edit(first=last, last=last, action="keep", skills=("conclusion",)),
        ),
    )
    again = with_a_check(question, units, script)
    assert again is not None
    assert apply_script(units, again) == "".join([*units[:2], checks[0], units[last]])
    assert [edit.action for edit in again.edits] == ["keep", "keep", "delete", "keep"]
    assert with_a_check(question, units, again) is None, "one is kept already"
