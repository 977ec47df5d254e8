"""Recipes by name, `drp --version` and completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import drp
from drp.errors import RecipeError
from drp.jobs import job
from drp.recipe import load_recipe
from drp.recipe.shipped import located, shipped, shipped_recipes

ROOT = Path(__file__).resolve().parents[2]


def test_every_recipe_of_the_repository_has_a_name_and_a_sentence() -> None:
    """The list is what a newcomer sees first: a recipe without a comment would be a name alone."""
    found = {recipe.name: recipe for recipe in shipped_recipes()}
    assert set(found) == {
        p.relative_to(ROOT / "recipes").with_suffix("").as_posix() for p in (ROOT / "recipes").rglob("*.yaml")
    }
    assert all(len(recipe.about) > 5 and load_recipe(name) for name, recipe in found.items())
    assert (
        list(found)[:2] == ["demo", "mini"] and "R1-Distill-Qwen-1.5B on GSM8K" in found["r1_qwen_1.5b"].about
    )


def test_what_lies_here_wins_but_a_folder_that_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert job("mini", (), None)[1] == Path("runs/mini")
    Path("mini").mkdir()
    assert located("mini") == shipped("mini") and job("mini", (), None)[1] == Path("runs/mini")
    Path("mini/recipe.json").write_text('{"name": "own"}')
    assert load_recipe("mini").name == "own" and job("mini", (), None)[1] == Path("mini")
    Path("demo").write_text("name: file")
    assert load_recipe("demo").name == "file"


@pytest.mark.parametrize(
    "name", ["", "..", "../recipes/mini", "/etc/passwd", "mini.yaml", "a\0b", "x" * 5000, "~"]
)
def test_a_name_leads_nowhere_else(name: str) -> None:
    assert shipped(name) is None


def test_who_misspells_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecipeError, match=r"no such recipe: recipes/mini\.yaml; the package has one called mini"
    ):
        load_recipe("recipes/mini.yaml")
    with pytest.raises(RecipeError, match="`drp recipes` lists those of the package"):
        load_recipe("nothing/like/it.yaml")


def drp_says(*arguments: str, **environment: str) -> str:
    call = [sys.executable, "-c", "from drp.cli.app import main; main()", *arguments]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, env=os.environ | environment)
    return done.stdout


def test_version_and_recipes_on_the_command_line() -> None:
    assert drp_says("--version") == f"drp {drp.__version__}\n"
    listed = drp_says("recipes")
    assert all(recipe.name in listed for recipe in shipped_recipes())
    assert drp_says("recipes", "mini") == (ROOT / "recipes/mini.yaml").read_text()


def test_a_shell_completes_the_names_of_recipes() -> None:
    """What bash asks for `drp run r1_qwen_1.5b/se<TAB>`."""
    asked = {"_DRP_COMPLETE": "complete_bash", "COMP_WORDS": "drp run r1_qwen_1.5b/se", "COMP_CWORD": "2"}
    code = "import sys; sys.argv = ['drp']; from drp.cli.app import app; app(prog_name='drp')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | asked
    )
    assert done.stdout.split() == ["r1_qwen_1.5b/self", "r1_qwen_1.5b/self_drp"], done.stderr
