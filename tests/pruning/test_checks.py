import pytest

from drp.pruning.apply import apply_script
from drp.pruning.checks import CHECK_MEANING, Candidate, CheckLimits, run_checks, states
from drp.pruning.form import torn
from drp.pruning.skills import SKILLS, classify, is_filler
from drp.records import Check, Edit, EditScript
from drp.text.thinking import Tags
from drp.text.units import split_units
from tests.pruning.scripts import pruned

ORIGINAL = (
    "Okay, so Tom has 3 times as many. Wait, 3 * 24 = 72. Hmm, let me check. 24 + 24 + 24 = 72. "
    "Then 72 - 15 = 57. So the answer is 57."
)


def grade(answer: str, gold: str) -> bool:
    return gold in answer


def checks_of(edits: list[Edit], thinking: str, answer: str = "57", **limits: float) -> dict[str, Check]:
    units = split_units(ORIGINAL)
    candidate = Candidate(
        question="Mia has 24 shells. Tom has 3 times as many. He gives away 15.",
        gold="57", units=units, original_answer="It is 57.",
        script=EditScript(units=len(units), edits=tuple(edits)), thinking=thinking, answer=answer,
    )  # fmt: skip
    return {c.name: c for c in run_checks(candidate, grade, CheckLimits(**limits))}


def rewrite(text: str) -> list[Edit]:
    last = len(split_units(ORIGINAL)) - 1
    return [Edit(first=0, last=last, action="rewrite", skills=("arithmetic",), text=text)]


def test_a_sound_rewrite_passes() -> None:
    text = "Wait, 3 * 24 = 72. Then 72 - 15 = 57."
    found = checks_of(rewrite(text), text, min_own_share=0)
    assert all(c.passed for c in found.values()), found
    assert found["equations"].figures["true_after"] == 2


def test_each_check_can_fail() -> None:
    lost = "Wait, 3 * 24 = 72."
    assert not checks_of(rewrite(lost), lost)["answer_kept"].passed
    assert not checks_of(rewrite("So 57."), "So 57.", answer="It is 58.")["answer_kept"].passed
    wrong = "Wait, 3 * 24 = 71, so 57."
    found = checks_of(rewrite(wrong), wrong)
    assert not found["equations"].passed and found["equations"].figures["falsified"] == 1
    assert not found["numbers_grounded"].passed and "71" in found["numbers_grounded"].detail
    invented = "Wait, there are 99 of them, 57."
    assert not checks_of(rewrite(invented), invented)["numbers_grounded"].passed
    assert not checks_of(rewrite("57"), "57 </think> 57")["well_formed"].passed
    assert not checks_of(rewrite("57"), "so \\[ 57")["well_formed"].passed
    assert not checks_of(rewrite("57"), " ", answer="57")["well_formed"].passed
    assert not checks_of(rewrite(ORIGINAL), ORIGINAL + ORIGINAL)["shorter"].passed
    assert not checks_of(rewrite("57"), "So 57.", min_length_ratio=0.5)["shorter"].passed
    foreign = "Hence, by direct computation, the remaining count equals 57."
    assert not checks_of(rewrite(foreign), foreign)["own_share"].passed
    assert not checks_of(rewrite("So 58."), "So 58.")["concluded"].passed


@pytest.mark.parametrize("tags", [Tags("<think>", "</think>"), Tags("[THINK]", "[/THINK]")])
def test_the_students_own_tags_have_no_place_in_its_thinking(tags: Tags) -> None:
    """A teacher that writes them would have the student close its thinking twice, whatever they are."""
    text = f"So 57. {tags.close} 57"
    edit = Edit(first=0, last=0, action="rewrite", skills=("arithmetic",), text=text)
    script = EditScript(units=1, edits=(edit,))
    candidate = Candidate("q", "57", ["So 57, that is 57."], "57", script, text, "57", tags)
    found = {c.name: c for c in run_checks(candidate, grade, CheckLimits())}["well_formed"]
    assert not found.passed and found.detail == f"tag {tags.close}"


