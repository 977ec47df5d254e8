"""Before anything runs: what a recipe would do, and what its teacher would cost."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from drp.benchmarks.public import PUBLIC
from drp.benchmarks.registry import ProblemSet, load_problems
from drp.engines.identity import resolve_model
from drp.errors import DataError, DrpError
from drp.grading.grader import Grader
from drp.on_file import teacher_context
from drp.preflight import preflight
from drp.recipe import PruneSettings, Recipe
from drp.records import Trace
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
from drp.teachers.load import assumed_lengths, lengths_of
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

    Raises:
        DrpError: A probe was asked for and there is no trace, or no model to ask.
    """
    from drp.benchmarks.files import read_traces

    settings = recipe.prune
    if not settings.teacher.asked():
        raise DrpError(
            f"the {settings.teacher.kind} teacher costs nothing; name another with prune.teacher=edit_script"
        )
    if traces_file:
        traces = read_traces(traces_file, say)[:limit]
    else:
        traces = RunReader(folder, say).stage(layout.GENERATE).wanted_records(Trace)
    with Grader() as grader:
        worth = worth_pruning(traces, settings, grader)
        if probe_traces:
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
    else:
        problems = sum(_how_many(s, limit) for s in recipe.problems)
        tokens = trace_tokens or PAPER_TRACE_TOKENS
        say(f"no traces on file: assuming {tokens:,} tokens each (--trace-tokens), all worth pruning")
        lengths = [assumed_lengths(tokens)] * problems * recipe.generate.samples
    found = [(other, estimate(other, lengths, name)) for name, other in _alternatives(settings)]
    own = settings.teacher
    return [one.model_copy(update={"chosen": other.teacher == own}) for other, one in found if one]


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


def _how_many(problems: ProblemSet, limit: int | None) -> int:
    """Return how many problems a set has, without fetching it; its `count` where the file is not here yet."""
    public = PUBLIC.get(problems.benchmark)
    if problems.path is None and problems.hub is None and public and problems.split in public.sizes:
        return min(public.sizes[problems.split], problems.count or 10**9, limit or 10**9)
    try:
        return len(load_problems(problems, limit))
    except DataError:
        if problems.count is None:
            raise
        return min(problems.count, limit or problems.count)


def plan(recipe: Recipe, run: Path, limit: int | None = None) -> list[str]:
    """Return what a run of the recipe would do, one line a step, and what it needs, without running or fetching anything."""
    method = recipe.method
    student = Path(resolve_model(recipe.student.source))
    where = (
        "on this machine" if student.is_dir() else "a hub id, or a folder that an earlier run has yet to make"
    )

    def counted(problems: ProblemSet) -> int:
        try:
            return _how_many(problems, limit)
        except DataError:
            return 0  # that it cannot be read stands below, among what is missing

    asked = recipe.prune.teacher.asked()
    lines = {
        "generate": f"{sum(map(counted, recipe.problems)):,} problems × {recipe.generate.samples}, at most "
        f"{recipe.generate.sampling.max_new_tokens:,} tokens each, by {recipe.generate.engine.kind}",
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
