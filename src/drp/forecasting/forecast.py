"""The forecast of a run: for every stage its GPU memory, hours and cost on given hardware, and what that rests on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from drp.forecasting.fine_tuning import parts, seconds_to_train, training_limit
from drp.forecasting.hardware import Hardware
from drp.forecasting.lengths import PROMPT_TOKENS
from drp.forecasting.memory import Memory, decoding_memory, layers_kept, scoring_memory, training_memory
from drp.forecasting.rates import (
    decoding_limit,
    seconds_to_decode,
    seconds_to_read,
    seconds_to_walk,
)
from drp.forecasting.schedule import schedule
from drp.forecasting.shapes import Shape
from drp.forecasting.work import Draws, Work
from drp.recipe import Recipe
from drp.records import Record
from drp.runs import layout
from drp.stages.estimate import estimate
from drp.teachers.load import assumed_lengths
from drp.training.settings import TrainSettings

STARTING_S = {"gpu": 60.0, "cpu": 8.0}
"""Imports, loading the weights, graphs; a guess, which a probe measures."""
ANSWERING = 1.27
"""Times the walk: the student teacher also lets the student answer after the pruned text (results/scoring: 4.1 s beside 15.1)."""
LARGE_BATCH, WORTH_SAYING = 256, 0.8
USUAL_TOKENS = 16_384
"""A budget with which an H100 is busy; see results/training."""


class StageForecast(Record):
    """What one stage is expected to take."""

    stage: str
    hours: float | None
    """``None`` where it is not forecast; ``detail`` says why."""
    gpus: int
    """How many it uses; 0: it runs without one."""
    tokens: float = 0.0
    """Drawn, scored or trained on."""
    memory_gib: float | None = None
    """Of each GPU."""
    fits: bool = True
    share: float | None = None
    """The least time that the hardware allows, over the time forecast."""
    gpu_usd: float = 0.0
    teacher_usd: float | None = None
    """What a language model's provider takes; ``None`` where none is asked or its price is not known."""
    detail: str = ""


class Forecast(Record):
    """What a run of a recipe is expected to take, before anything runs."""

    recipe: str
    student: str
    hardware: Hardware
    gpus: int
    stages: tuple[StageForecast, ...]
    advice: tuple[str, ...] = ()
    """What to lower where memory does not do, and other settings that cost time."""
    sources: tuple[str, ...] = ()
    """Where lengths and speeds come from."""
    probed: bool = False

    @property
    def hours(self) -> float:
        """All stages, one after the other, as far as they are forecast."""
        return sum(stage.hours or 0.0 for stage in self.stages)

    @property
    def gpu_hours(self) -> float:
        """Hours times GPUs."""
        return sum((stage.hours or 0.0) * stage.gpus for stage in self.stages)

    @property
    def usd(self) -> float:
        """GPUs and teacher together, each stage holding only the GPUs that it uses."""
        return sum(stage.gpu_usd + (stage.teacher_usd or 0.0) for stage in self.stages)


@dataclass(frozen=True)
class Speeds:
    """What a probe found: seconds of each stage beside those of the tables, and what starting it takes."""

    factor: dict[str, float] = field(default_factory=dict[str, float])
    starting_s: dict[str, float] = field(default_factory=dict[str, float])

    def seconds(self, stage: str, computed: float, hardware: Hardware) -> float:
        """Return what a stage takes that the tables give so many seconds."""
        starting = self.starting_s.get(stage, STARTING_S[hardware.family])
        return starting + self.factor.get(stage, 1.0) * computed


def forecast(
    recipe: Recipe,
    shape: Shape,
    hardware: Hardware,
    work: Work,
    *,
    gpus: int = 1,
    speeds: Speeds | None = None,
) -> Forecast:
    """Return what a run of a recipe is expected to take.

    Args:
        recipe: The recipe.
        shape: The student's.
        hardware: One of the GPUs.
        work: What there is to do.
        gpus: How many there are.
        speeds: What a probe found; left out: the tables are taken as they are.
    """
    speeds = speeds or Speeds()
    advice: list[str] = []
    known: dict[str, Callable[[], StageForecast]] = {
        layout.PRUNE: lambda: _pruning(recipe, shape, hardware, work, speeds, advice),
        layout.TRAIN: lambda: _training(recipe, shape, hardware, work, gpus, speeds, advice),
    }
    drawn = {draws.stage: draws for draws in work.draws}
    stages: list[StageForecast] = []
    for name in (*recipe.method.stages, layout.EVALUATE_BASE, layout.EVALUATE_DISTILLED):
        if name in drawn:
            engine = (recipe.generate if name == layout.GENERATE else recipe.evaluate).engine
            copies = engine.copies(gpus) if engine.in_process else 0
            stages.append(_drawing(drawn[name], copies, shape, hardware, speeds, advice))
        elif name == layout.EXPLORE or (name == layout.TRAIN and recipe.method.trains_on == "problems"):
            detail = f"not forecast for method {recipe.method.kind}"
            stages.append(StageForecast(stage=name, hours=None, gpus=1, detail=detail))
        else:
            stages.append(known[name]())
    return Forecast(
        recipe=recipe.name,
        student=recipe.student.source,
        hardware=hardware,
        gpus=gpus,
        stages=tuple(stages),
        advice=tuple(dict.fromkeys(advice)),
        sources=tuple(work.sources),
        probed=bool(speeds.factor),
    )


