"""The student as its own teacher, on the embedded student's real weights."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from drp.engines.plain_scoring import PlainCore
from drp.engines.prefix_scoring import PrefixCore, core_for
from drp.engines.scoring import Bound, Scorer
from drp.engines.spelling import Speller
from drp.engines.transformers_engine import load_model, load_tokenizer, stop_ids
from drp.errors import TeacherError
from drp.pruning.apply import apply_script
from drp.records import Trace
from drp.teachers.counting import counting
from drp.teachers.spans import read_spans
from drp.teachers.student import StudentTeacher, StudentTeacherSettings
from drp.teachers.walk import Limits, Outcome, Text, Walk
from drp.text.units import split_units
from drp.training.examples import build_example
from drp.training.learnability import summed_nll

QUESTION = (
    "Paul has 11 tickets. Gia has 2 times as many tickets as Paul. Then Gia finds 55 more tickets. Jack has 42 tickets. "
    "Vera has as many tickets as Gia and Jack together. How many tickets do Gia and Vera have together?"
)
THINKING = (
    "Okay, so I need to find how many tickets Gia and Vera have together. Let me think.\n\n"
    "First, Gia has 2 times as many as Paul, so 2 * 11 = 22. So Gia has 22 tickets.\n\n"
    "Then, Gia finds 55 more, so 22 + 55 = 77.\n\nNow, Vera has as many as Gia and Jack together, so 77 + 42 = 119.\n\n"
    "So, Gia and Vera have to be added, so 77 + 119 = 196.\n\nSo together they have 196 tickets.\n\n"
    "Let me double-check everything. 2 * 11 = 22. 22 + 55 = 77. 77 + 42 = 119. 77 + 119 = 196. Yes, it all checks out.\n\n"
    "Therefore, the answer is 196."
)
PRUNED = (
    "Okay, so I need to find how many tickets Gia and Vera have together.\n\n"
    "First, Gia has 2 times as many as Paul, so 2 * 11 = 22.\n\n"
    "Then, Gia finds 55 more, so 22 + 55 = 77.\n\nNow, Vera has as many as Gia and Jack together, so 77 + 42 = 119.\n\n"
    "So, Gia and Vera have to be added, so 77 + 119 = 196."
)
SLIP = (
    "Okay, let's see. I need to find how many books Vera has.\n\nFirst, Olga has 11 more than Ella, so 141 + 11 = 152.\n\n"
    "Then, Vera has 6 times as many as Olga, so 6 * 152 = 902. Hmm, is that right? That doesn't match. "
    "Let me redo it: 6 * 152 = 912.\n\nSo the answer is 912."
)


def _trace(thinking: str = THINKING, answer: str = r"The answer is \boxed{196}.", gold: str = "196") -> Trace:
    return Trace(
        id="t",
        problem_id="p",
        question=QUESTION,
        gold=gold,
        thinking=thinking,
        answer=answer,
        closed=True,
        correct=True,
    )


def asks(question: str, task: str = "maths") -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def tokenizer(student_path: str) -> Any:
    return load_tokenizer(student_path)


@pytest.fixture(scope="module")
def model(student_path: str) -> Any:
    return load_model(student_path, "cpu", "float32")


@pytest.fixture(scope="module")
def speller(tokenizer: Any) -> Speller:
    return Speller(tokenizer, asks)


@pytest.fixture
def core(model: Any, tokenizer: Any) -> Any:
    return core_for(model, stop_ids(model, tokenizer))


def _teacher(core: Any, speller: Speller, **settings: Any) -> StudentTeacher:
    return StudentTeacher(StudentTeacherSettings(**settings), Scorer(core), speller)


async def _walk(
    core: Any, speller: Speller, thinking: str, limits: Limits, keep: list[bool] | None = None
) -> Outcome:
    units = split_units(thinking)
    text = Text(
        speller, units, speller.prompt(QUESTION), r"The answer is \boxed{196}.", keep or [True] * len(units)
    )
    scorer = Scorer(core)
    async with scorer.open(text.ids) as passage:
        return await Walk(text, passage, scorer, counting("digits", speller), limits, read_spans(units)).run()


async def test_what_nothing_rests_on_goes_and_what_is_used_stays(core: Any, speller: Speller) -> None:
    """Talk, statements of what was just computed and a whole verification go; the computation stays, in paragraphs."""
    units = split_units(THINKING)
    proposal = await _teacher(core, speller).prune(_trace(), units)
    pruned = apply_script(units, proposal.script)
    assert pruned.startswith(PRUNED)
    assert pruned.endswith("Therefore, the answer is 196.")
    assert "double-check" not in pruned
    assert proposal.figures["student_answers"] == 1
    assert proposal.figures["spelled_as_trained"] == 1
    check = next(e for e in proposal.script.edits if "double-check" in units[e.first])
    assert check.action == "delete"
    assert check.skills == ("verification",)
    assert (check.reason or "").startswith("support 0.0")


@pytest.mark.parametrize("slack", [0.0, 1000.0])
@pytest.mark.parametrize("plain", [True, False])
async def test_the_walk_ends_with_the_likelihood_of_the_text_that_is_trained_on(
    model: Any, tokenizer: Any, speller: Speller, slack: float, plain: bool
) -> None:
    """Every number of the walk is relative to texts scored before, in pieces; at its end they add up to the NLL that
    training measures of the pruned text, tokenised whole, whatever was scored early or not at all."""
    core = (PlainCore if plain else PrefixCore)(model, [2])
    units = split_units(THINKING)
    outcome = await _walk(core, speller, THINKING, Limits(0.5, 8.0, slack))
    kept = "".join(u for u, k in zip(units, outcome.keep, strict=True) if k)
    assert len(kept) < 0.7 * len(THINKING)
    proposal = await _teacher(core, speller, slack=slack).prune(_trace(), units)
    example = build_example(
        tokenizer, "", asks(QUESTION), apply_script(units, proposal.script), _trace().answer
    )
    ((total, tokens),) = summed_nll(model, [example])
    assert len(outcome.logprobs) == tokens
    assert outcome.ids == example.input_ids[example.prompt_length :]
    assert -float(outcome.logprobs.sum()) == pytest.approx(total, abs=0.01)
    assert proposal.figures["nll_after"] == pytest.approx(total / tokens, abs=2e-4)


async def test_traces_scored_together_get_what_each_gets_alone(core: Any, speller: Speller) -> None:
    """Batches and padding decide nothing."""
    thinkings = [
        THINKING,
        PRUNED + "\n\nTherefore, the answer is 196.",
        SLIP,
        THINKING.replace("Let me think.", "Hmm."),
    ]
    teacher = _teacher(core, speller, answer_tokens=0)
    jobs = [(_trace(thinking), split_units(thinking)) for thinking in thinkings]
    together = await asyncio.gather(*(teacher.prune(trace, units) for trace, units in jobs))
    alone = [await teacher.prune(trace, units) for trace, units in jobs]
    for a, b in zip(together, alone, strict=True):
        assert [(e.first, e.last, e.action) for e in a.script.edits] == [
            (e.first, e.last, e.action) for e in b.script.edits
        ]


async def test_a_corrected_slip_is_mended_where_the_student_finds_that_likely(
    core: Any, speller: Speller
) -> None:
    """No false equation stays, the new text is a rewrite, and the result is spelled as it is trained on."""
    question = "Ella has 141 books. Olga has 11 more books than Ella. Vera has 6 times as many books as Olga. How many books does Vera have?"
    trace = _trace(SLIP, r"The answer is \boxed{912}.", "912").model_copy(update={"question": question})
    units = split_units(SLIP)
    proposal = await _teacher(core, speller).prune(trace, units)
    pruned = apply_script(units, proposal.script)
    assert "6 * 152 = 912.\n\n" in pruned
    assert "902" not in pruned
    assert "redo" not in pruned
    assert [e.action for e in proposal.script.edits if e.text] == ["rewrite"]
    assert (proposal.figures["mended_units"], proposal.figures["spelled_as_trained"]) == (1, 1)
    as_it_is = await _teacher(core, speller, mend=False).prune(trace, units)
    assert "902" in apply_script(units, as_it_is.script)


async def test_a_repair_brings_one_check_back(core: Any, speller: Speller) -> None:
    """Each check is worth nothing to the student, so all go; the habit of checking is kept when that is found fault with."""
    units, teacher = split_units(THINKING), _teacher(core, speller)
    proposal = await teacher.prune(_trace(), units)
    repaired = await teacher.repair(_trace(), units, proposal, ["some of the student's doubt must stay"])
    assert repaired is not None
    assert "Let me double-check everything. 2 * 11 = 22." in apply_script(units, repaired.script)
    assert repaired.figures["student_answers"] == 1


async def test_coherence_is_a_dial_and_a_repair_is_gentler(core: Any, speller: Speller) -> None:
    """No nats, nothing goes that the student would miss; many, and only what the answer rests on stays."""
    units = split_units(THINKING)
    lengths: list[int] = []
    for coherence in (0.0, 4.0, 20.0, 200.0):
        teacher = _teacher(core, speller, coherence=coherence, answer_tokens=0)
        proposal = await teacher.prune(_trace(), units)
        lengths.append(len(apply_script(units, proposal.script)))
        assert "77 + 119 = 196" in apply_script(units, proposal.script)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < lengths[0]
    teacher = _teacher(core, speller, coherence=200.0, answer_tokens=0)
    strict = await teacher.prune(_trace(), units)
    gentler = await teacher.repair(_trace(), units, strict, ["too short"])
    assert gentler is None or len(apply_script(units, gentler.script)) > lengths[-1]


async def test_a_slip_does_not_stay_without_what_corrects_it(core: Any, speller: Speller) -> None:
    """With limits that let everything go, the correction alone may still not: "6 * 152 = 902" would stand as true."""
    units = split_units(SLIP)
    spans = read_spans(units)
    wrong = next(i for i, unit in enumerate(units) if "902" in unit)
    right = next(i for i, unit in enumerate(units) if "= 912" in unit)
    nothing_gone = [False] * len(units)
    assert spans.orphans(right, right, nothing_gone)
    assert not spans.orphans(wrong, right, nothing_gone)
    assert not spans.orphans(right, right, [i == wrong for i in range(len(units))])
    assert wrong in spans.ending(right, right + 1)
    for limits in (Limits(0.5, 30.0, 2.0), Limits(50.0, 60.0, 2.0), Limits(1e6, 1e6, 0.0)):
        outcome = await _walk(core, speller, SLIP, limits)
        assert not outcome.keep[wrong] or outcome.keep[right]
        assert any(outcome.keep)


async def test_a_result_that_equals_an_earlier_one_by_chance_is_not_the_answer_yet(
    core: Any, speller: Speller
) -> None:
    """Likelihood alone takes 61, which Cleo has, for what Tara has, and lets the two steps between go."""
    thinking = (
        "Okay, let's see. I need to find how many shells Tara has.\n\nFirst, Cleo gives away 5, so 66 - 5 = 61.\n\n"
        "Next, Paul has 3 times as many as Cleo, so 3 * 61 = 183.\n\nSo, Tara has a third as many as Paul, so 183 / 3 = 61.\n\n"
        "Let me double-check everything. 66 - 5 = 61. 3 * 61 = 183. 183 / 3 = 61. Yes, it all checks out.\n\nI'm confident the answer is 61."
    )
    units = split_units(thinking)
    spans, nothing = read_spans(units), [False] * len(units)
    tara = next(i for i, unit in enumerate(units) if "Tara has a third" in unit)
    check = next(i for i, unit in enumerate(units) if "double-check" in unit)
    assert spans.by_chance(tara - 1, tara, nothing)
    assert not spans.by_chance(check, len(units) - 2, nothing)
    outcome = await _walk(core, speller, thinking, Limits(100.0, 200.0, 0.0))
    assert outcome.keep[tara] or not outcome.keep[tara - 2]


async def test_another_pass_starts_from_what_is_left(core: Any, speller: Speller) -> None:
    """Seams of the first pass are spelled as they will be trained on, and what is gone stays gone."""
    units = split_units(THINKING)
    once = await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0))
    again = await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0), once.keep)
    assert all(before or not after for before, after in zip(once.keep, again.keep, strict=True))
    if again.keep == once.keep:
        assert again.ids == once.ids
        np.testing.assert_allclose(again.logprobs, once.logprobs, atol=1e-3)
    twice = await _teacher(core, speller, passes=2).prune(_trace(), units)
    assert twice.figures["spelled_as_trained"] == 1


async def test_a_student_that_loses_the_answer_is_found_out(core: Any, speller: Speller) -> None:
    """The guard compares what the student writes with the gold answer, not with the answer part on file."""
    units = split_units(THINKING)
    right = await _teacher(core, speller).prune(_trace(), units)
    wrong = await _teacher(core, speller).prune(_trace(gold="197"), units)
    assert (right.figures["student_answers"], wrong.figures["student_answers"]) == (1, 0)


async def test_a_trace_beyond_the_context_says_so(core: Any, speller: Speller) -> None:
    """The student cannot read it, so nothing can be said about its steps."""
    thinking = THINKING + "\n\n" + "Hmm, let me see. " * 800
    with pytest.raises(TeacherError, match="reads at most 2048") as raised:
        await _teacher(core, speller).prune(_trace(thinking), split_units(thinking))
    assert raised.value.kind == "too_long"


def test_units_are_spelled_apart_as_they_are_together(speller: Speller) -> None:
    """Cut behind line breaks and before spaces, pieces have the tokens that the whole text has, the tags included."""
    for thinking in (
        THINKING,
        SLIP,
        "One line",
        "a\n\n\nb  c. D\n- e.\n\n\\[ x = 5 \\]\n\nSo $x$ is 5. Yes.",
    ):
        units = split_units(thinking)
        text = Text(speller, units, speller.prompt(QUESTION), "5", [True] * len(units))
        assert text.ids == speller.whole(QUESTION, thinking, "5")


def test_real_traces_are_spelled_apart_as_they_are_together(speller: Speller, real_data: Any) -> None:
    """LaTeX, lists, tables and code: nowhere does a cut change what the student is trained on."""
    off = total = 0
    for name in ("r1_qwen_1.5b.math_train", "r1.gsm8k_test"):
        for line in (real_data / "traces" / f"{name}.jsonl").read_text().splitlines()[:60]:
            thinking = json.loads(line)["thinking"].strip()
            units = split_units(thinking)
            text = Text(speller, units, [1], "5", [True] * len(units))
            whole = speller.whole(QUESTION, thinking, "5")
            total += 1
            off += text.ids[1:] != whole[len(speller.prompt(QUESTION)) :]
    assert off <= 0.02 * total


@pytest.mark.parametrize(("kind", "counted"), [("digits", "12"), ("formulas", "12=x+"), ("all", "12=x+ so")])
def test_which_tokens_count(speller: Speller, kind: Any, counted: str) -> None:
    """Digits alone; with signs and variables; or every token."""
    counts = counting(kind, speller)
    for word in (*"12=x+", " so"):
        assert counts(speller.piece(word)).all() == (word in counted), word


def test_a_bound_is_broken_where_the_sum_first_falls_below_its_floor() -> None:
    """Weights of 0 do not count, and tokens not known yet break nothing."""
    bound = Bound(np.array([1.0, 0.0, 1.0]), np.array([-1.0, -1.0, -2.0]))
    assert not bound.broken(np.array([-0.9, -50.0]))
    assert bound.broken(np.array([-1.1]))
    assert bound.broken(np.array([-0.9, -50.0, -1.2]))


async def test_a_window_bounds_what_is_scored_and_leaves_the_rest_as_it_was(
    core: Any, speller: Speller
) -> None:
    """A trace of 12,000 tokens would otherwise be scored to its end for every stretch that goes."""
    whole = await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0))
    wide = await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0, window=10_000))
    assert wide.keep == whole.keep
    np.testing.assert_allclose(wide.logprobs, whole.logprobs)
    before = core.computed
    await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0))
    all_of_it = core.computed - before
    near = await _walk(core, speller, THINKING, Limits(0.5, 8.0, 2.0, window=20))
    assert core.computed - before - all_of_it < 0.8 * all_of_it
    assert len(near.logprobs) == len(near.ids)
    assert 0 < sum(near.keep) < len(near.keep)
