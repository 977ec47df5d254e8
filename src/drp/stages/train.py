"""Stage train: examples from accepted pruned traces, LoRA fine-tuning, adapter and merged model."""

import gc
import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp.engines.identity import resolve_model
from drp.errors import DrpError, MissingExtraError, TrainingError
from drp.grading.grader import Grader
from drp.recipe import Recipe
from drp.records import Failure, Keyed, Problem, Record, Target, content_id
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically, writing
from drp.runs.stage import Progress
from drp.stages.sampling import prompt_messages

if TYPE_CHECKING:
    from drp.training.examples import Example

LEARNABILITY_SAMPLE = 64


class TrainStep(Keyed):
    """One optimizer step as logged."""

    step: int
    loss: float | None = None
    """``None``, like the gradient's norm, where it was no number."""
    learning_rate: float
    grad_norm: float | None = None
    epoch: float = 0.0


class RlStep(TrainStep):
    """One step of reinforcement as logged."""

    reward: float = 0.0
    tokens: float = 0.0
    """Mean tokens of the step's completions."""


class Learnability(Record):
    """Mean NLL per response token under the untrained student, in nats."""

    examples: int
    own_trace: float
    pruned: float
    own_tokens: float
    """Mean response tokens of the student's own traces."""
    pruned_tokens: float


def choose(targets: Sequence[Target], most: int, seed: int) -> list[Target]:
    """Return the texts to train on, at most ``most`` of each phase, in an order of their ids."""
    chosen: list[Target] = []
    for phase in sorted({t.phase for t in targets}):
        found = sorted((t for t in targets if t.phase == phase), key=lambda t: t.id)
        chosen += found if len(found) <= most else random.Random(seed).sample(found, most)
    return chosen


def training_fingerprint(chosen: Sequence[Target]) -> str:
    """Return the identity of a training set: the texts, not only which traces they came from."""
    phases = [[t.phase] if t.phase else [] for t in chosen]
    return content_id("set", [[t.id, t.thinking, t.answer, *p] for t, p in zip(chosen, phases, strict=True)])


def _examples(
    recipe: Recipe, tokenizer: Any, chosen: Sequence[Target], original: bool = False
) -> "list[Example]":
    """Return the targets as examples, or with ``original`` the student's own traces of the same problems."""
    from drp.training.examples import build_example

    return [
        build_example(
            tokenizer,
            target.id,
            [m.model_dump() for m in prompt_messages(recipe.prompt, target.question)],
            target.own_thinking if original else target.thinking,
            target.own_answer if original else target.answer,
            recipe.prompt.template_arguments,
        )
        for target in chosen
    ]


def _pairs(recipe: Recipe, tokenizer: Any, chosen: Sequence[Target]) -> "list[Example]":
    """Return examples that are preferred to the student's own traces."""
    better = _examples(recipe, tokenizer, chosen)
    own = _examples(recipe, tokenizer, chosen, original=True)
    return [
        replace(example, rejected_ids=worse.input_ids[worse.prompt_length :])
        for example, worse in zip(better, own, strict=True)
        if example.input_ids != worse.input_ids
    ]


def train_student(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target], progress: Progress) -> Path:
    """Fine-tune the student on texts, phase by phase, and return the folder of the merged model."""
    manifest = folder.manifest()
    model_folder = folder.path / layout.MODEL
    if manifest and manifest.complete and (folder.path / layout.ADAPTER).exists():
        progress.begin(layout.TRAIN, manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        again = _merged_again(recipe, folder)
        said = _learnability_on_file(recipe, folder, chosen)
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
    examples, longer = _fitting(recipe, folder, tokenizer, chosen)
    write_atomically(folder.path / layout.FIRST_EXAMPLE, look(tokenizer, examples[0]) if examples else "")
    phases = [[t.id for t in chosen if t.phase == phase] for phase in sorted({t.phase for t in chosen})]
    if len(phases) > 1:  # an interrupted training of several phases goes on after its last whole phase
        resumed = -1
    else:
        _, resumed = last_checkpoint(folder.path)
    _forget_after(folder, max(0, resumed))
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
    write_atomically(folder.path / layout.MERGED, json.dumps({"strength": settings.strength}) + "\n")
    counts = {"examples": len(examples), "over_length": longer, "steps": last["steps"]}
    trained = time.monotonic()
    folder.update(complete=True, counts=counts, seconds=trained - started)
    note = f"{len(examples)} examples, {last['steps']} steps, {trained - started:.0f} s"
    note += f"; {longer} over {settings.max_length} tokens left out" if longer else ""
    note += f"; the first example, token by token: {folder.path / layout.FIRST_EXAMPLE}"
    said = _learnability_on_file(recipe, folder, chosen)
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - trained)
    progress.end(note + said)
    return model_folder


