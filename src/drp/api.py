"""What ``import drp`` offers: every verb of the command line as a function over paths and plain records.

A recipe is given as a YAML file, a run folder (for its own), a mapping of sections, or a
:class:`drp.recipe.Recipe`; ``overrides`` are changes to it as on the command line. Where ``out`` is left out, the run
folder is the one that was named, or ``runs/NAME``. The same call again continues where the last one stopped. Errors
are :class:`drp.errors.DrpError`. Nothing is printed: pass ``say=print`` to hear what the command line would say.

Rooms are imported when a function runs: what reads files waits for no engine. The examples use the run of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.jobs import job, prune_and_report, running
from drp.recipe import RecipeSource, load_recipe
from drp.runs.stage import NoProgress, Progress, Say, silent

if TYPE_CHECKING:
    from drp.evaluation.graded import Graded
    from drp.records import PrunedTrace, Trace
    from drp.reporting.pairing import ComparedRuns
    from drp.reporting.summary import RunSummary
    from drp.stages.estimate import Estimate


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


def plan(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
) -> list[str]:
    """Return what :func:`run` would do, one line a step, and what it lacks; runs and fetches nothing.

    Arguments and errors are those of :func:`run`.

    Examples:
        >>> lines = drp.plan("recipes/mini.yaml", ["evaluate.runs=5"], limit=40)
        >>> lines[2]
        'generate: 40 problems × 1, at most 1,200 tokens each, by transformers'
    """
    from drp.planning import plan as planned

    loaded, folder = job(recipe, overrides, out)
    return planned(loaded, folder, limit)


def generate(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    say: Say = silent,
) -> list[Trace]:
    """Draw the student's own traces of the training problems, and grade them.

    Arguments and errors are those of :func:`run`.

    Returns:
        The traces, in the order of the problems; those that failed are missing with ``partial``.

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
) -> list[PrunedTrace]:
    """Let the teacher prune traces: a run's own, or those of a file.

    Arguments and errors are those of :func:`run`, and ``traces``: a file whose traces are pruned and reported on instead. With it,
    a recipe left out means the defaults, whose teacher needs no model; ``out`` left out is ``runs/`` and the file's name;
    and ``limit`` counts traces.

    Returns:
        The pruned traces, accepted or not; what was left out or failed is in ``prune/errors.jsonl``.

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


def merge(run: str | Path, adapter_scale: float = 1.0, out: str | Path | None = None) -> Path:
    """Merge a run's adapter into the student at another scale, without training; return the model's folder.

    Args:
        run: Run folder with a trained adapter.
        adapter_scale: Scale of the adapter: 0 is the student, 1 as trained, above 1 beyond it.
        out: Folder of the model; default ``RUN/train/model-SCALE``.

    Raises:
        TrainingError: The run has no adapter or a damaged one, or ``out`` is taken.

    Examples:
        >>> drp.merge("runs/try", 0.75)
        PosixPath('runs/try/train/model-0.75')
    """
    from drp.stages.merge import merge_at

    return merge_at(Path(run), adapter_scale, Path(out or Path(run) / "train" / f"model-{adapter_scale:g}"))


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


def report(run: str | Path) -> RunSummary:
    """Write ``report.md`` and ``report.html`` of a run folder; return what they show, with the HTML at ``page``.

    Args:
        run: Run folder.

    Raises:
        RunFolderError: No stage has run there.

    Examples:
        >>> summary = drp.report("runs/try")
        >>> summary.page, summary.prune.traces
        (PosixPath('runs/try/report/report.html'), 4)
    """
    from drp.reporting.write import name_of, read_summary, write_report

    write_report(Path(run), name_of(Path(run)))
    return read_summary(Path(run))


def view(runs: str | Path | Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write one page of run folders with every trace in it, which needs no network; return its path.

    Left out, ``out`` is ``report/report.html`` of a single run, or ``report/view.html`` of the first of several.

    Raises:
        RunFolderError: In one of them no stage has run.

    Examples:
        >>> drp.view(["runs/try", "runs/try"]).name
        'view.html'
    """
    from drp.reporting.write import write_view

    return write_view(_paths(runs), Path(out) if out else None)


