"""What the documents tell users to type is what the program takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from drp.cli.app import app
from drp.recipe import Recipe, load_recipe
from drp.recipe.naming import named_teacher
from drp.recipe.shipped import shipped

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "results/mini/README.md",
    "results/mini-lab/README.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHANGES = re.compile(r"(?<!`)`((?:[a-z_]+\.[a-z_.]+|method)=[^`…]+)`(?!`)")
"""Changes to a recipe in the text: takes `method=tale_ep` and `a.b={c: 1}`, leaves `omit=[x]` and those with a …."""


def fences(language: str) -> Iterator[str]:
    for document in DOCUMENTS:
        yield from (body for kind, body in FENCE.findall((ROOT / document).read_text()) if kind == language)


def commands() -> list[str]:
    lines = "\n".join(fences("")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("drp ")]


def changes() -> list[str]:
    texts = (FENCE.sub("", (ROOT / document).read_text()) for document in DOCUMENTS)
    found = (" ".join(change.split()) for text in texts for change in CHANGES.findall(text))
    # `a=x|y` names several values.
    return sorted({f"{c.partition('=')[0]}={v}" for c in found for v in c.partition("=")[2].split("|")})


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_documents_is_one(command: str) -> None:
    """Its verb and options exist, and its changes to the recipe load."""
    verb, *arguments = shlex.split(command.replace("…", "x"), comments=True)[1:]
    context = typer.main.get_command(app).commands[verb].make_context(verb, arguments)  # type: ignore[attr-defined]
    recipe, overrides = context.params.get("recipe"), list(context.params.get("overrides") or [])
    if recipe and "=" in recipe:
        recipe, overrides = None, [recipe, *overrides]
    if (teacher := context.params.get("teacher")) and verb != "init":  # which takes KIND:MODEL as well
        overrides += named_teacher(teacher)
    if recipe in ("recipe.yaml", "mine.yaml"):  # those that `drp init` and `drp recipes` write
        recipe = "mini"
    if recipe or overrides:
        assert isinstance(load_recipe(recipe and (shipped(recipe) or ROOT / recipe), overrides), Recipe)


NEEDS = {
    "prune.answer=teacher": ["prune.teacher=edit_script"],
    "prune.budget_usd": ["prune.teacher=edit_script"],
    "prune.candidates": ["prune.teacher=edit_script"],
    "prune.teacher.": ["prune.teacher=edit_script"],
    "prune.teacher.keep_checks": ["prune.teacher=rules"],
    "prune.teacher=direct": ["prune.answer=short"],
}
"""What a change goes with, where it is not one for every recipe; the longest beginning counts."""


@pytest.mark.parametrize("change", changes())
def test_a_change_in_the_text_loads(change: str) -> None:
    begins = [known for known in NEEDS if change.startswith(known)]
    assert load_recipe(None, [*NEEDS.get(max(begins, key=len, default=""), []), change])


@pytest.mark.parametrize("text", fences("yaml"))
def test_a_recipe_in_the_text_loads(text: str) -> None:
    assert load_recipe(yaml.safe_load(text))


LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
"""Where a link leads: takes ](../results/page/README.md#how), leaves an address within the page."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_links_to_is_there(document: str) -> None:
    links = LINK.findall(FENCE.sub("", (ROOT / document).read_text()))
    missing = [to for to in links if "://" not in to and not (ROOT / document).parent.joinpath(to).exists()]
    assert not missing


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20 and all(f": {page}\n" in config for page in pages)


def test_the_first_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_there_is_something_to_look_at() -> None:
    assert len(commands()) > 50 and len(changes()) > 15