def test_a_number_computed_in_the_rewrite_is_grounded() -> None:
    text = "Wait, 24 + 24 = 48. So 57."
    assert checks_of(rewrite(text), text)["numbers_grounded"].passed


def test_states_compares_values_and_spellings() -> None:
    assert states("it is 1,000 m", "1000")
    assert states("so x = \\dfrac{1}{4}", "\\frac{1}{4}")
    assert not states("it is 570", "57")
    assert states("so the probability is 2/9.", "\\dfrac{2}{9}")  # four real traces were refused for it
    assert not states("so 12/9, or 2/90", "\\dfrac{2}{9}")
    assert not states("nothing", "\\pi")


def test_skills() -> None:
    assert classify("Wait, let me double-check that.") == "verification"
    assert classify("So 3 * 24 = 72.") == "arithmetic"
    assert classify("Wait, no, it says fewer, not more.") == "backtracking"
    assert classify("Therefore, the answer is 4.") == "stating the answer"
    assert classify("Alternatively, I could add them.") == "alternative approach"
    assert {classify(t) for t in ("abc", "x = 2y", "There are 4 cats.")} <= set(SKILLS)
    assert is_filler("Hmm, okay. Let me think.")
    assert not is_filler("Hmm, that gives 5 boxes.")


@pytest.mark.parametrize(
    ("text", "defect"),
    [
        ("Wait, 3 * 24 = 72. <｜end▁of▁sentence｜> So 57.", "tag <｜end▁of▁sentence｜>"),
        ("Wait, 72. [/INST] So 57.", "tag [/INST]"),
        ("Wait, let $x be 57.\nSo it is 57.", "unbalanced $"),
        ("Wait, so \\frac{57}{1 is 57.", "unbalanced {"),
        ("Wait, } so 57.", "unbalanced {"),
        ("Wait, \\begin{align} 57.", "unbalanced \\begin{"),
    ],
)
def test_control_tags_and_broken_formulas_are_defects(text: str, defect: str) -> None:
    """R1's own stop token, a lone dollar and a lone brace would be taught as they stand."""
    found = checks_of(rewrite(text), text)["well_formed"]
    assert not found.passed and defect in found.detail


@pytest.mark.parametrize(
    "text",
    [
        "Wait, she pays $72 and then $15 less, so 57.",
        "Wait, she gives her daughter 200$ and her son 143$, so 57.",
        "Wait, $x = 57$, and \\{57\\} is the set, for \\$57.",
        "Wait, $$72 - 15 = 57$$ and \\[x = \\frac{57}{1}\\] hold; $f(x)$ costs $ 57 here.",
        "Wait, \\begin{aligned} x &= 57 \\\\[2pt] \\end{aligned}",
        'Wait, it says "less than 60", and the pipe is 5" wide, so 57.',  # a quotation may close behind a number
    ],
)
def test_money_and_whole_formulas_are_no_defects(text: str) -> None:
    assert checks_of(rewrite(text), text)["well_formed"].passed


def test_a_defect_of_the_original_is_tolerated_once_not_again() -> None:
    """A teacher may keep a half formula of the student's; it may not add another of the same kind."""
    units = ["So 200} to her. ", "And 57 to him."]

    def passed(thinking: str) -> bool:
        script = EditScript(
            units=2, edits=(Edit(first=0, last=1, action="rewrite", skills=("arithmetic",), text=thinking),)
        )
        candidate = Candidate("q", "57", units, "57", script, thinking, "57")
        return {c.name: c.passed for c in run_checks(candidate, grade, CheckLimits())}["well_formed"]

    assert passed("So 200}, 57.") and not passed("So 200}, 57}.")


def checks_on(text: str, *gone: int, gold: str = "57") -> dict[str, Check]:
    units = split_units(text)
    script = pruned(units, *gone)
    candidate = Candidate("Mia has 24. Tom has 3 times as many, less 15.", gold, units, f"It is {gold}.", script,
                          apply_script(units, script), f"It is {gold}.")  # fmt: skip
    return {c.name: c for c in run_checks(candidate, grade, CheckLimits())}