def grade(  # noqa: PLR0913  options of one command, by name
    files: str | Path | Sequence[str | Path],
    *,
    question: str | None = None,
    gold: str | None = None,
    completion: str | None = None,
    from_thinking: bool = False,
    prefilled: bool | None = None,
    strict: bool = False,
    tokenizer: str | None = None,
    out: str | Path | None = None,
) -> Graded:
    r"""Grade completions from anywhere, and sum them up.

    Args:
        files: JSONL or Parquet files of completions, or lm-eval samples.
        question: Field of the question, if not under a usual name.
        gold: Field of the gold answer, likewise.
        completion: Field of the completion, likewise.
        from_thinking: Read the thinking where the answer part has no answer.
        prefilled: Whether the prompts ended in <think>; left out, it is told from each file.
        strict: Accept only answers in a box or after ####, none read from prose.
        tokenizer: Folder or hub id; counts tokens where a file has no counts.
        out: Write the graded completions here (JSONL).

    Returns:
        Of each file, the completions with verdicts and the figures; and notes on how they were read.

    Raises:
        DataError: A file is not in a documented format, or ``out`` lies in no folder.

    Examples:
        >>> import json
        >>> rows = [{"question": "1 + 1?", "gold": "2", "completion": text} for text in ("It is 2.", "\boxed{3}")]
        >>> _ = Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        >>> (mine,) = drp.grade("mine.jsonl").files
        >>> mine.metrics.accuracy, [trace.correct for trace in mine.traces]
        (0.5, [True, False])
    """
    from drp.benchmarks.completions import Fields
    from drp.evaluation.graded import grade_files

    return grade_files(
        _paths(files),
        Fields(question=question, gold=gold, completion=completion),
        from_thinking=from_thinking,
        prefilled=prefilled,
        strict=strict,
        tokenizer=tokenizer,
        out=Path(out) if out else None,
    )


def compare(
    runs: Sequence[str | Path], *, margin: float = 0.01, tokenizer: str | None = None
) -> ComparedRuns:
    """Compare runs, or files of completions, problem by problem with the first: accuracy, tokens, non-inferiority.

    Args:
        runs: Two or more run folders or files of completions; the first is the base.
        margin: A loss of accuracy below this share is "not less accurate".
        tokenizer: Folder or hub id; counts tokens where a file has no counts.

    Returns:
        Of each run and benchmark, the figures of both and their paired comparison; and by which protocols.

    Raises:
        RunFolderError: One has no evaluation, or shares no benchmark with the first.

    Examples:
        >>> found = drp.compare(["runs/try", "runs/try"], margin=0.02)
        >>> [run.benchmarks[0].comparison.accuracy_difference for run in found.runs], found.one_protocol
        ([0.0], True)
    """
    from drp.reporting.pairing import compare_runs

    return compare_runs(_paths(runs), margin, tokenizer)


def estimate(
    recipe: RecipeSource | None = None,
    overrides: Sequence[str] = (),
    *,
    traces: str | Path | None = None,
    trace_tokens: int | None = None,
    probe: int = 0,
    out: str | Path | None = None,
    limit: int | None = None,
    say: Say = silent,
) -> list[Estimate]:
    """Return what a language-model teacher will cost, before anything is spent, for each protocol.

    Args:
        recipe: The recipe; left out: the defaults.
        overrides: As for :func:`run`.
        traces: Measure the traces of this file instead of the run's.
        trace_tokens: Tokens a trace, where none is on file.
        probe: Prune this many traces for real and scale up; costs money.
        out: As for :func:`run`.
        limit: At most this many traces, or problems per problem set.
        say: Told where the lengths come from.

    Raises:
        DrpError: The teacher costs nothing, or there is nothing to probe.

    Examples:
        >>> estimates = drp.estimate(overrides=["prune.teacher=edit_script"], trace_tokens=1500, limit=100)
        >>> [e.protocol for e in estimates], estimates[0].traces
        (['edit_script', 'edit_script/json', 'two_stage', 'direct', 'none'], 100)
    """
    from drp.planning import estimate_costs

    loaded = load_recipe(recipe, overrides)
    file = Path(traces) if traces else None
    folder = Path(out or Path("runs") / (file.stem if file else loaded.name))
    return estimate_costs(
        loaded, folder, file, say, limit=limit, trace_tokens=trace_tokens, probe_traces=probe
    )


def _paths(named: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(named)] if isinstance(named, str | Path) else [Path(one) for one in named]
