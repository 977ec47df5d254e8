"""What a student is fine-tuned on: the texts chosen, as examples that fit."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from drp.engines.identity import resolve_model
from drp.engines.prompting import prompt_messages
from drp.engines.settings import StudentSettings
from drp.errors import TrainingError
from drp.recipe import Recipe
from drp.records import Failure, Target, listed_id
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.on_demand import Picked
from drp.training.settings import StudentModel

if TYPE_CHECKING:
    from drp.training.examples import Example


def to_train(student: StudentSettings) -> StudentModel:
    """Return the student as trainings take it."""
    return StudentModel(resolve_model(student.source), student.device, student.dtype, student.thinking_tags)


def choose(targets: Sequence[Target], most: int, seed: int) -> Sequence[Target]:
    """Return the texts to train on, at most ``most`` of each phase, in an order of their ids."""
    known = sorted((target.phase, target.id, index) for index, target in enumerate(targets))
    chosen: list[int] = []
    for _, same in groupby(known, key=lambda one: one[0]):
        found = [index for _, _, index in same]
        chosen += found if len(found) <= most else random.Random(seed).sample(found, most)
    return Picked(targets, chosen)


def training_fingerprint(chosen: Sequence[Target]) -> str:
    """Return the identity of a training set: the texts, not only which traces they came from."""
    return listed_id("set", ([t.id, t.thinking, t.answer, *([t.phase] if t.phase else [])] for t in chosen))


def examples_of(
    recipe: Recipe, tokenizer: Any, chosen: Sequence[Target], original: bool = False
) -> "list[Example]":
    """Return the targets as examples, or with ``original`` the student's own traces of the same problems."""
    from drp.training.examples import build_example

    return [
        build_example(
            tokenizer,
            target.id,
            [m.model_dump() for m in prompt_messages(recipe.prompt, target.question, target.task)],
            target.own_thinking if original else target.thinking,
            target.own_answer if original else target.answer,
            recipe.prompt.template_arguments,
            recipe.student.thinking_tags,
        )
        for target in chosen
    ]


def pairs_of(recipe: Recipe, tokenizer: Any, chosen: Sequence[Target]) -> "list[Example]":
    """Return examples that are preferred to the student's own traces."""
    better = examples_of(recipe, tokenizer, chosen)
    own = examples_of(recipe, tokenizer, chosen, original=True)
    return [
        replace(example, rejected_ids=worse.input_ids[worse.prompt_length :])
        for example, worse in zip(better, own, strict=True)
        if example.input_ids != worse.input_ids
    ]


def fitting_examples(
    recipe: Recipe, folder: StageFolder, tokenizer: Any, chosen: Sequence[Target]
) -> "tuple[list[Example], int]":
    """Return the examples to train on, and how many were too long: those are recorded, or refused."""
    from drp.training.examples import within_limit

    settings = recipe.train
    build = examples_of if settings.objective == "sft" else pairs_of
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