def drawing_seconds(shape: Shape, draws: Draws, hardware: Hardware, slots: int) -> tuple[float, float]:
    """Return the seconds that completions take by the tables, and those below which they cannot come."""
    steps = schedule(draws.lengths, slots, draws.batch, PROMPT_TOKENS, gpu=hardware.family == "gpu")
    prompts = PROMPT_TOKENS * len(draws.lengths)
    reading = seconds_to_read(shape, prompts, hardware)
    return seconds_to_decode(shape, steps, hardware) + reading, decoding_limit(shape, steps, hardware)


def training_seconds(
    shape: Shape, settings: TrainSettings, texts: list[int], hardware: Hardware, processes: int = 1
) -> tuple[float, float]:
    """Return the seconds of training by the tables, and those at the matrix peak."""
    rows = [PROMPT_TOKENS + n for n in texts]
    once = seconds_to_train(shape, rows, settings, hardware, processes)
    least = training_limit(shape, settings.texts * sum(rows), settings, hardware) / processes
    return settings.epochs * once, settings.epochs * least


def walking_seconds(shape: Shape, trace_tokens: float, traces: int, passes: int, hardware: Hardware) -> float:
    """Return the seconds in which the student teacher prunes traces of a mean length."""
    return seconds_to_walk(shape, [0.85 * trace_tokens], hardware) * traces * passes * ANSWERING


def _drawing(
    draws: Draws, copies: int, shape: Shape, hardware: Hardware, speeds: Speeds, advice: list[str]
) -> StageForecast:
    if not copies:
        detail = "an endpoint draws them: not forecast"
        return StageForecast(stage=draws.stage, hours=None, gpus=0, tokens=draws.tokens, detail=detail)
    part = layout.GENERATE if draws.stage == layout.GENERATE else layout.EVALUATE
    memory = decoding_memory(
        shape, hardware, draws.batch, PROMPT_TOKENS, draws.limit, draws.stage, part, draws.lengths
    )
    if memory.advice:
        advice.append(memory.advice)
    each = replace(draws, lengths=draws.lengths[::copies])
    computed, least = drawing_seconds(shape, each, hardware, max(1, memory.slots or 1))
    if more := _more_at_once(each, shape, hardware, part, computed):
        advice.append(more)
    seconds = speeds.seconds(draws.stage, computed, hardware)
    mean = draws.tokens / max(1, len(draws.lengths))
    workers = f" by each of {copies} workers" if copies > 1 else ""
    detail = f"{len(draws.lengths):,} × {mean:,.0f} tokens, {memory.slots} at once{workers}"
    return _stage(draws.stage, seconds, copies, hardware, memory, draws.tokens, least, detail)


def _more_at_once(draws: Draws, shape: Shape, hardware: Hardware, part: str, computed: float) -> str:
    """Return which batch size would save a fifth of the time or more, where memory holds so many rows."""
    if hardware.family == "cpu" or draws.batch >= LARGE_BATCH or len(draws.lengths) < 4 * LARGE_BATCH:
        return ""
    room = decoding_memory(
        shape, hardware, LARGE_BATCH, PROMPT_TOKENS, draws.limit, part, part, draws.lengths
    )
    size = (room.slots or 0) // 32 * 32
    if size <= draws.batch:
        return ""
    more = Draws(draws.stage, draws.lengths, draws.limit, size)
    share = drawing_seconds(shape, more, hardware, size)[0] / computed
    if share > WORTH_SAYING:
        return ""
    return f"{draws.stage}: {part}.engine.batch_size={size} fits too and takes about {100 * share:.0f} % of the time"


