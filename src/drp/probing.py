"""A short run of a recipe for real, by which its forecast is put right: on this machine, with its own student.

The whole job runs twice on a few problems, in a folder of its own that is removed. Seconds by the tables are compared with
those that passed, stage by stage: what grows with the work is a factor, what does not is the starting.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from drp.errors import DrpError, TrainingError
from drp.forecasting.forecast import Speeds, drawing_seconds, training_seconds, walking_seconds
from drp.forecasting.hardware import Hardware
from drp.forecasting.lengths import PROMPT_TOKENS, expected, mean_under
from drp.forecasting.memory import decoding_memory
from drp.forecasting.shapes import Shape, shape_of, short_name
from drp.forecasting.work import Draws, Measured, measured
from drp.recipe import Recipe, load_recipe
from drp.records import PrunedTrace, Trace
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.runs.stage import Progress, Say, silent

FEW, MORE = 8, 24
"""Problems of each set in the two short runs."""
LEAST_S = 0.2
"""Seconds by which the two must differ for a factor to be read from them."""


@dataclass(frozen=True)
class Passed:
    """A stage of a short run: what the tables say of it, and the seconds it took."""

    stage: str
    computed: float
    seconds: float


def probe_run(
    recipe: Recipe, hardware: Hardware, progress: Progress, say: Say, sizes: Sequence[int] = (FEW, MORE)
) -> tuple[Measured, Speeds]:
    """Run a recipe on a few problems and return what that says of the student and of the speed of each stage.

    Args:
        recipe: The recipe; its student, sampling and batch sizes are used as they are. A language model is not asked:
            the rules prune instead, and nothing is paid.
        hardware: What it runs on, so that the tables speak of the same.
        progress: Where stages report how far they are.
        say: Told what is run.
        sizes: Problems of each set, of the shorter and the longer run.

    Raises:
        DrpError: It cannot run; the message says what to do.
    """
    trial, shape = _trial(recipe, say), shape_of(recipe.student.source)
    passed: list[list[Passed]] = []
    traces: list[Trace] = []
    pruned: list[PrunedTrace] = []
    evaluated: list[Trace] = []
    with tempfile.TemporaryDirectory(prefix="drp-probe-") as folder:
        for size in sizes:
            say(f"probe: the whole job on {size} problems of each set")
            reader, seconds = timed_run(trial, Path(folder) / str(size), size, progress)
            traces = reader.stage(layout.GENERATE).wanted_records(Trace)
            pruned = reader.stage(layout.PRUNE).wanted_records(PrunedTrace)
            evaluated = reader.stage(layout.EVALUATE_BASE).wanted_records(Trace)
            passed.append(_passed(trial, reader, seconds, shape, hardware))
    found = measured(traces, pruned, f"a probe of {sizes[-1]} problems")
    longer = _longer(recipe, [*traces, *evaluated])
    return replace(found, drawn=(), right=None, longer=longer), _speeds(passed)


def _trial(recipe: Recipe, say: Say) -> Recipe:
    changes = ["evaluate.runs=1", "generate.samples=1"]
    if recipe.prune.teacher.asked():
        say(
            "probe: the rules prune in place of the language model, which would cost money; its own cost is estimated"
        )
        changes += ["prune.teacher=rules", "prune.answer=keep", "prune.candidates=1"]
    return load_recipe(recipe, changes)


class StageClock:
    """Takes the time of every stage, and passes on what stages report.

    Where the student runs on a CPU that is processor time, this process's and its helpers': what others do on the machine
    meanwhile does not count. Elsewhere it is time as it passes.
    """

    def __init__(self, progress: Progress, *, processor: bool) -> None:
        self._progress, self._processor = progress, processor
        self._last, self._stage = self._now(), ""
        self.seconds: dict[str, float] = {}
        """Of each stage that has ended, from the end of the one before: loading belongs to it."""

    def _now(self) -> float:
        if not self._processor:
            return time.monotonic()
        used = os.times()
        return used.user + used.system + used.children_user + used.children_system

    def begin(self, stage: str, done: int, wanted: int) -> None:
        """See :class:`drp.runs.stage.Progress`."""
        self._stage = stage
        self._progress.begin(stage, done, wanted)

    def advance(self, items: int, tokens: int = 0) -> None:
        """See :class:`drp.runs.stage.Progress`."""
        self._progress.advance(items, tokens)

    def remark(self, text: str) -> None:
        """See :class:`drp.runs.stage.Progress`."""
        self._progress.remark(text)

    def end(self, note: str) -> None:
        """See :class:`drp.runs.stage.Progress`."""
        now = self._now()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._last
        self._last = now
        self._progress.end(note)


def timed_run(
    recipe: Recipe, folder: Path, limit: int, progress: Progress
) -> tuple[RunReader, dict[str, float]]:
    """Run all stages of a recipe in a new folder, and return what is in it and the seconds of each stage."""
    from drp.engines.local import in_process
    from drp.pipeline import Pipeline
    from drp.runs.folder import RunFolder

    on_cpu = in_process().pick_device(recipe.student.device).type == "cpu"
    clock = StageClock(progress, processor=on_cpu)
    with RunFolder(folder, silent) as held:
        pipeline = Pipeline(recipe, held, clock, silent, limit, partial=True)
        for stage in (*recipe.method.stages, layout.EVALUATE):
            try:
                pipeline.run(stage)
            except TrainingError as error:  # so few problems may leave nothing to train on
                clock.end(f"left out: {error}")
    return RunReader(folder, silent), clock.seconds


def _passed(
    recipe: Recipe, reader: RunReader, seconds: dict[str, float], shape: Shape, hardware: Hardware
) -> list[Passed]:
    """Return the stages of a short run beside what the tables say of the very work that they did."""
    found: list[Passed] = []

    def add(stage: str, computed: float) -> None:
        if computed and stage in seconds:
            found.append(Passed(stage, computed, seconds[stage]))

    for stage in (layout.GENERATE, layout.EVALUATE_BASE, layout.EVALUATE_DISTILLED):
        lengths = [t.usage.completion_tokens for t in reader.stage(stage).wanted_records(Trace) if t.usage]
        settings = recipe.generate if stage == layout.GENERATE else recipe.evaluate
        limit, batch = settings.sampling.max_new_tokens, int(getattr(settings.engine, "batch_size", 64))
        room = decoding_memory(shape, hardware, batch, PROMPT_TOKENS, limit, stage, stage, lengths)
        if lengths and settings.engine.in_process:
            draws = Draws(stage, lengths, limit, batch)
            add(stage, drawing_seconds(shape, draws, hardware, max(1, room.slots or 1))[0])
    pruned = reader.stage(layout.PRUNE).wanted_records(PrunedTrace)
    if pruned and recipe.prune.teacher.loads_student:
        passes = int(getattr(recipe.prune.teacher, "passes", 1))
        each = [walking_seconds(shape, p.tokens_before, 1, passes, hardware) for p in pruned]
        add(layout.PRUNE, sum(each))
    elif pruned:
        add(layout.PRUNE, 0.05 * len(pruned))
    texts = [p.tokens_after for p in pruned if p.accepted]
    if texts and layout.PRUNE in recipe.method.stages:
        add(layout.TRAIN, training_seconds(shape, recipe.train, texts, hardware)[0])
    return found


def _speeds(passed: Sequence[Sequence[Passed]]) -> Speeds:
    """Return factors and starting seconds from runs of two sizes: a line through both, never with a negative part.

    Examples:
        >>> few, more = Passed("train", 2.0, 9.0), Passed("train", 6.0, 17.0)
        >>> _speeds([[few], [more]])
        Speeds(factor={'train': 2.0}, starting_s={'train': 5.0})
    """
    factor: dict[str, float] = {}
    starting: dict[str, float] = {}
    short = {one.stage: one for one in passed[0]}
    for long in passed[-1]:
        before = short.get(long.stage, Passed(long.stage, 0.0, 0.0))
        grown, more = long.seconds - before.seconds, long.computed - before.computed
        slope = grown / more if more > 0 and grown > LEAST_S else long.seconds / long.computed
        slope = min(slope, long.seconds / long.computed)
        factor[long.stage] = slope
        starting[long.stage] = max(0.0, long.seconds - slope * long.computed)
    if not factor:
        raise DrpError(
            "the probe measured no stage: its engines are endpoints, or the method has no stage that is forecast"
        )
    return Speeds(factor, starting)


def _longer(recipe: Recipe, traces: Sequence[Trace]) -> float:
    """Return how much longer the student writes than the tables expect, over all that it drew."""
    student = short_name(recipe.student.model)
    ratios: list[tuple[float, float]] = []
    for trace in traces:
        if trace.usage and trace.usage.completion_tokens:
            what = expected(student, trace.benchmark)
            mean = mean_under(what.before, recipe.generate.sampling.max_new_tokens, what.cut)
            ratios.append((float(trace.usage.completion_tokens), mean))
    return fmean(n for n, _ in ratios) / fmean(m for _, m in ratios) if ratios else 1.0
