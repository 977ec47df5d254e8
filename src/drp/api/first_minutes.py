"""Verbs of the first minutes: which recipes there are, what this machine has, a recipe to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.jobs import job
from drp.recipe import RecipeSource

if TYPE_CHECKING:
    from drp.beginning import Begun
    from drp.findings import Finding
    from drp.recipe.shipped import ShippedRecipe


def recipes() -> list[ShippedRecipe]:
    """Return the recipes that come with the package; :func:`run` takes their names.

    Examples:
        >>> [recipe.name for recipe in drp.recipes()][:2]
        ['demo', 'mini']
        >>> drp.plan("mini")[0]
        'recipe mini: method drp'
    """
    from drp.recipe.shipped import shipped_recipes

    return shipped_recipes()


def doctor(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
) -> list[Finding]:
    """Return what this machine has and lacks, for a recipe where one is named: packages, GPU, keys, endpoint, template, limits.

    Nothing is run, fetched or paid, and torch is not loaded. What would stop a run has the state ``problem``.

    Args:
        recipe: As for :func:`run`; left out, and without ``out``: the machine alone.
        overrides: As for :func:`run`.
        out: As for :func:`run`.
        limit: As for :func:`run`.

    Examples:
        >>> found = drp.doctor("mini")
        >>> [look.what for look in found if look.state == "problem"]
        []
        >>> next(look.detail for look in found if look.what == "template")[:37]
        'keeps thinking: opens the thinking it'
    """
    from drp.checkup import checkup

    if recipe is None and out is None and not overrides:
        return checkup()
    return checkup(*job(recipe, overrides, out), limit)


def init(
    path: str | Path = "recipe.yaml",
    *,
    student: str | None = None,
    problems: str | None = None,
    benchmarks: Sequence[str] = (),
    teacher: str | None = None,
    teacher_url: str | None = None,
    gpu_memory: float | None = None,
    ask: Callable[[str, str], str] | None = None,
) -> Begun:
    """Write a commented recipe of at most 40 lines to begin with; what is left out is told from this machine.

    The student's chat template and tokenizer say how it thinks; where they cannot be reached, its family does.

    Args:
        path: The file; one that exists is not touched.
        student: ``mini``, a checkpoint folder or a hub id; left out: R1-Distill-Qwen-1.5B where a GPU is, else ``mini``.
        problems: What to train on: a benchmark's name, a JSONL file, or a hub id.
        benchmarks: The same, to evaluate on.
        teacher: A kind, or ``KIND:MODEL``; left out: one whose key is set, else ``student``, which needs none.
        teacher_url: Where that model is served, such as ``http://localhost:8000/v1``.
        gpu_memory: GB of the GPU that the recipe will run on; left out: of this machine's.
        ask: Asks a person for what is left out: takes a question and what is suggested, returns the answer.

    Raises:
        RecipeError: The file exists, or there is no such student, benchmark or teacher.

    Examples:
        >>> begun = drp.init("first.yaml", student="mini", teacher="student")
        >>> begun.notes
        ('mini thinks between <think> and </think>, opened by its template',)
        >>> drp.plan("first.yaml")[0], begun.text.count(chr(10)) <= 40
        ('recipe first: method drp', True)
    """
    from drp.beginning import Wishes, begin

    wishes = Wishes(
        student=student,
        problems=problems,
        benchmarks=tuple(benchmarks),
        teacher=teacher,
        teacher_url=teacher_url,
        gpu_memory=gpu_memory,
    )
    return begin(Path(path), wishes, ask)