def _pruning(
    recipe: Recipe, shape: Shape, hardware: Hardware, work: Work, speeds: Speeds, advice: list[str]
) -> StageForecast:
    settings, tokens = recipe.prune, work.traces * work.trace_tokens
    teacher = settings.teacher
    if asked := teacher.asked():
        expected = estimate(settings, [assumed_lengths(round(work.trace_tokens))] * work.traces)
        usd = expected and (expected.batch_usd if expected.batch else expected.online_usd)
        hours = expected.hours if expected and work.traces else 0.0
        detail = f"{work.traces:,} traces, by {asked[0]}"
        return StageForecast(
            stage=layout.PRUNE, hours=hours, gpus=0, tokens=tokens, teacher_usd=usd, detail=detail
        )
    if not teacher.loads_student:
        seconds = speeds.seconds(layout.PRUNE, 0.05 * work.traces, hardware)
        detail = f"{work.traces:,} traces, by {teacher.kind}, which needs no model"
        return StageForecast(stage=layout.PRUNE, hours=seconds / 3600, gpus=0, tokens=tokens, detail=detail)
    memory = scoring_memory(shape, hardware, work.trace_tokens)
    if memory.advice:
        advice.append(memory.advice)
    passes = int(getattr(teacher, "passes", 1))
    computed = walking_seconds(shape, work.trace_tokens, work.traces, passes, hardware)
    seconds = speeds.seconds(layout.PRUNE, computed, hardware)
    detail = f"{work.traces:,} traces of {work.trace_tokens:,.0f} tokens, by the student itself"
    return _stage(layout.PRUNE, seconds, 1, hardware, memory, tokens, None, detail)


def _training(
    recipe: Recipe, shape: Shape, hardware: Hardware, work: Work, gpus: int, speeds: Speeds, advice: list[str]
) -> StageForecast:
    settings = recipe.train
    processes = gpus if settings.processes == "auto" else settings.processes
    processes = processes if hardware.family == "gpu" else 1
    if processes < gpus:
        advice.append(f"train uses {processes} of {gpus} GPUs: set train.processes=auto")
    longest = min(settings.max_length, PROMPT_TOKENS + max(work.texts, default=0))
    rows = [PROMPT_TOKENS + n for n in work.texts]
    largest = max(parts(rows, settings, gpu=hardware.family == "gpu", processes=processes), default=1)
    memory = training_memory(shape, hardware, settings, longest, largest)
    if memory.advice:
        advice.append(memory.advice)
    elif hardware.family == "gpu":
        advice += _quicker(shape, settings, hardware, longest)
    share = work.examples / len(work.texts) if work.texts else 0.0
    computed, least = training_seconds(shape, settings, work.texts, hardware, processes)
    computed, least = computed * share, least * share
    if settings.objective == "preference":  # the untrained student reads every text, too
        computed, least = computed * 1.5, least * 1.5
    tokens = sum(work.texts) * share * settings.epochs
    seconds = speeds.seconds(layout.TRAIN, computed, hardware)
    detail = f"{work.examples:,} texts × {settings.epochs:g}, {_at_once(settings)}{_again(shape, settings, hardware, largest)}"
    return _stage(layout.TRAIN, seconds, processes, hardware, memory, tokens, least, detail)


def _at_once(settings: TrainSettings) -> str:
    if settings.device_tokens is None:
        return f"{settings.device_batch} at once"
    return f"{settings.device_tokens:,} tokens at once"


def _again(shape: Shape, settings: TrainSettings, hardware: Hardware, tokens: int) -> str:
    """Return what is worth knowing of the largest part: how many layers it computes again, and what was not measured."""
    again = shape.num_hidden_layers - layers_kept(shape, hardware, settings, tokens)
    said = f", at most {again} of {shape.num_hidden_layers} layers computed again" if again else ""
    rough = [
        name
        for name, is_so in (("all weights", not settings.lora), ("four bits", settings.quantise != "none"))
        if is_so
    ]
    return said + "".join(f"; {name}: by arithmetic, nothing like it was measured" for name in rough)


def _quicker(shape: Shape, settings: TrainSettings, hardware: Hardware, longest: int) -> list[str]:
    """Return which settings would be faster, give the same result and fit, where there are any."""
    if settings.checkpointing is True:
        return [
            "train: train.checkpointing=auto gives the same result, and computes again only in layers for which memory is short"
        ]
    if settings.device_tokens is not None:
        return []
    tokens = min(USUAL_TOKENS, settings.effective_batch * longest)
    larger = settings.model_copy(update={"device_tokens": USUAL_TOKENS})
    if (
        settings.device_batch * longest >= tokens
        or not training_memory(shape, hardware, larger, longest).fits
    ):
        return []
    return [f"train: train.device_tokens={USUAL_TOKENS} fits too, gives the same result, and is faster"]


def _stage(
    stage: str,
    seconds: float,
    gpus: int,
    hardware: Hardware,
    memory: Memory,
    tokens: float,
    least: float | None,
    detail: str,
) -> StageForecast:
    used = gpus if hardware.family == "gpu" else 0
    return StageForecast(
        stage=stage,
        hours=seconds / 3600,
        gpus=used,
        tokens=tokens,
        memory_gib=round(memory.gib, 1),
        fits=memory.fits,
        share=least / seconds if least else None,
        gpu_usd=seconds / 3600 * gpus * hardware.price,
        detail=detail,
    )
