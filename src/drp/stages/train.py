"""Stage train: the student is fine-tuned on texts, phase by phase, to an adapter and a merged model."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp.engines.identity import resolve_model
from drp.errors import MissingExtraError
from drp.recipe import Recipe
from drp.records import Keyed, Target
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically, writing
from drp.runs.stage import Progress
from drp.stages.learnability import learnability_on_file
from drp.stages.merge import merged_again, note_scale
from drp.stages.training_set import fitting_examples

if TYPE_CHECKING:
    from drp.training.examples import Example


class TrainStep(Keyed):
    """One optimizer step as logged."""

    step: int
    loss: float | None = None
    """``None``, like the gradient's norm, where it was no number."""
    learning_rate: float
    grad_norm: float | None = None
    epoch: float = 0.0


def train_student(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target], progress: Progress) -> Path:
    """Fine-tune the student on texts, phase by phase, and return the folder of the merged model."""
    manifest = folder.manifest()
    model_folder = folder.path / layout.MODEL
    if manifest and manifest.complete and (folder.path / layout.ADAPTER).exists():
        progress.begin(layout.TRAIN, manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        again = merged_again(recipe, folder)
        said = learnability_on_file(recipe, folder, chosen)
        progress.end(f"already trained on {manifest.counts.get('examples', 0)} examples{again}{said}")
        return model_folder
    try:
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.examples import look
        from drp.training.sft import fine_tune, last_checkpoint
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error

    started = time.monotonic()
    path = resolve_model(recipe.student.model)
    tokenizer = load_tokenizer(path)
    settings = recipe.train
    examples, longer = fitting_examples(recipe, folder, tokenizer, chosen)
    write_atomically(folder.path / layout.FIRST_EXAMPLE, look(tokenizer, examples[0]) if examples else "")
    phases = [[t.id for t in chosen if t.phase == phase] for phase in sorted({t.phase for t in chosen})]
    if len(phases) > 1:  # an interrupted training of several phases goes on after its last whole phase
        resumed = -1
    else:
        _, resumed = last_checkpoint(folder.path)
    forget_after(folder, max(0, resumed))
    last: dict[str, int] = {"steps": 0, "phase": 0, "before": 0}
    with writing(folder.path), folder.journal() as journal:

        def listen(step: int, total: int, figures: dict[str, float]) -> None:
            last["phase"], step, total = step, last["before"] + step, last["before"] + total
            if not last["steps"]:
                progress.begin(layout.TRAIN, step - 1, total)
            journal.append(TrainStep(id=f"step-{step}", step=step, **figures))
            progress.advance(step - last["steps"] if last["steps"] else 1)
            last["steps"] = step

        how: dict[str, Any] = {
            "device": recipe.student.device,
            "dtype": recipe.student.dtype,
            "listen": listen,
        }
        adapter: Path | None = None
        for number, ids in enumerate(phases[:-1]):
            part = folder.path / layout.training_part("phase", number)
            if not (part / layout.MODEL).exists():
                fine_tune(path, _of(examples, ids), settings, part, adapter=adapter, **how)
            adapter, last["before"] = part / layout.ADAPTER, last["before"] + last["phase"]
        rest = _of(examples, phases[-1]) if phases else []
        fine_tune(path, rest, settings, folder.path, adapter=adapter, **how)
    note_scale(folder, settings.adapter_scale)
    counts = {"examples": len(examples), "over_length": longer, "steps": last["steps"]}
    trained = time.monotonic()
    folder.update(complete=True, counts=counts, seconds=trained - started)
    note = f"{len(examples)} examples, {last['steps']} steps, {trained - started:.0f} s"
    note += f"; {longer} over {settings.max_length} tokens left out" if longer else ""
    note += f"; the first example, token by token: {folder.path / layout.FIRST_EXAMPLE}"
    said = learnability_on_file(recipe, folder, chosen)
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - trained)
    progress.end(note + said)
    return model_folder


def _of(examples: "Sequence[Example]", ids: Sequence[str]) -> "list[Example]":
    wanted = set(ids)
    return [example for example in examples if example.id in wanted]


def forget_after(folder: StageFolder, step: int, kind: type[TrainStep] = TrainStep) -> None:
    """Drop logged steps that an interrupted training will take again."""
    kept = [r for r in folder.records(kind) if r.step <= step]
    write_atomically(folder.records_path, "".join(r.model_dump_json() + "\n" for r in kept))
