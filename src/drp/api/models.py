"""Verbs that make another model of one that is there."""

from __future__ import annotations

from pathlib import Path


def merge(run: str | Path, adapter_scale: float = 1.0, out: str | Path | None = None) -> Path:
    """Merge a run's adapter into the student at another scale, without training; return the model's folder.

    Args:
        run: Run folder with a trained adapter.
        adapter_scale: Scale of the adapter: 0 is the student, 1 as trained, above 1 beyond it.
        out: Folder of the model; default ``RUN/train/model-SCALE``.

    Raises:
        TrainingError: The run has no adapter or a damaged one, or ``out`` is taken.

    Examples:
        >>> drp.merge("runs/try", 0.75)
        PosixPath('runs/try/train/model-0.75')
    """
    from drp.stages.merge import merge_at

    return merge_at(Path(run), adapter_scale, Path(out or Path(run) / "train" / f"model-{adapter_scale:g}"))
