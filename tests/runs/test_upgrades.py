"""Recipes as version 0.1 wrote them load, and the note names places that exist."""

import re
from typing import Any

import pytest

from drp.errors import OldSpellingWarning
from drp.recipe import load_recipe

OLD: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (
        {"generate": {"engine": "openai", "endpoint": {"base_url": "http://h/v1", "model": "m"}}},
        {"generate": {"engine": {"kind": "openai", "base_url": "http://h/v1", "model": "m"}}},
        ("generate.endpoint.base_url → generate.engine.base_url", "generate.endpoint.model → generate.engine.model"),
    ),
    (
        {"evaluate": {"engine": "openai", "trained_model": "t"}},
        {"evaluate": {"engine": {"kind": "openai", "trained_model": "t"}}},
        ("evaluate.trained_model → evaluate.engine.trained_model",),
    ),
    (
        {"prune": {"teacher": "edit_script", "llm": {"format": "json"}, "endpoint": {"batch": True}}},
        {"prune": {"teacher": {"kind": "edit_script", "format": "json", "endpoint": {"batch": True}}}},
        ("prune.llm.format → prune.teacher.format", "prune.endpoint → prune.teacher.endpoint"),
    ),
    (
        {"prune": {"rules": {"keep_checks": 3}}},
        {"prune": {"teacher": {"kind": "rules", "keep_checks": 3}}},
        ("prune.rules.keep_checks → prune.teacher.keep_checks",),
    ),
    ({"train": {"strength": 0.75}}, {"train": {"adapter_scale": 0.75}}, ("train.strength → train.adapter_scale",)),
    (
        {"method": "think_prune", "rl": {"looks": 2, "limits": [300]}},
        {"method": {"kind": "think_prune", "checkpoints": 2, "limits": [300]}},
        ("rl.looks → method.checkpoints", "rl.limits → method.limits"),
    ),
    (
        {"method": "tale", "tale": {"tuned": False, "halvings": 2}},
        {"method": "tale_ep"},
        ("method: tale with tale.tuned=false → method: tale_ep",),
    ),
    (
        {"method": "cot_valve", "valve": {"short_model": "q"}},
        {"method": {"kind": "cot_valve", "short_model": "q"}},
        ("valve.short_model → method.short_model",),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), OLD)
def test_an_old_recipe_is_the_new_one_and_its_note_can_be_followed(
    old: dict[str, Any], new: dict[str, Any], said: tuple[str, ...]
) -> None:
    """`rl.looks` was said to be `rl.checkpoints` now, a place that no recipe has any more."""
    with pytest.warns(OldSpellingWarning, match=re.escape("write now: " + "; ".join(said)) + "$"):
        assert load_recipe(old) == load_recipe(new)


def test_what_only_other_methods_use_is_left_out_without_a_note(recwarn: pytest.WarningsRecorder) -> None:
    assert load_recipe({"method": "drp", "rl": {"looks": 2}}) == load_recipe({})
    assert not recwarn.list
