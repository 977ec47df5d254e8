from collections.abc import Iterator
from typing import Any, Literal

import pytest

from drp.engines.registry import ENGINES
from drp.kinds import Kind, Registry
from drp.methods.registry import METHODS
from drp.recipe import load_recipe
from drp.records import Record
from drp.teachers.registry import TEACHERS


def built_in() -> Iterator[tuple[Registry[Any], str]]:
    for registry in (ENGINES, TEACHERS, METHODS):
        yield from ((registry, name) for name in registry.built_in)


@pytest.mark.parametrize(
    ("registry", "name"), built_in(), ids=lambda value: str(getattr(value, "noun", value))
)
def test_a_bare_name_takes_settings_that_can_be_written(registry: Registry[Any], name: str) -> None:
    """A field and a method of one name gave think_prune a function for `prompts`, in silence until it trained."""
    needed = {"short_model": "x"} if name == "cot_valve" else {}
    found = registry.read({"kind": name, **needed}, name)
    assert registry.read(found.model_dump(mode="json", warnings="error"), name) == found


def test_a_bare_think_prune_draws_eight_problems_a_step() -> None:
    method = load_recipe(None, ["method=think_prune"]).method
    assert method.reinforcement and method.reinforcement.prompts == 8


def test_a_setting_called_as_a_method_is_refused_where_it_is_written() -> None:
    class Settings(Record):
        read: int = 3

    class Behaviour(Kind):
        def read(self) -> int:
            return 4

    with pytest.raises(TypeError, match="Both: read cannot be a setting and a method"):

        class Both(Settings, Behaviour):
            kind: Literal["both"] = "both"
