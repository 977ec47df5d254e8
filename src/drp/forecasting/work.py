"""What a recipe has to do, in tokens: completions to draw, traces to prune, texts to train on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from drp.benchmarks.sizes import how_many
from drp.forecasting.lengths import Expected, draw, expected, kept_by, mean_under
from drp.forecasting.shapes import short_name
from drp.recipe import Recipe
from drp.records import PrunedTrace, Trace
from drp.runs import layout
from drp.runs.reader import RunReader
from drp.runs.stage import silent


@dataclass(frozen=True)
class Measured:
    """What was found of a student: on file, or by a probe."""

    drawn: tuple[int, ...] = ()
    """Lengths of its completions of training problems."""
    longer: float = 1.0
    """Its lengths beside those that the table expects, where no traces are on file."""
    right: float | None = None
    accepted: float | None = None
    """Share of the pruned texts that can be trained on."""
    kept: float | None = None
    """Tokens of a training text beside those of its trace."""
    source: str = ""


@dataclass(frozen=True)
class Draws:
    """Completions of one stage."""

    stage: str
    lengths: list[int]
    """In the order in which they are asked for."""
    limit: int
    batch: int

    @property
    def tokens(self) -> float:
        """All new tokens."""
        return float(sum(self.lengths))


@dataclass(frozen=True)
class Work:
    """What the stages of a recipe have to do."""

    draws: list[Draws]
    traces: int
    """Traces that come to the teacher: the right ones that ended."""
    trace_tokens: float
    """Mean of a whole trace."""
    texts: list[int]
    """A sample of the lengths of training texts with their prompts …"""
    examples: int
    """… which stands for so many."""
    sources: list[str] = field(default_factory=list[str])


def on_file(folder: Path) -> Measured:
    """Return what a run folder knows of its student; nothing where it has no traces."""
    if not (folder / layout.RECIPE).exists():
        return Measured()
    reader = RunReader(folder, silent)
    traces = reader.stage(layout.GENERATE).wanted_records(Trace)
    drawn = tuple(t.usage.completion_tokens for t in traces if t.usage and t.usage.completion_tokens)
    if not drawn:
        return Measured()
    pruned = reader.stage(layout.PRUNE).wanted_records(PrunedTrace)
    return measured(traces, pruned, f"{len(drawn):,} traces on file")


def measured(traces: Sequence[Trace], pruned: Sequence[PrunedTrace], source: str) -> Measured:
    """Return what traces and what became of them say of a student."""
    drawn = tuple(t.usage.completion_tokens for t in traces if t.usage and t.usage.completion_tokens)
    graded = [t.correct for t in traces if t.correct is not None]
    good = [p for p in pruned if p.accepted]
    before = sum(p.tokens_before for p in good)
    return Measured(
        drawn=drawn,
        right=sum(graded) / len(graded) if graded else None,
        accepted=len(good) / len(pruned) if pruned else None,
        kept=sum(p.tokens_after for p in good) / before if before else None,
        source=source,
    )


def work_of(recipe: Recipe, found: Measured, limit: int | None = None) -> Work:
    """Return what a run of the recipe has to do.

    Args:
        recipe: The recipe.
        found: What is known of its student.
        limit: At most this many problems per problem set.

    Raises:
        DataError: How many problems a set has cannot be found out.
    """
    student, generate = short_name(recipe.student.model), recipe.generate
    sources: dict[str, list[str]] = {}
    lengths: list[int] = []
    right = problems = 0.0
    for one in recipe.problems:
        what = expected(student, one.benchmark, found.drawn, found.right)
        _note(sources, what.source, one.benchmark)
        count = how_many(one, limit) * generate.samples
        lengths += _drawn(what, what.before, count, generate.sampling.max_new_tokens, found.longer)
        right, problems = right + what.right * count, problems + count
    drawn = Draws(layout.GENERATE, lengths, generate.sampling.max_new_tokens, _batch(generate.engine))
    base = _evaluation(recipe, student, found, limit, layout.BASE, sources)
    after = _evaluation(recipe, student, found, limit, layout.DISTILLED, sources)
    # Wrong traces are not pruned, and a trace that was cut off is wrong.
    traces = round(problems if recipe.prune.include_wrong else right)
    mean = fmean(lengths) if lengths else 0.0
    texts, examples = _texts(recipe, found, lengths, traces)
    stages = recipe.method.stages
    draws = [d for d in (drawn if layout.GENERATE in stages else None, base, after) if d]
    said = [f"{', '.join(names)}: {source}" for source, names in sources.items()]
    said += [found.source] if found.source else []
    return Work(draws, traces, mean, texts, examples, said)


def _note(sources: dict[str, list[str]], source: str, benchmark: str) -> None:
    if benchmark not in (names := sources.setdefault(source, [])):
        names.append(benchmark)


def _texts(recipe: Recipe, found: Measured, lengths: list[int], traces: int) -> tuple[list[int], int]:
    """Return a sample of the lengths of training texts, and how many of them there are."""
    prunes, settings = layout.PRUNE in recipe.method.stages, recipe.train
    table = kept_by(recipe.prune.teacher.kind)
    kept = (found.kept or float(table["length"])) if prunes else 1.0
    accepted = (found.accepted or float(table["accepted"])) if prunes else 1.0
    texts = [max(16, round(n * kept)) for n in lengths]
    fit = [n for n in texts if n <= settings.max_length]
    share = len(fit) / len(texts) if texts else 0.0
    return fit, min(settings.max_examples, round(traces * accepted * share))


def _evaluation(
    recipe: Recipe,
    student: str | None,
    found: Measured,
    limit: int | None,
    which: str,
    sources: dict[str, list[str]],
) -> Draws:
    evaluate, lengths = recipe.evaluate, list[int]()
    for one in evaluate.benchmarks:
        what, count = expected(student, one.benchmark), how_many(one, limit) * evaluate.runs
        _note(sources, what.source, one.benchmark)
        shorter = which != layout.BASE and (recipe.method.has_pairs or recipe.method.trains_on != "texts")
        mean = what.after if shorter else what.before
        lengths += _drawn(
            what, mean, count, evaluate.sampling.max_new_tokens, _longer(recipe, student, found)
        )
    lengths = _mixed(lengths)
    return Draws(layout.evaluation(which), lengths, evaluate.sampling.max_new_tokens, _batch(evaluate.engine))


def _longer(recipe: Recipe, student: str | None, found: Measured) -> float:
    """Return how much longer this student writes on its training problems than the table expects of it."""
    if not found.drawn:
        return found.longer
    limit = recipe.generate.sampling.max_new_tokens
    means = [_mean(expected(student, one.benchmark), limit) for one in recipe.problems]
    return fmean(found.drawn) / fmean(means) if means else 1.0


def _mean(what: Expected, limit: int) -> float:
    return mean_under(what.before, limit, what.cut)


def _drawn(what: Expected, mean: float, count: int, limit: int, longer: float) -> list[int]:
    """Return a sample of lengths that stands for ``count`` completions; each stands for as many as any other."""
    if what.drawn and mean == what.before:
        return [what.drawn[i % len(what.drawn)] for i in range(count)]
    mean = min(mean * longer, 0.97 * what.cut)
    base = draw(mean, limit, count, cut=what.cut)
    return [base[i % len(base)] for i in range(count)]


def _mixed(lengths: list[int]) -> list[int]:
    """Return lengths of several benchmarks in the mixed order in which they are asked for; always the same."""
    random.Random(0).shuffle(lengths)
    return lengths


def _batch(engine: object) -> int:
    return int(getattr(engine, "batch_size", 64))
