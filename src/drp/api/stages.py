"""Verbs that run stages of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.jobs import prune_and_report, running
from drp.recipe import RecipeSource, load_recipe
from drp.runs.stage import NoProgress, Progress, Say, silent

if TYPE_CHECKING:
    from drp.records import PrunedTrace, Trace
    from drp.reporting.summary import RunSummary


def run(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> RunSummary:
    """Run the whole job: generate, prune, train, evaluate, report.

    Args:
        recipe: The recipe; left out: that of the run folder ``out``.
        overrides: Changes to it, ``section.field=value``.
        out: Run folder.
        limit: At most this many problems per problem set.
        partial: Go on without the items of a stage that failed and are still owed.
        progress: Where stages report how far they are.
        say: Told what a user should know, one line at a time.

    Returns:
        What the report shows; its HTML is at ``page``.

    Raises:
        PreflightError: Something that a stage would need is missing; nothing was started.
        IncompleteError: A stage has items pending, and ``partial`` is off.

    Examples:
        >>> small = ["train.epochs=1", "generate.sampling.max_new_tokens=400"]  # for an example
        >>> small += ["evaluate.benchmarks=[{benchmark: mini-gsm}]", "evaluate.sampling.max_new_tokens=50"]
        >>> summary = drp.run("recipes/mini.yaml", small, out="runs/try", limit=4)
        >>> [(result.benchmark, result.after.problems) for result in summary.benchmarks]
        [('mini-gsm', 4)]
        >>> summary.page
        PosixPath('runs/try/report/report.html')
    """
    from drp.reporting.write import read_summary

    with running(recipe, overrides, out, limit, partial, progress or NoProgress(), say) as pipeline:
        pipeline.run()
    return read_summary(pipeline.run_folder.path)


def generate(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> Sequence[Trace]:
    """Draw the student's own traces of the training problems, and grade them.

    Arguments and errors are those of :func:`run`.

    Returns:
        The traces, in the order of the problems, each read from disk when it is asked for; those that failed are missing with
        ``partial``.

    Examples:
        >>> traces = drp.generate("runs/try", limit=4)
        >>> len(traces), traces[0].benchmark, type(traces[0].correct)
        (4, 'mini-gsm', <class 'bool'>)
    """
    with running(
        recipe, overrides, out, limit, partial, progress or NoProgress(), say, "generate"
    ) as pipeline:
        return pipeline.generate()


def prune(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    traces: str | Path | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> Sequence[PrunedTrace]:
    """Let the teacher prune traces: a run's own, or those of a file.

    Arguments and errors are those of :func:`run`, and ``traces``: a file whose traces are pruned and reported on instead. With it,
    a recipe left out means the defaults, whose teacher needs no model; ``out`` left out is ``runs/`` and the file's name;
    and ``limit`` counts traces.

    Returns:
        The pruned traces, accepted or not, each read from disk when it is asked for; what was left out or failed is in ``prune/errors.jsonl``.

    Raises:
        IncompleteError: As for :func:`run`; the report on a file is written all the same.
        DataError: The file is not in the documented format.

    Examples:
        >>> pruned = drp.prune("runs/try", limit=4)
        >>> all(p.tokens_after < p.tokens_before for p in pruned if p.accepted)
        True

        >>> import json
        >>> thinking = "So 3 * 24 = 72. Let me verify that. 24 + 24 + 24 = 72. Yes. So the answer is 72."
        >>> row = {"question": "What is 3 * 24?", "gold": "72", "thinking": thinking, "answer": "It is 72."}
        >>> _ = Path("traces.jsonl").write_text(json.dumps(row))
        >>> (trace,) = drp.prune(traces="traces.jsonl")
        >>> trace.accepted, [edit.action for edit in trace.script.edits]
        (True, ['keep', 'delete', 'keep'])
    """
    if traces is not None:
        file, loaded = Path(traces), load_recipe(recipe, overrides)
        folder = Path(out) if out else Path("runs") / file.stem
        return prune_and_report(file, loaded, folder, limit, partial, progress or NoProgress(), say)
    with running(recipe, overrides, out, limit, partial, progress or NoProgress(), say, "prune") as pipeline:
        return pipeline.prune()


def train(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> Path:
    """Fine-tune the student as the recipe's method says, on what the run has on file.

    Arguments and errors are those of :func:`run`.

    Returns:
        The folder of the model, which `transformers` loads as it is.

    Raises:
        TrainingError: There is nothing to train on, or it went wrong.

    Examples:
        >>> drp.train("runs/try", limit=4)
        PosixPath('runs/try/train/model')
    """
    with running(recipe, overrides, out, limit, partial, progress or NoProgress(), say, "train") as pipeline:
        return pipeline.train()


def evaluate(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> RunSummary:
    """Run the student before and after on the same problems, and report.

    Arguments, result and errors are those of :func:`run`.

    Examples:
        >>> result = drp.evaluate("runs/try", limit=4).benchmarks[0]
        >>> result.base.problems, result.comparison.problems
        (4, 4)
    """
    from drp.reporting.write import read_summary

    with running(recipe, overrides, out, limit, partial, progress or NoProgress(), say) as pipeline:
        pipeline.run("evaluate", "report")
    return read_summary(pipeline.run_folder.path)
