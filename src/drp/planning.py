"""Before anything runs: what a recipe would do, and what its teacher would cost."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from drp.benchmarks.registry import ProblemSet
from drp.benchmarks.sizes import how_many
from drp.engines.identity import resolve_model
from drp.errors import DataError, DrpError
from drp.forecasting.forecast import Forecast, Speeds, forecast, walking_seconds
from drp.forecasting.hardware import Hardware, hardware_of
from drp.forecasting.shapes import shape_of
from drp.forecasting.work import Measured, on_file, work_of
from drp.grading.grader import Grader
from drp.on_file import teacher_context
from drp.preflight import preflight
from drp.recipe import PruneSettings, Recipe
from drp.records import Trace, Usage
from drp.runs import layout
from drp.runs.concurrency import run_until_done
from drp.runs.folder import RunFolder
from drp.runs.reader import RunReader
from drp.runs.stage import Say
from drp.stages.checking import Checker
from drp.stages.estimate import (
    PAPER_TRACE_TOKENS,
    Estimate,
    estimate,
    probe,
    worth_pruning,
)
from drp.teachers.llm import LlmSettings
from drp.teachers.load import CHARS_PER_TOKEN, assumed_lengths, lengths_of
from drp.teachers.registry import TEACHERS
from drp.text.tokens import FileTokenCounter


def estimate_costs(
    recipe: Recipe,
    folder: Path,
    traces_file: Path | None,
    say: Say,
    *,
    limit: int | None = None,
    trace_tokens: int | None = None,
    probe_traces: int = 0,
    hardware: Hardware | None = None,
) -> list[Estimate]:
    """Return what the recipe's teacher, and the other protocols, are expected to cost.

    Args:
        recipe: The recipe.
        folder: The run folder, whose traces are measured if it has any.
        traces_file: Measure these traces instead.
        say: Told where the lengths come from.
        limit: At most this many traces, or problems per problem set.
        trace_tokens: Tokens a trace is taken to have where none is on file.
        probe_traces: How many traces to prune for real instead; costs money.
        hardware: The GPU on which the student would prune by itself; left out: an H100.

    Raises:
        DrpError: A probe was asked for and there is no trace, or no model to ask.
    """
    from drp.benchmarks.files import read_traces

    settings = recipe.prune
    if not settings.teacher.asked() and not settings.teacher.loads_student:
        raise DrpError(
            f"the {settings.teacher.kind} teacher costs nothing; name another with prune.teacher=edit_script, or student"
        )
    if traces_file:
        traces = read_traces(traces_file, say)[:limit]
    else:
        traces = RunReader(folder, say).stage(layout.GENERATE).wanted_records(Trace)
    with Grader() as grader:
        worth = worth_pruning(traces, settings, grader)
        if probe_traces:
            if not settings.teacher.asked():
                raise DrpError(
                    "drp estimate probes language models; the student's own time is measured by drp plan RECIPE --probe"
                )
            if not worth:
                raise DrpError("a probe needs traces: run `drp generate` first, or give --traces FILE")
            counter = FileTokenCounter(resolve_model(settings.tokenizer or "mini"))
            with RunFolder(folder) as held:
                checker = Checker(settings, grader, counter, tags=recipe.student.thinking_tags)
                context = teacher_context(recipe, held, say)
                return [run_until_done(probe(worth, checker, context, probe_traces))]
    if traces:
        say(f"measured on {len(worth)} traces worth pruning of {len(traces)} on file")
        lengths = [lengths_of(trace) for trace in worth]
        tokens = round(sum(_tokens(trace) for trace in worth) / max(1, len(worth)))
    else:
        problems = sum(how_many(s, limit) for s in recipe.problems)
        tokens = trace_tokens or PAPER_TRACE_TOKENS
        say(f"no traces on file: assuming {tokens:,} tokens each (--trace-tokens), all worth pruning")
        lengths = [assumed_lengths(tokens)] * problems * recipe.generate.samples
    found = [(other, estimate(other, lengths, name)) for name, other in _alternatives(settings)]
    own = settings.teacher
    priced = [one.model_copy(update={"chosen": other.teacher == own}) for other, one in found if one]
    return [*priced, *_by_the_student(recipe, len(lengths), tokens, hardware or hardware_of("h100"), say)]


def _tokens(trace: Trace) -> float:
    """Return a trace's tokens; where nobody counted them, about as many as its characters make."""
    if trace.usage and trace.usage.completion_tokens:
        return trace.usage.completion_tokens
    return (len(trace.thinking) + len(trace.answer)) / CHARS_PER_TOKEN