def test_every_check_says_what_it_asks_for() -> None:
    assert set(checks_on("So 57.")) | {"learnable", "seams", "student_answers"} == set(CHECK_MEANING)


def test_a_trace_that_never_concludes_says_so() -> None:
    """Where the original's own thinking lacks the answer, every pruning of it passed."""
    found = checks_on("Tom has 3 * 24 = 72. Okay. Finally, I'll subtract 15.", 1)["concluded"]
    assert not found.passed and "the original thinking never concludes" in found.detail
    other = checks_on("Tom has 3 * 24 = 72. Okay. So the answer is 58.", 1)["concluded"]
    assert not other.passed and "concludes otherwise than the answer part" in other.detail
    cut = checks_on("Tom has 3 * 24 = 72. So 72 - 15 = 57.", 1)["concluded"]
    assert not cut.passed and "original" not in cut.detail and cut.figures["original_concludes"]


def test_reflection_wants_a_step_that_checks_not_a_word() -> None:
    """An idle doubt counted as much as a whole verification, which without a word of the list counted nothing."""
    check = "Let me check: 57 + 15 = 72, and 72 is right. "
    text = (
        "Tom has 3 * 24 = 72. So 72 - 15 = 57. "
        + 3 * check
        + "Maybe I misinterpreted it. So the answer is 57."
    )
    assert not checks_on(text, 2, 3, 4)["reflection"].passed
    assert checks_on(text, 2, 3)["reflection"].passed


def test_names_and_figures_of_what_went_are_told() -> None:
    """A teacher that tries again needs the missing words, not a count of them."""
    found = checks_on("Tom has 3 * 24 = 72. So 72 - 15 = 57.", 0)["supported"]
    assert not found.passed and found.figures["number"] == 1 and "number 72" in found.detail
    slip = checks_on("So 24 * 3 = 62. Wait, no, 24 * 3 = 72. So 72 - 15 = 57.", 1)["no_slip_kept"]
    assert not slip.passed and "24*3=62" in slip.detail


TORN = "There is a tank of 5000 litres. 2000 litres are lost. The rest would be\n5000 - 2000 = 3000 litres. So, 3000 is left. That is it."


def _torn(*gone: int, texts: dict[int, str] | None = None) -> list[str]:
    units = split_units(TORN)
    return torn(units, pruned(units, *gone, texts=texts))


@pytest.mark.parametrize(
    ("gone", "texts", "said"),
    [
        ((3,), {}, "The rest would be ⟂ So, 3000"),
        ((), {2: "That leaves 5000 -"}, None),  # a formula may finish it
        ((3,), {2: " That leaves 5000 -"}, "5000 - ⟂ So"),
        ((4,), {3: "So,"}, "So, ⟂ That is it"),
        ((3, 4, 5), {}, "would be ⟂ "),
        ((), {3: "= 3000 litres."}, None),
        ((2,), {3: " which is 3000 litres."}, "are lost. ⟂ which is"),
        ((0, 1), {}, None),
        ((1, 5), {}, None),
    ],
)
def test_half_a_sentence_at_a_seam_is_a_defect_of_form(
    gone: tuple[int, ...], texts: dict[int, str], said: str | None
) -> None:
    """A teacher's rewrite left its sentence to the unit behind, "would be So, 5000 - 2000 = 3000", and every check passed it."""
    found = _torn(*gone, texts=texts)
    assert (said is None) == (not found) and (said or "") in " ".join(found), found


def test_a_students_own_half_sentences_are_its_style() -> None:
    """Only seams that an edit made are looked at: lists end in commas, and lines wait for a formula."""
    text = "So,\nTotal is\nLet me see. Then x =\n5. Done."
    units = split_units(text)
    assert torn(units, pruned(units)) == []
    assert torn(["a + b > c\n", "b + c > a\n", "So the least is 5."], pruned("abc", 0)) == []
