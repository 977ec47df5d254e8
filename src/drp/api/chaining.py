"""Several rounds: each round's student is the model of the round before."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.api.results import compare
from drp.api.stages import evaluate, run
from drp.errors import RecipeError
from drp.jobs import job
from drp.recipe import RecipeSource, load_recipe
from drp.runs import layout
from drp.runs.stage import Progress, Say, silent

if TYPE_CHECKING:
    from drp.reporting.pairing import ComparedRuns


def rounds(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    count: int = 2,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> ComparedRuns:
    """Run a recipe several times, each round on the model of the round before: draw, prune, train, draw again.

    ``out/round-1``, ``out/round-2`` … are run folders like any other, each with its report, and ``out/student`` has the evaluation
    of the student as it was. A round begins when the one before has ended; the same call again continues, and a larger ``count`` adds rounds.

    Args:
        recipe: The recipe; left out: that of the rounds under ``out``.
        overrides: Changes to it, ``section.field=value``.
        count: How many rounds.
        out: Folder of the rounds.
        limit: At most this many problems per problem set.
        partial: Go on without the items of a stage that failed and are still owed.
        progress: Where stages report how far they are.
        say: Told what a user should know, one line at a time.

    Returns:
        Every round's model beside the student.

    Raises:
        RecipeError: The recipe's method makes no model.
        PreflightError: Something that a stage would need is missing.
        IncompleteError: A stage of a round has items pending, and ``partial`` is off; no later round was begun.

    Examples:
        >>> small = ["train.epochs=1", "generate.sampling.max_new_tokens=400", "evaluate.sampling.max_new_tokens=50"]
        >>> small += ["evaluate.benchmarks=[{benchmark: mini-gsm}]", "train.warmup=0"]
        >>> found = drp.rounds("recipes/mini.yaml", small, count=2, out="runs/rounds", limit=4)
        >>> found.base, [run.name for run in found.runs]
        ('student', ['round-1', 'round-2'])
    """
    if recipe is None and out is not None:
        recipe = Path(out) / "student"
    loaded, folder = job(recipe, overrides, out)
    if loaded.method.trains_on == "nothing":
        raise RecipeError(
            f"method {loaded.method.kind} trains nothing, so there is no model for a second round"
        )
    evaluate(loaded, out=folder / "student", limit=limit, partial=partial, progress=progress, say=say)
    before = folder / "student" / layout.EVALUATE_BASE
    folders = [folder / f"round-{number}" for number in range(1, count + 1)]
    for number, here in enumerate(folders, 1):
        say(f"round {number} of {count}: {here}")
        _copy(before, here / layout.EVALUATE_BASE)
        run(loaded, out=here, limit=limit, partial=partial, progress=progress, say=say)
        before = here / layout.EVALUATE_DISTILLED
        model = here / layout.TRAIN / layout.MODEL
        loaded = load_recipe(loaded, [f"student.model={model}", "student.revision=null"])
    return compare([folder / "student", *folders])


def _copy(source: Path, target: Path) -> None:
    """Take over what the round before found of this round's student, whole or not at all; what does not fit is drawn anew."""
    if not target.exists():
        half = target.with_name(f"{target.name}.half")
        shutil.copytree(source, half, dirs_exist_ok=True)
        half.rename(target)
