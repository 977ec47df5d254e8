"""CoT-Valve: chains of many lengths from models between the student and a terse sibling, longest first.

The models in between are interpolations of the weights. One adapter is trained for one pass a length, from
the student's own traces to the shortest; scaling it afterwards moves the length on (``train.adapter_scale``).
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from drp.engines.identity import model_identity, resolve_model
from drp.methods.base import MethodContext, MethodSettings, of_trace, usable
from drp.records import Target, Trace
from drp.runs.layout import EXPLORE, GENERATE, TRAIN


class ValveSettings(MethodSettings):
    """Fine-tunes on chains of many lengths from models in between, from long to short."""

    kind: Literal["cot_valve"] = "cot_valve"
    short_model: str | None = None
    """A sibling of the student that writes short chains: a checkpoint folder or hub id with the same weights' names."""
    shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """How far from the student to the short model each model in between lies."""

    stages: ClassVar[tuple[str, ...]] = (GENERATE, EXPLORE, TRAIN)
    summary: ClassVar[str] = "fine-tune on chains from models in between, from long to short"

    @model_validator(mode="after")
    def _has_sibling(self) -> "ValveSettings":
        if self.short_model is None:
            raise ValueError(
                "method cot_valve needs method.short_model: a sibling of the student that writes short chains"
            )
        return self

    def explore(self, context: MethodContext) -> None:
        """Draw a trace of every training problem from every model in between."""
        short = model_identity(self.short_model or "")
        for share in self.shares:
            context.explore_with(
                f"share-{share:g}",
                context.training_problems(),
                {"short": short, "share": share},
                model=partial(self._between, context.student.source, share),
            )

    def _between(self, student: str, share: float, folder: Path) -> str:
        from drp.training.saving import interpolate

        shutil.rmtree(folder, ignore_errors=True)
        interpolate(resolve_model(student), resolve_model(self.short_model or ""), share, folder)
        return str(folder)

    def targets(self, context: MethodContext) -> list[Target]:
        """Return the right traces of every model, one phase each, those of the longest first."""
        own = {t.problem_id: t for t in context.traces()}
        sets = [list(own.values()), *(context.explored(f"share-{share:g}") for share in self.shares)]
        kept = [[trace for trace in traces if usable(trace)] for traces in sets]
        ordered = sorted((traces for traces in kept if traces), key=_length, reverse=True)
        found: dict[str, Target] = {}
        for phase, traces in enumerate(ordered):
            for trace in traces:
                target = of_trace(trace, own.get(trace.problem_id), phase)
                identity = f"{trace.id}/{phase}"
                found[identity] = target.model_copy(update={"id": identity})
        return list(found.values())


def _length(traces: Sequence[Trace]) -> float:
    return sum(t.usage.completion_tokens if t.usage else len(t.thinking) for t in traces) / len(traces)
