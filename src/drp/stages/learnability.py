"""Learnability of a training set: how far its texts are from what the untrained student would write."""

import gc
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drp.errors import DrpError
from drp.recipe import Recipe
from drp.records import Failure, Record, Target
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import write_atomically
from drp.stages.training_set import examples_of, to_train

if TYPE_CHECKING:
    from drp.training.examples import Example

SAMPLE = 64
"""Most examples that are measured."""


class Learnability(Record):
    """Mean NLL per response token under the untrained student, in nats."""

    examples: int
    own_trace: float
    pruned: float
    own_tokens: float
    """Mean response tokens of the student's own traces."""
    pruned_tokens: float


def learnability_on_file(recipe: Recipe, folder: StageFolder, chosen: Sequence[Target]) -> str:
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
    student = to_train(recipe.student)
    tokenizer = load_tokenizer(student.path)
    few = [chosen[n] for n in random.Random(0).sample(range(len(chosen)), min(SAMPLE, len(chosen)))]
    own, pruned = examples_of(recipe, tokenizer, few, original=True), examples_of(recipe, tokenizer, few)
    model = load_model(student.path, student.device, student.dtype)

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
