"""Stage train: examples from accepted pruned traces, LoRA fine-tuning, adapter and merged model."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp.engines.identity import resolve_model
from drp.errors import MissingExtraError, TrainingError
from drp.recipe import Recipe
from drp.records import Failure, Keyed, PrunedTrace, Record, content_id
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically
from drp.runs.stage import Progress
from drp.stages.sampling import prompt_messages

if TYPE_CHECKING:
    from drp.training.examples import Example

LEARNABILITY_SAMPLE = 64


class TrainStep(Keyed):
    """One optimizer step as logged."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float = 0.0
    epoch: float = 0.0


class Learnability(Record):
    """Mean NLL per response token under the untrained student, in nats."""

    examples: int
    own_trace: float
    pruned: float
    own_tokens: float
    """Mean response tokens of the student's own traces."""
    pruned_tokens: float


def choose(pruned: Sequence[PrunedTrace], most: int, seed: int) -> list[PrunedTrace]:
    """Return the accepted pruned traces to train on, at most ``most``, in an order of their ids."""
    accepted = sorted((p for p in pruned if p.accepted), key=lambda p: p.id)
    if len(accepted) <= most:
        return accepted
    return random.Random(seed).sample(accepted, most)


def training_fingerprint(chosen: Sequence[PrunedTrace]) -> str:
    """Return the identity of a training set: the texts, not only which traces they came from."""
    return content_id("set", [[p.id, p.thinking, p.answer] for p in chosen])


def _examples(
    recipe: Recipe, tokenizer: Any, chosen: Sequence[PrunedTrace], original: bool = False
) -> "list[Example]":
    from drp.training.examples import build_example

    return [
        build_example(
            tokenizer,
            p.id,
            [m.model_dump() for m in prompt_messages(recipe.prompt, p.question)],
            p.original_thinking if original else p.thinking,
            p.original_answer if original else p.answer,
        )
        for p in chosen
    ]


def train_student(
    recipe: Recipe, folder: StageFolder, chosen: Sequence[PrunedTrace], progress: Progress
) -> Path:
    """Fine-tune the student on pruned traces and return the folder of the merged model."""
    manifest = folder.manifest()
    model_folder = folder.path / "model"
    if manifest and manifest.complete and model_folder.exists():
        progress.begin("train", manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        progress.end(f"already trained on {manifest.counts.get('examples', 0)} examples")
        return model_folder
    try:
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.examples import within_limit
        from drp.training.sft import fine_tune, last_checkpoint
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error

    started = time.monotonic()
    path = resolve_model(recipe.student.model)
    tokenizer = load_tokenizer(path)
    settings = recipe.train
    examples, longer = within_limit(_examples(recipe, tokenizer, chosen), settings.max_length)
    if longer and settings.over_length == "refuse":
        raise TrainingError(
            f"{len(longer)} of {len(chosen)} examples are longer than train.max_length={settings.max_length} "
            "tokens. Raise it, or set train.over_length=drop to leave them out."
        )
    _, resumed = last_checkpoint(folder.path)
    _forget_after(folder, resumed)
    folder.errors_path.unlink(missing_ok=True)
    with folder.errors() as errors:
        for example in longer:
            message = f"{len(example.input_ids)} tokens, limit {settings.max_length}"
            errors.append(Failure(id=example.id, stage="train", kind="over_length", message=message))
    last: dict[str, int] = {"steps": 0}
    with folder.journal() as journal:

        def listen(step: int, total: int, figures: dict[str, float]) -> None:
            if not last["steps"]:
                progress.begin("train", step - 1, total)
            journal.append(TrainStep(id=f"step-{step}", step=step, **figures))
            progress.advance(step - last["steps"] if last["steps"] else 1)
            last["steps"] = step

        fine_tune(
            path, examples, settings, folder.path,
            device=recipe.student.device, dtype=recipe.student.dtype, listen=listen,
        )  # fmt: skip
    _measure_learnability(recipe, folder, tokenizer, chosen)
    counts = {"examples": len(examples), "over_length": len(longer), **last}
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - started)
    note = f"{len(examples)} examples, {last['steps']} steps, {time.monotonic() - started:.0f} s"
    progress.end(note + (f"; {len(longer)} over {settings.max_length} tokens left out" if longer else ""))
    return model_folder


def _forget_after(folder: StageFolder, step: int) -> None:
    """Drop logged steps that an interrupted training will take again."""
    kept = [r for r in folder.records(TrainStep) if r.step <= step]
    write_atomically(folder.records_path, "".join(r.model_dump_json() + "\n" for r in kept))


def _measure_learnability(
    recipe: Recipe, folder: StageFolder, tokenizer: Any, chosen: Sequence[PrunedTrace]
) -> None:
    from drp.engines.transformers_engine import load_model
    from drp.training.learnability import mean_nll

    few = random.Random(0).sample(list(chosen), min(LEARNABILITY_SAMPLE, len(chosen)))
    own, pruned = _examples(recipe, tokenizer, few, original=True), _examples(recipe, tokenizer, few)
    model = load_model(resolve_model(recipe.student.model), recipe.student.device, recipe.student.dtype)

    def tokens(examples: "list[Example]") -> float:
        return sum(len(e.input_ids) - e.prompt_length for e in examples) / len(examples)

    result = Learnability(
        examples=len(few),
        own_trace=mean_nll(model, own),
        pruned=mean_nll(model, pruned),
        own_tokens=tokens(own),
        pruned_tokens=tokens(pruned),
    )
    write_atomically(folder.path / "learnability.json", result.model_dump_json(indent=1) + "\n")
