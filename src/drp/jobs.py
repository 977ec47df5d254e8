"""A job: the recipe and the run folder that a call names, and its pipeline while the folder is held."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drp.errors import IncompleteError, RecipeError
from drp.recipe import Recipe, RecipeSource, load_recipe
from drp.runs import layout
from drp.runs.stage import Progress, Say

if TYPE_CHECKING:
    from drp.pipeline import Pipeline
    from drp.records import PrunedTrace


def job(recipe: RecipeSource | None, overrides: Sequence[str], out: str | Path | None) -> tuple[Recipe, Path]:
    """Return the recipe that was named, the run folder's own if none was, and the run folder.

    Raises:
        RecipeError: None was named and ``out`` has none, or it is malformed.
    """
    named = Path(recipe) if isinstance(recipe, str) else recipe
    folder = Path(out) if out else None
    if named is None and (folder is None or not (folder / layout.RECIPE).exists()):
        raise RecipeError("name a recipe, or give as out a run folder that has one (recipe.json)")
    loaded = load_recipe(folder if named is None else named, overrides)
    if folder is None:
        own = named if isinstance(named, Path) and (named / layout.RECIPE).exists() else None
        folder = own or Path("runs") / loaded.name
    return loaded, folder


@contextmanager
def running(
    recipe: RecipeSource | None,
    overrides: Sequence[str],
    out: str | Path | None,
    limit: int | None,
    partial: bool,
    progress: Progress,
    say: Say,
    *stages: str,
) -> "Generator[Pipeline]":
    """Hold a job's run folder and provide what runs its stages; see :class:`drp.pipeline.Pipeline`.

    Raises:
        PreflightError: Something is missing that one of the ``stages`` would need.
    """
    from drp.pipeline import Pipeline
    from drp.preflight import check_before
    from drp.runs.folder import RunFolder

    loaded, folder = job(recipe, overrides, out)
    with RunFolder(folder, say) as held:
        pipeline = Pipeline(loaded, held, progress, say, limit, partial=partial)
        progress.remark("looking at what the run needs")
        if stages:
            check_before(pipeline, *stages)
        yield pipeline


def prune_and_report(
    file: Path, recipe: Recipe, out: Path, limit: int | None, partial: bool, progress: Progress, say: Say
) -> "Sequence[PrunedTrace]":
    """Prune the traces of a file into a run folder, and write the report.

    Raises:
        IncompleteError: Some are to be tried again, and ``partial`` is off; the report is written.
    """
    from drp.pipeline import prune_file
    from drp.reporting.write import write_report
    from drp.runs.folder import RunFolder

    with RunFolder(out, say) as held:
        pruned, _ = prune_file(file, held, recipe, progress, limit, say)
        write_report(held.path, f"{file.name}, pruned by {recipe.prune.teacher.kind}")
        pending = held.stage(layout.PRUNE).pending()
    if pending and not partial:
        raise IncompleteError(f"{pending}. The same command tries them again")
    return pruned
