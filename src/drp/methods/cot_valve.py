"""CoT-Valve: chains of many lengths from models between the student and a terse sibling, longest first.

The models in between are interpolations of the weights. One adapter is trained for one pass a length, from
the student's own traces to the shortest; scaling it afterwards moves the length on (``train.adapter_scale``).
"""

import shutil
from functools import partial
from pathlib import Path

from drp.engines.identity import model_identity, resolve_model
from drp.methods.base import Method, Workshop, of_trace, usable
from drp.recipe import Recipe
from drp.records import Target, Trace
from drp.runs.layout import EXPLORE, GENERATE, TRAIN


def _between(recipe: Recipe, share: float, folder: Path) -> str:
    from drp.training.saving import interpolate

    shutil.rmtree(folder, ignore_errors=True)
    student, short = resolve_model(recipe.student.model), resolve_model(recipe.valve.short_model or "")
    interpolate(student, short, share, folder)
    return str(folder)


def explore(work: Workshop) -> None:
    """Draw a trace of every training problem from every model in between."""
    valve = work.recipe.valve
    short = model_identity(valve.short_model or "")
    for share in valve.shares:
        work.explore_with(
            f"share-{share:g}", work.training_problems(), {"short": short, "share": share},
            model=partial(_between, work.recipe, share),
        )  # fmt: skip


def targets(work: Workshop) -> list[Target]:
    """Return the right traces of every model, one phase each, those of the longest first."""
    own = {t.problem_id: t for t in work.traces()}
    sets = [list(own.values()), *(work.explored(f"share-{share:g}") for share in work.recipe.valve.shares)]
    kept = [[trace for trace in traces if usable(trace)] for traces in sets]
    ordered = sorted((traces for traces in kept if traces), key=_length, reverse=True)
    found: dict[str, Target] = {}
    for phase, traces in enumerate(ordered):
        for trace in traces:
            target = of_trace(trace, own.get(trace.problem_id), phase)
            identity = f"{trace.id}/{phase}"
            found[identity] = target.model_copy(update={"id": identity})
    return list(found.values())


def _length(traces: list[Trace]) -> float:
    return sum(t.usage.completion_tokens if t.usage else len(t.thinking) for t in traces) / len(traces)


METHOD = Method(
    "cot_valve", (GENERATE, EXPLORE, TRAIN),
    "fine-tune on chains from models in between, from long to short", targets, explore,
)  # fmt: skip
