"""A student and its trained adapter made one model, at any scale of the adapter."""

import json
import shutil
from pathlib import Path

from drp.errors import MissingExtraError, TrainingError
from drp.recipe import Recipe
from drp.records import Record
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically


class Merged(Record):
    """How the model beside it was merged."""

    strength: float = 1.0
    """The adapter's scale, under the name that files of every version give it."""


def merge_at(run: Path, adapter_scale: float, out: Path) -> Path:
    """Merge the adapter of a run into its student at ``adapter_scale`` times the scale it was trained at; return the model's folder.

    Raises:
        TrainingError: The run has no adapter or a damaged one, or ``out`` is taken.
        MissingExtraError: The training libraries are not installed.
    """
    adapter = run / layout.TRAIN / layout.ADAPTER
    if not adapter.is_dir():
        rounds = list(run.glob(f"{layout.TRAIN}/round-*"))
        why = " (reinforcement keeps one a round, which build on each other)" if rounds else ""
        raise TrainingError(f"{run} has no train/adapter{why}: run `drp run` or `drp train` there first")
    if out.exists():
        raise TrainingError(f"{out} exists already; name another folder with --out")
    try:
        from safetensors import SafetensorError

        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.saving import merge
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    half = out.with_name(out.name + ".tmp")
    try:
        # The adapter says what it was trained on; the recipe on file may have been changed since.
        config = json.loads((adapter / "adapter_config.json").read_text())
        id_, revision = config["base_model_name_or_path"], config.get("revision")
        student = f"{id_}@{revision}" if revision else id_
        merge(student, adapter, adapter_scale, load_tokenizer(student), half)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{adapter} cannot be merged ({type(error).__name__}: {str(error)[:200]}); if it is damaged, remove it and run "
            "`drp train` again"
        ) from error
    half.rename(out)
    return out


def note_scale(folder: StageFolder, scale: float) -> None:
    """Put on file at which scale of its adapter the model of a stage is merged."""
    write_atomically(folder.path / layout.MERGED, Merged(strength=scale).model_dump_json() + "\n")


def merged_again(recipe: Recipe, folder: StageFolder) -> str:
    """Bring the model of a trained adapter to the scale that the recipe wants; return what to say of it."""
    wanted, merged, model = (
        recipe.train.adapter_scale,
        folder.path / layout.MERGED,
        folder.path / layout.MODEL,
    )
    stands = Merged.model_validate_json(merged.read_bytes()).strength if merged.exists() else 1.0
    if model.exists() and stands == wanted:
        return ""
    shutil.rmtree(model, ignore_errors=True)  # a crash from here on leaves no model, and it is merged again
    note_scale(folder, wanted)
    merge_at(folder.path.parent, wanted, model)
    return f"; merged again at adapter scale {wanted:g}"
