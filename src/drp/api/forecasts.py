"""Verbs that say what a job would do and cost, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drp.jobs import job
from drp.recipe import RecipeSource, load_recipe
from drp.runs.stage import Say, silent

if TYPE_CHECKING:
    from drp.stages.estimate import Estimate


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