def _by_the_student(recipe: Recipe, traces: int, tokens: int, hardware: Hardware, say: Say) -> list[Estimate]:
    """Return what it takes that the student prunes the traces by itself: hours of a GPU, forecast."""
    chosen = recipe.prune.teacher.loads_student
    passes = int(getattr(recipe.prune.teacher, "passes", 1)) if chosen else 1
    try:
        shape = shape_of(recipe.student.source)
    except DataError as error:  # the others are priced all the same
        say(f"what the student teacher takes is not known: {error}")
        return []
    hours = walking_seconds(shape, tokens, traces, passes, hardware) / 3600
    usd = hours * hardware.price if hardware.family == "gpu" else None
    return [
        Estimate(
            protocol="student",
            model=recipe.student.source,
            chosen=chosen,
            traces=traces,
            requests=0,
            usage=Usage(prompt_tokens=0, completion_tokens=0),
            online_usd=usd,
            hours=hours,
            gpu=f"{hardware.name} at ${hardware.price:g} an hour",
        )
    ]


def forecast_run(
    recipe: Recipe,
    folder: Path,
    hardware: Hardware,
    *,
    gpus: int = 1,
    limit: int | None = None,
    found: Measured | None = None,
    speeds: Speeds | None = None,
) -> Forecast:
    """Return what a run of a recipe is expected to take on hardware, stage by stage; runs and writes nothing.

    Args:
        recipe: The recipe.
        folder: The run folder, whose traces are measured if it has any.
        hardware: One GPU.
        gpus: How many there are.
        limit: At most this many problems per problem set.
        found: What a probe found of the student, instead of what the folder knows.
        speeds: What a probe found of its speed.

    Raises:
        DataError: The student's shape, or how many problems there are, is not known.
    """
    shape = shape_of(recipe.student.source)
    work = work_of(recipe, found or on_file(folder), limit)
    return forecast(recipe, shape, hardware, work, gpus=gpus, speeds=speeds)


def _alternatives(settings: PruneSettings) -> Iterator[tuple[str, PruneSettings]]:
    """Yield the prices worth knowing beside a teacher's own: other protocols with the same model, and no decomposition."""
    given = settings.teacher.model_dump(exclude_unset=True)
    for name in TEACHERS.names():
        kind = TEACHERS.settings(name)
        if not issubclass(kind, LlmSettings):
            continue
        ways: dict[str, Mapping[str, str]] = {"": {}}
        ways |= {way: set_ for way, set_ in kind.protocols.items() if "segmentation" not in set_}
        told = {field for set_ in ways.values() for field in set_}
        shared = {f: value for f, value in given.items() if f in kind.model_fields and f not in told}
        for way, set_ in ways.items():
            other = kind.model_validate({**shared, "kind": name, "segmentation": "skill", **set_})
            yield f"{name}/{way}".rstrip("/"), settings.model_copy(update={"teacher": other})
    if isinstance(settings.teacher, LlmSettings):
        whole = settings.teacher.model_copy(update={"segmentation": "none"})
        yield "none", settings.model_copy(update={"teacher": whole})


def plan(recipe: Recipe, run: Path, limit: int | None = None) -> list[str]:
    """Return what a run of the recipe would do, one line a step, and what it needs, without running or fetching anything."""
    method = recipe.method
    student = Path(resolve_model(recipe.student.source))
    where = (
        "on this machine" if student.is_dir() else "a hub id, or a folder that an earlier run has yet to make"
    )

    def counted(problems: ProblemSet) -> int:
        try:
            return how_many(problems, limit)
        except DataError:
            return 0  # that it cannot be read stands below, among what is missing

    asked = recipe.prune.teacher.asked()
    lines = {
        "generate": f"{sum(map(counted, recipe.problems)):,} problems × {recipe.generate.samples}, at most "
        f"{recipe.generate.sampling.max_new_tokens:,} tokens each, by {recipe.generate.engine.name}",
        "explore": method.summary,
        "prune": f"teacher {recipe.prune.teacher.kind}"
        + (f" ({asked[0]})" if asked else ", which needs no key"),
        "train": method.summary,
        "evaluate": ", ".join(f"{s.benchmark} ({counted(s):,})" for s in recipe.evaluate.benchmarks)
        + f" × {recipe.evaluate.runs} runs, before and after",
    }
    head = [f"recipe {recipe.name}: method {method.kind}", f"student {recipe.student.source}: {where}"]
    stages = (*method.stages, "evaluate")
    looks = preflight(recipe, run, stages, limit, hub=False)
    missing = sum(look.state == "problem" for look in looks)
    verdict = f"{missing} problem(s) would stop this run" if missing else "nothing is known to be missing"
    steps = [f"{stage}: {lines[stage]}" for stage in stages]
    return [*head, *steps, "", "what it needs:", *(f"  {look}" for look in looks), verdict]
