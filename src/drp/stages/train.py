"""Stage train: the student is fine-tuned on texts, phase by phase, to an adapter and a merged model."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drp.errors import MissingExtraError
from drp.recipe import Recipe
from drp.records import Keyed, Target
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import Journal, write_atomically, writing
from drp.runs.stage import Progress
from drp.stages.learnability import learnability_on_file
from drp.stages.merge import merged_again, note_scale
from drp.stages.training_set import fitting_examples, to_train

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


class _Log:
    """Puts each step on file and shows it, counted over all phases."""

    def __init__(self, journal: Journal, progress: Progress) -> None:
        self._journal, self._progress = journal, progress
        self.steps = self._before = 0

    def __call__(self, step: int, total: int, figures: dict[str, float]) -> None:
        """Take a step of the phase under way."""
        step, total = self._before + step, self._before + total
        if not self.steps:
            self._progress.begin(layout.TRAIN, step - 1, total)
        self._journal.append(TrainStep(id=f"step-{step}", step=step, **figures))
        self._progress.advance(step - self.steps if self.steps else 1)
        if (loss := figures.get("loss")) is not None:
            self._progress.remark(f"loss {loss:.3f}")
        self.steps = step

    def next_phase(self) -> None:
        """Count on from here."""
        self._before = self.steps


def train_student(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target], progress: Progress) -> Path:
    """Fine-tune the student on texts, phase by phase, and return the folder of the merged model."""
    manifest = folder.manifest()
    model = folder.path / layout.MODEL
    kept = folder.path / (layout.ADAPTER if recipe.train.lora else layout.MODEL)
    if manifest and manifest.complete and kept.exists():
        progress.begin(layout.TRAIN, manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        again = merged_again(recipe, folder) if recipe.train.lora else ""
        said = learnability_on_file(recipe, folder, chosen)
        progress.end(f"already trained on {manifest.counts.get('examples', 0)} examples{again}{said}")
        return model
    try:
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.examples import show_example
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error

    started, settings = time.monotonic(), recipe.train
    progress.begin(layout.TRAIN, 0, 0)
    progress.remark("getting the examples and the model ready")
    tokenizer = load_tokenizer(to_train(recipe.student).path)
    examples, longer = fitting_examples(recipe, folder, tokenizer, chosen)
    first = show_example(tokenizer, examples[0]) if examples else ""
    write_atomically(folder.path / layout.FIRST_EXAMPLE, first)
    phase_of = {target.id: target.phase for target in chosen}
    phases = [[e for e in examples if phase_of[e.id] == phase] for phase in sorted(set(phase_of.values()))]
    steps = _train_phases(recipe, folder, phases, progress)
    if settings.lora:
        note_scale(folder, settings.adapter_scale)
    counts = {"examples": len(examples), "over_length": longer, "steps": steps}
    trained = time.monotonic()
    folder.update(complete=True, counts=counts, seconds=trained - started)
    note = f"{len(examples)} examples, {steps} steps, {trained - started:.0f} s"
    note += f"; {longer} over {settings.max_length} tokens left out" if longer else ""
    note += f"; the first example, token by token: {folder.path / layout.FIRST_EXAMPLE}"
    said = learnability_on_file(recipe, folder, chosen)
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - trained)
    progress.end(note + said)
    return model


def _train_phases(
    recipe: Recipe, folder: StageFolder, phases: "Sequence[Sequence[Example]]", progress: Progress
) -> int:
    """Train one adapter, or the model, on each phase's examples in turn, leave the last one's model, and return how many steps it took."""
    from drp.training.sft import fine_tune, last_checkpoint

    student, settings = to_train(recipe.student), recipe.train
    # An interrupted training of several phases goes on after its last whole phase.
    *before, last = phases or [[]]
    resumed = 0 if before else last_checkpoint(folder.path)[1]
    forget_after(folder, resumed)
    with writing(folder.path), folder.journal() as journal:
        log, adapter = _Log(journal, progress), None
        for number, examples in enumerate(before):
            part = folder.path / layout.training_part("phase", number)
            if not (part / layout.MODEL).exists():
                fine_tune(student, examples, settings, part, adapter=adapter, listen=log)
            if settings.lora:
                adapter = part / layout.ADAPTER
            else:
                student = replace(student, path=str(part / layout.MODEL))
            log.next_phase()
        fine_tune(student, last, settings, folder.path, adapter=adapter, listen=log)
    return log.steps


def forget_after(folder: StageFolder, step: int, kind: type[TrainStep] = TrainStep) -> None:
    """Drop logged steps that an interrupted training will take again."""
    kept = [r for r in folder.records(kind) if r.step <= step]
    write_atomically(folder.records_path, "".join(r.model_dump_json() + "\n" for r in kept))