def _fitting(
    recipe: Recipe, folder: StageFolder, tokenizer: Any, chosen: Sequence[Target]
) -> "tuple[list[Example], int]":
    """Return the examples to train on, and how many were too long: those are recorded, or refused."""
    from drp.training.examples import within_limit

    settings = recipe.train
    build = _pairs if settings.objective == "preference" else _examples
    examples, longer = within_limit(build(recipe, tokenizer, chosen), settings.max_length)
    if longer and settings.over_length == "refuse":
        raise TrainingError(
            f"{len(longer)} of {len(chosen)} examples are longer than train.max_length={settings.max_length} "
            "tokens. Raise it, or set train.over_length=drop to leave them out."
        )
    folder.errors_path.unlink(missing_ok=True)
    with folder.errors() as errors:
        for example in longer:
            message = f"{example.length} tokens, limit {settings.max_length}"
            errors.append(Failure(id=example.id, stage=layout.TRAIN, kind="over_length", message=message))
    if longer and not examples:
        raise TrainingError(
            f"none of the {len(longer)} examples fits into train.max_length={settings.max_length} tokens (the shortest has "
            f"{min(example.length for example in longer)}): raise it; see {folder.errors_path}"
        )
    return examples, len(longer)


def merge_at(run: Path, strength: float, out: Path) -> Path:
    """Merge the adapter of a run into its student at ``strength`` times its scale; return the model's folder.

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
        student = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
        merge(student, adapter, strength, load_tokenizer(student), half)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{adapter} cannot be merged ({type(error).__name__}: {str(error)[:200]}); if it is damaged, remove it and run "
            "`drp train` again"
        ) from error
    half.rename(out)
    return out


def _merged_again(recipe: Recipe, folder: StageFolder) -> str:
    """Bring the model of a trained adapter to the strength that the recipe wants; return what to say of it."""
    wanted, merged, model = recipe.train.strength, folder.path / layout.MERGED, folder.path / layout.MODEL
    stands = json.loads(merged.read_text())["strength"] if merged.exists() else 1.0
    if model.exists() and stands == wanted:
        return ""
    shutil.rmtree(model, ignore_errors=True)  # a crash from here on leaves no model, and it is merged again
    write_atomically(merged, json.dumps({"strength": wanted}) + "\n")
    merge_at(folder.path.parent, wanted, model)
    return f"; merged again at strength {wanted:g}"


def _of(examples: "Sequence[Example]", ids: Sequence[str]) -> "list[Example]":
    wanted = set(ids)
    return [example for example in examples if example.id in wanted]


def practise(recipe: Recipe, folder: StageFolder, problems: Sequence[Problem], progress: Progress) -> Path:
    """Reinforce the student on problems alone and return the folder of the model."""
    manifest = folder.manifest()
    model_folder = folder.path / layout.MODEL
    if manifest and manifest.complete and model_folder.exists():
        progress.begin(layout.TRAIN, manifest.counts.get("steps", 0), manifest.counts.get("steps", 0))
        progress.end(f"already trained on {manifest.counts.get('problems', 0)} problems")
        return model_folder
    try:
        from drp.engines.encoding import render_prompt
        from drp.engines.transformers_engine import load_tokenizer
        from drp.training.practice import Task
        from drp.training.rl import reinforce, resumed_step
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    started = time.monotonic()
    path = resolve_model(recipe.student.model)
    tokenizer = load_tokenizer(path)
    tasks = [
        Task(
            render_prompt(
                tokenizer,
                [m.model_dump() for m in prompt_messages(recipe.prompt, p.question)],
                recipe.prompt.template_arguments,
            ),
            p.gold,
        )
        for p in random.Random(recipe.train.seed).sample(list(problems), len(problems))
    ]
    settings = recipe.method.reinforcement
    assert settings is not None
    done, steps = resumed_step(folder.path, settings), len(settings.limits) * settings.steps
    _forget_after(folder, done, RlStep)
    with writing(folder.path), folder.journal() as journal, Grader() as grader:
        progress.begin(layout.TRAIN, done, steps)

        def listen(step: int, total: int, figures: dict[str, float]) -> None:
            _ = total
            journal.append(RlStep(id=f"step-{step}", step=step, **figures))
            progress.advance(1)

        sampled = reinforce(
            path, tasks, settings, recipe.train, folder.path, grader.is_correct,
            device=recipe.student.device, dtype=recipe.student.dtype, listen=listen,
        )  # fmt: skip
    counts = {"problems": len(tasks), "steps": steps, "sampled_tokens": sampled}
    folder.update(complete=True, counts=counts, seconds=time.monotonic() - started)
    progress.end(f"{len(tasks)} problems, {counts['steps']} steps, {time.monotonic() - started:.0f} s")
    return model_folder


def _forget_after(folder: StageFolder, step: int, kind: type[TrainStep] = TrainStep) -> None:
    """Drop logged steps that an interrupted training will take again."""
    kept = [r for r in folder.records(kind) if r.step <= step]
    write_atomically(folder.records_path, "".join(r.model_dump_json() + "\n" for r in kept))


def _learnability_on_file(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target]) -> str:
    """Measure learnability unless it is on file; return what to say if it cannot be measured.

    The model is trained by then, and a figure about its training set is no reason to lose it.
    """
    if (folder.path / layout.LEARNABILITY).exists() or not chosen:
        return ""
    others = [f for f in folder.failures() if f.id != "learnability"]
    try:
        _measure_learnability(recipe, folder, chosen)
    except (DrpError, ImportError, RuntimeError, MemoryError, OSError, ValueError) as error:
        message = f"{type(error).__name__}: {str(error)[:300]}"
        others.append(
            Failure(id="learnability", stage=layout.TRAIN, kind="learnability", message=message, retry=True)
        )
    write_atomically(folder.errors_path, "".join(f.model_dump_json() + "\n" for f in others))
    if (folder.path / layout.LEARNABILITY).exists():
        return ""
    return (
        f"; learnability could not be measured ({others[-1].message.splitlines()[0][:120]}); the model is not "
        "concerned, and the same command tries again"
    )


def _measure_learnability(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target]) -> None:
    from drp.engines.transformers_engine import load_model, load_tokenizer
    from drp.training.learnability import mean_nll

    gc.collect()  # what trained the student lies in cycles and would hold its memory
    path = resolve_model(recipe.student.model)
    tokenizer = load_tokenizer(path)
    few = random.Random(0).sample(list(chosen), min(LEARNABILITY_SAMPLE, len(chosen)))
    own, pruned = _examples(recipe, tokenizer, few, original=True), _examples(recipe, tokenizer, few)
    model = load_model(path, recipe.student.device, recipe.student.dtype)

    def tokens(examples: "list[Example]") -> float:
        return sum(len(e.input_ids) - e.prompt_length for e in examples) / len(examples)

    result = Learnability(
        examples=len(few),
        own_trace=mean_nll(model, own),
        pruned=mean_nll(model, pruned),
        own_tokens=tokens(own),
        pruned_tokens=tokens(pruned),
    )
    write_atomically(folder.path / layout.LEARNABILITY, result.model_dump_json(indent=1) + "\n")
