"""What a language-model teacher is asked beyond the first whole trace: parts, what is still open, what was wrong."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drp.engines.base import Request
from drp.errors import TeacherError
from drp.grading.grader import Grader
from drp.pruning.apply import apply_script
from drp.pruning.checks import CheckLimits
from drp.recipe import PruneSettings
from drp.records import Completion, Edit, EditScript, Failure, PrunedTrace, Trace
from drp.stages.checking import Checker, check_script
from drp.stages.prune import prune_trace
from drp.teachers.base import Complaint
from drp.teachers.feedback import complaints
from drp.teachers.labels import relabelled
from drp.teachers.line_protocol import parse_reply
from drp.teachers.parts import spans
from drp.teachers.replies import StoredReply
from drp.text.units import split_units
from tests.acting import act
from tests.teachers.test_protocols import PROTOCOLS, PRUNED, THINKING, TRACE, UNITS, teacher_of, with_settings

LONG = TRACE.model_copy(update={"thinking": "\n\n".join([THINKING] * 6)})
LONG_UNITS = split_units(LONG.thinking)
Reply = Callable[[dict[str, Any], str], str | Completion]


class Store:
    """Answers by acting, after ``change`` has had its say, and keeps what it was asked."""

    def __init__(self, change: Reply = lambda body, reply: reply) -> None:
        self.change, self.bodies = change, list[dict[str, Any]]()

    async def ask(self, request: Request) -> StoredReply:
        body = {"messages": [m.model_dump() for m in request.messages], "seed": request.seed}
        self.bodies.append(body)
        said = self.change(body, act(body))
        whole = said if isinstance(said, Completion) else saying(said)
        return StoredReply(id=str(len(self.bodies)), completion=whole)

    def asked(self) -> list[str]:
        """The last turn of every request."""
        return [body["messages"][-1]["content"] for body in self.bodies]


def saying(text: str, *, cut: bool = False) -> Completion:
    return Completion(thinking="", answer=text, closed=True, finish_reason="length" if cut else "stop")


def settings_of(name: str, **fields: object) -> PruneSettings:
    return PruneSettings.model_validate(with_settings(PROTOCOLS[name], **fields))


async def outcome_of(name: str, store: Store, trace: Trace = TRACE) -> PrunedTrace | Failure:
    settings = settings_of(name)
    with Grader() as grader:
        checker = Checker(settings, grader, lambda text: len(text.split()))
        return await prune_trace(trace, teacher_of(settings, store), checker)


@given(
    st.lists(
        st.sampled_from(["Short.", " A longer sentence, of some length.", "End.\n\n", "Line.\n"]), max_size=60
    ),
    st.integers(2, 12),
    st.integers(20, 200),
)
def test_parts_partition_the_units_within_their_limits(units: list[str], most: int, most_chars: int) -> None:
    found = spans(units, most, most_chars)
    assert [i for a, b in found for i in range(a, b + 1)] == list(range(len(units)))
    for a, b in found:
        assert b - a < most and (a == b or sum(map(len, units[a : b + 1])) <= most_chars)


def test_parts_are_even_and_end_with_paragraphs() -> None:
    """170 units were cut into 160 and 10, in the middle of a paragraph: the last request saw a conclusion and nothing else."""
    units = [f"Sentence {i}.{chr(10) * 2 * (i % 4 == 3)}" for i in range(170)]
    (first, second) = spans(units, 160, 10**6)
    assert abs(first[1] - 84) <= 2 and units[first[1]].endswith("\n\n") and second == (first[1] + 1, 169)


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if n != "direct"])
async def test_only_the_last_part_is_asked_to_conclude(name: str) -> None:
    """Every part of a long trace was told to end on the final answer, and none that the trace goes on behind it."""
    store = Store()
    teacher = teacher_of(settings_of(name, window_units=8), store)
    proposal = await teacher.prune(LONG, LONG_UNITS)
    assert apply_script(LONG_UNITS, proposal.script).split() == " ".join([PRUNED] * 6).split()
    edits = [text for text in store.asked() if "Divide this" not in text]
    assert len(edits) >= 3
    for text in edits[:-1]:
        assert "goes on behind it" in text and "must end on the final answer" not in text
        assert text.count("<what_follows>\n") == 1  # a few units of what follows
    assert "must end on the final answer" in edits[-1] and "<what_follows>\n" not in edits[-1]


@pytest.mark.parametrize("name", ["edit_script", "two_stage", "none"])
async def test_a_repair_asks_only_about_the_part_at_fault(name: str) -> None:
    """All parts were paid for again, and each was told that the final answer must be stated."""
    store = Store()
    teacher = teacher_of(settings_of(name, window_units=8), store)
    proposal = await teacher.prune(LONG, LONG_UNITS)
    before = len(store.bodies)
    wrong = Complaint(text="the final answer must still be stated", at=len(LONG_UNITS) - 1)
    repaired = await teacher.repair(LONG, LONG_UNITS, proposal, [wrong])
    assert repaired and repaired.script == proposal.script
    assert len(store.bodies) - before == (2 if name == "two_stage" else 1)
    assert "must still be stated" in store.asked()[-1]


async def test_a_continuation_shows_what_is_open_and_how_the_rest_reads() -> None:
    """One missing unit sent the whole window again, and nothing said how the units around it had been edited."""

    def forgets(body: dict[str, Any], reply: str) -> str:
        lines = reply.splitlines()
        return "\n".join([lines[0], "2 R arithmetic:", *lines[2:]]) if len(lines) > 1 else reply

    store = Store(forgets)
    proposal = await teacher_of(settings_of("edit_script"), store).prune(TRACE, UNITS)
    assert apply_script(UNITS, proposal.script) == PRUNED
    first, second = store.asked()
    shown = second.partition("<trace>\n")[2].partition("\n</trace>")[0]
    assert shown == f"2| {UNITS[1].strip()} ¶"
    assert "Okay, let me see. [unit 2 to be edited]\n\nSo the answer is 72.\n</so_far>" in second
    assert "rewrite without text" in second and "<so_far>" not in first


@pytest.mark.parametrize("name", ["none", "two_stage", "direct"])
async def test_a_text_that_was_cut_off_goes_on(name: str) -> None:
    """It was paid for once more from its beginning, with more room, and cut again where the model allows no more."""
    seen: list[str] = []

    def cutting(body: dict[str, Any], reply: str) -> str | Completion:
        if seen or body["messages"][0]["content"].startswith("You divide"):
            return reply
        seen.append(reply)
        return saying(reply[: 2 * len(reply) // 3], cut=True)

    store = Store(cutting)
    proposal = await teacher_of(settings_of(name), store).prune(TRACE, UNITS)
    whole = await teacher_of(settings_of(name), Store()).prune(TRACE, UNITS)
    assert apply_script(UNITS, proposal.script) == apply_script(UNITS, whole.script)
    turns = store.bodies[-1]["messages"]
    assert turns[-2]["role"] == "assistant" and seen[0].startswith(turns[-2]["content"])


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_a_trace_that_the_teacher_calls_unusable_is_left_out_with_its_reason(name: str) -> None:
    """There was no way to say so: the reply was "not an edit line", asked for three times, and recorded as invalid."""
    said = (
        json.dumps({"unusable": "it guesses", "edits": [], "answer": None})
        if "json" in name
        else "UNUSABLE: it guesses"
    )
    store = Store(lambda body, reply: said)
    outcome = await outcome_of(name, store)
    assert isinstance(outcome, Failure) and outcome.kind == "unusable" and not outcome.retry
    assert outcome.message.endswith("it guesses") and len(store.bodies) == 1


async def test_a_repair_may_find_a_trace_unusable() -> None:
    """The verdict was dropped, and the trace stood as refused by a check."""

    def gives_up(body: dict[str, Any], reply: str) -> str:
        return "UNUSABLE it never adds" if len(body["messages"]) > 2 else "1-5 D\n6 R other: So it is."

    outcome = await outcome_of("edit_script", Store(gives_up))
    assert isinstance(outcome, Failure) and (outcome.kind, outcome.message[-12:]) == (
        "unusable",
        "it never adds"[-12:],
    )


def test_skills_are_optional_where_text_goes_and_of_the_list_elsewhere() -> None:
    """A fifth of a reply named skills of what was deleted, and any word passed for a skill."""
    units = ["Let me verify that.", " 3 * 24 = 72.", " So 72.", " Fine."]
    parsed = parse_reply("1 D\n2 K Arithmetics\n3 K counting sheep\n4 D", 0, 3)
    edits, strange = relabelled(parsed.edits, units, ("arithmetic", "verification", "reflection", "other"))
    assert not parsed.missing and parsed.edits[0].reason == "by the teacher"
    assert [edit.skills[0] for edit in edits] == ["verification", "arithmetic", "other", "reflection"]
    assert strange == 0.25
    assert relabelled(parsed.edits[2:3], units, None)[0][0].skills == ("counting sheep",)


def _script(*edits: tuple[str, int, int, str | None]) -> EditScript:
    made = [
        Edit(
            first=a,
            last=b,
            action=action,
            skills=("other",),
            text=text,
            reason="x" if action == "delete" else None,
        )  # type: ignore[arg-type]
        for action, a, b, text in edits
    ]
    return EditScript(units=made[-1].last + 1, edits=tuple(made))


CHECKED = split_units(
    "Ana buys 3 boxes of 14 eggs. That is 3 * 14 = 42 eggs. She breaks 6 * 2 = 12 of them. So 42 - 12 = 30 are left.\n\n"
    "Let me check: 30 + 12 = 42. Yes, that's right.\n\nLet me verify it again: 42 - 30 = 12. Yes.\n\n"
    "Let me double-check: 12 + 30 = 42. Correct.\n\nSo the answer is 30."
)
EGGS = Trace(
    id="e", problem_id="p", question="Ana buys 3 boxes of 14 eggs and breaks 6 pairs. How many are left?", gold="30",
    thinking="".join(CHECKED), answer="\\boxed{30}", closed=True,
)  # fmt: skip
SCRIPTS: dict[str, tuple[EditScript, Sequence[str], int | None]] = {
    "concluded": (_script(("keep", 0, 1, None), ("delete", 2, len(CHECKED) - 1, None)), ["So the answer is 30."], len(CHECKED) - 1),
    "supported": (
        _script(("keep", 0, 1, None), ("delete", 2, 2, None), ("rewrite", 3, 3, "So I take 12 from 42."), ("delete", 4, 9, None), ("keep", 10, len(CHECKED) - 1, None)),
        ["12", "She breaks 6 * 2 = 12"], 3,
    ),
    "reflection": (_script(("keep", 0, 3, None), ("delete", 4, len(CHECKED) - 2, None), ("keep", len(CHECKED) - 1, len(CHECKED) - 1, None)), ["0 of 3", "Let me check: 30 + 12 = 42."], 6),
    "own_share": (
        _script(("rewrite", 0, len(CHECKED) - 1, "Multiplying the number of cartons by their contents yields 3 * 14 = 42; subtracting breakage leaves 42 - 12 = 30.")),
        ["Multiplying the number of cartons", "who wrote “Ana buys"], 0,
    ),
    "shorter": (_script(("keep", 0, len(CHECKED) - 1, None)), ["characters, thinking and answer together"], None),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_feedback_names_what_failed(name: str) -> None:
    """The teacher heard "more must be its own words (share_of_pruned 0.1)", and had to guess which."""
    script, words, at = SCRIPTS[name]
    with Grader() as grader:
        found = check_script(EGGS, CHECKED, script, EGGS.answer, CheckLimits(), grader, len)
    (failed,) = [check for check in found.checks if check.name == name]
    assert not failed.passed, failed
    told = complaints(EGGS, CHECKED, script, [failed])
    assert all(word in " ".join(c.text for c in told) for word in words), told
    assert told[0].at == at


def test_estimates_are_near_what_strong_models_wrote() -> None:
    """The estimate for `direct` was three times what was used; every protocol is held against replies on record."""
    from drp.stages.estimate import estimate
    from drp.teachers.load import CHARS_PER_TOKEN, Lengths

    figures = json.loads(Path("results/protocols/used.json").read_text())
    lengths = [Lengths(**row) for row in figures["lengths"]]
    for used in figures["used"]:
        answer = "short" if used["teacher"]["kind"] == "direct" else "keep"
        settings = PruneSettings.model_validate({"teacher": used["teacher"], "answer": answer})
        expected = estimate(settings, lengths)
        assert expected
        for tokens, characters in (
            (expected.usage.prompt_tokens, used["characters_in"]),
            (expected.usage.completion_tokens, used["characters_out"]),
        ):
            assert 1 / 1.5 < tokens * CHARS_PER_TOKEN / characters < 1.5, used


def test_a_teacher_is_named_with_its_protocol() -> None:
    """`drp estimate` had no --teacher, and a format or no division could only be asked for by its fields."""
    from drp.errors import RecipeError
    from drp.recipe.naming import named_teacher

    assert named_teacher("edit_script/json") == ["prune.teacher=edit_script", "prune.teacher.format=json"]
    assert named_teacher("rules") == ["prune.teacher=rules"]
    with pytest.raises(RecipeError, match="there is two_stage/default, two_stage/none"):
        named_teacher("two_stage/json")


async def test_what_cannot_be_used_says_which_units_are_open() -> None:
    with pytest.raises(TeacherError, match="units 1 to 6 not covered after 3 requests"):
        await teacher_of(settings_of("edit_script"), Store(lambda body, reply: "Sorry.")).prune(TRACE, UNITS)
