"""Scoring pruned traces under the student: how natural each is to it, and what every deletion costs."""

from collections.abc import Sequence
from typing import Protocol

from drp.engines.settings import StudentServer
from drp.engines.student_scoring import open_student
from drp.pruning.conclusion import shown
from drp.recipe import PromptSettings, PruneSettings, StudentSettings
from drp.records import Check, EditScript, Trace
from drp.teachers.counting import counting
from drp.teachers.seams import Likelihoods, Seam, measure


class Scorer(Protocol):
    """Returns what a pruned trace is to the student."""

    async def __call__(
        self, trace: Trace, units: Sequence[str], script: EditScript, answer: str
    ) -> Likelihoods:
        """Return the likelihoods of a trace and of what a script makes of it; see :func:`drp.teachers.seams.measure`."""
        ...


class StudentScorer:
    """Scores with the student's own weights, whatever many coroutines ask together.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        EngineError: See :func:`drp.engines.student_scoring.open_student`.
    """

    def __init__(
        self, student: StudentSettings, prompt: PromptSettings, server: StudentServer | None = None
    ) -> None:
        self._scorer, self._spelling = open_student(student, prompt, server)
        self._counts = counting("digits", self._spelling)

    async def __call__(
        self, trace: Trace, units: Sequence[str], script: EditScript, answer: str
    ) -> Likelihoods:
        """Return the likelihoods of a trace and of what a script makes of it."""
        return await measure(self._scorer, self._spelling, self._counts, trace, units, script, answer)


def likelihood_checks(
    found: Likelihoods, units: Sequence[str], settings: PruneSettings
) -> tuple[Check, Check]:
    """Return the checks ``learnable`` and ``seams``, with the figures of every seam; without a limit both pass."""
    worst = max(found.seams, key=lambda seam: seam.worst_fall, default=None)
    where = "" if worst is None else f"; {_said(worst, units)}"
    most_rise, most_fall = settings.max_nll_rise, settings.max_seam_fall
    natural = most_rise is None or found.rise <= most_rise
    figures = {"original": found.original, "pruned": found.pruned, "answer_alone": found.answer_alone}
    learnable = Check(
        name="learnable",
        passed=natural,
        figures={name: round(value, 4) for name, value in figures.items()},
        detail="" if natural else f"{found.rise:.3f} nats per token above the original{where}",
    )
    smooth = most_fall is None or worst is None or worst.worst_fall <= most_fall
    falls = {"worst": worst.worst_fall, "worst_unit": worst.worst} if worst else {}
    for seam in found.seams:
        falls[f"units {seam.first}-{seam.last}"] = seam.coherence
    seams = Check(
        name="seams",
        passed=smooth,
        figures={"seams": len(found.seams), **{name: round(value, 2) for name, value in falls.items()}},
        detail="" if smooth or worst is None else _said(worst, units),
    )
    return learnable, seams


def _said(seam: Seam, units: Sequence[str]) -> str:
    """Say which sentence lost its ground, and what went before it."""
    behind = shown(units[seam.worst], 160) if seam.worst < len(units) else "the answer part"
    gone = shown("".join(units[seam.first : seam.last + 1]), 160)
    return f"{behind} is {seam.worst_fall:.1f} nats less likely since units {seam.first}-{seam.last} went: {gone}"
