"""The verb that hands a training set to other trainers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.recipe import RecipeSource, load_recipe
from drp.runs import layout

if TYPE_CHECKING:
    from drp.stages.export import Exported, Format


def export(
    source: str | Path,
    format: Format,
    out: str | Path,
    *,
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
) -> Exported:
    """Write the pruned traces of a run, or of a file of such records, as another trainer reads them.

    Args:
        source: Run folder, or JSONL of pruned traces.
        format: ``trl``, ``sharegpt`` or ``llamafactory``: what :func:`train` would train on; ``parquet``: every pruned trace with its
            edits and checks.
        out: Folder to write to.
        recipe: Says how the student is asked; left out: the run's own, or the defaults.
        overrides: Changes to it, ``section.field=value``.

    Returns:
        Where the rows are, how many, and what was left out and why.

    Raises:
        DataError: There is no such format, or nothing to export.

    Examples:
        >>> exported = drp.export("runs/try", "trl", "runs/try-trl")
        >>> exported.data, exported.rows > 0
        (PosixPath('runs/try-trl/train.jsonl'), True)
    """
    from drp.stages.export import export_pruned

    own = Path(source) / layout.RECIPE
    loaded = load_recipe(Path(source) if recipe is None and own.exists() else recipe, overrides)
    return export_pruned(Path(source), format, Path(out), loaded)
