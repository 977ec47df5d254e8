"""LCPO's pairs, and what a recipe must say for there to be any."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from drp.errors import RecipeError, TrainingError
from drp.methods.base import MethodContext
from drp.methods.lcpo import LcpoSettings
from drp.recipe import load_recipe
from drp.records import Target, Trace, Usage
from drp.stages.training_set import training_fingerprint


def drawn(problem: str, *samples: tuple[int, bool]) -> list[Trace]:
    """Return traces of a problem by their tokens and whether they are right."""
    return [
        Trace(
            id=f"{problem}-{n}", problem_id=problem, question="1 + 1?", gold="2", sample=n, thinking="1 + 1 = 2. " * tokens,
            answer="2", closed=True, correct=right, usage=Usage(prompt_tokens=1, completion_tokens=tokens),
        )
        for n, (tokens, right) in enumerate(samples)
    ]  # fmt: skip


def targets(traces: list[Trace], **settings: Any) -> list[Target]:
    context = cast(MethodContext, SimpleNamespace(traces=lambda: traces))
    return list(LcpoSettings(**settings).targets(context))


def test_the_shortest_of_a_mastered_problem_is_preferred_to_its_longest() -> None:
    traces = [
        *drawn("mastered", (30, True), (20, True), (40, True)),
        *drawn("half", (10, True), (50, True), (5, False), (60, False)),
        *drawn("of one length", (30, True), (30, True)),
        *drawn("unsolved", (30, False), (40, False)),
    ]
    (pair,) = targets(traces)
    assert (pair.thinking, pair.own_thinking) == (traces[1].thinking, traces[2].thinking)
    assert [t.id for t in targets(traces, pass_rate=0.5)] == ["mastered-1/mastered-2", "half-0/half-1"]
    with pytest.raises(TrainingError, match=r"of 1 problems none has a pass rate of method.pass_rate=1"):
        targets(drawn("half", (10, True), (50, False)))


def test_a_longer_rival_is_another_training() -> None:
    """A training set is known by the texts it learns; with more samples the rival changes and those stay."""
    few = drawn("a", (30, True), (20, True))
    more = drawn("a", (30, True), (20, True), (40, True))
    assert training_fingerprint(targets(few)) != training_fingerprint(targets(more))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["train.objective=lcpo"], "set generate.samples=2 or more"),
        (["generate.samples=4"], "set train.objective=lcpo, or preference"),
    ],
)
def test_a_recipe_that_has_no_pairs_is_told_what_to_set(changes: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(None, ["method=lcpo", *changes])
    assert load_recipe(None, ["method=lcpo", "train.objective=lcpo", "generate.samples=2"])
