"""What a run folder amounts to: read from its files alone, without torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import Field

from drp.benchmarks import mini_world
from drp.engines.budget import Spend
from drp.evaluation.comparison import MARGIN, Comparison, compare
from drp.evaluation.metrics import Metrics, measure
from drp.records import PrunedTrace, Record, Trace
from drp.reporting.pruning_tally import PruneTally
from drp.reporting.standing import evaluated, notes, outcome, seconds_of
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.manifest import Manifest
from drp.runs.reader import RunReader


class PruneSummary(Record):
    """Figures of a prune stage, over the traces that its last command wanted."""

    traces: int
    """Those with an outcome, or a failure that is to be tried again."""
    accepted: int
    dropped: dict[str, int]
    """Failed checks and how many traces failed on them."""
    excluded: dict[str, int]
    """Traces left out before the teacher was asked, by kind."""
    failed: dict[str, int] = Field(default_factory=dict)
    """Traces on which the teacher failed for good, by kind."""
    pending: dict[str, int] = Field(default_factory=dict)
    """Traces that failed and are tried again by the same command, by kind."""
    waived: dict[str, int] = Field(default_factory=dict)
    """Checks that were not required, and how many accepted traces do not pass them."""
    teachers: tuple[str, ...] = ()
    repaired: int
    """Accepted only after the teacher was told what had failed."""
    tokens_before: float
    """Mean over accepted traces."""
    tokens_after: float
    own_share: float | None
    """Share of the accepted pruned thinking that is the student's own bytes, mean; ``None`` where that is not asked."""
    kept_share: float | None
    """Share of the original thinking's bytes that were kept, mean over accepted traces; ``None`` likewise."""
    actions: dict[str, int]
    steps_per_trace: float
    skills: dict[str, int]
    polished: int = 0
    """Accepted traces whose joins a second pass smoothed."""
    protocol: dict[str, float] = Field(default_factory=dict)
    """What the teacher's protocol measured about itself, mean over accepted traces."""
    learnable: dict[str, float] = Field(default_factory=dict)
    """NLL per token under the student, mean over accepted traces, where it was measured."""
    spend: Spend | None = None
    """What the teacher was asked and paid."""


class BenchmarkSummary(Record):
    """Before and after on one benchmark."""

    benchmark: str
    base: Metrics
    after: Metrics | None = None
    comparison: Comparison | None = None


class RunSummary(Record):
    """Everything a report shows in figures."""

    name: str
    notes: tuple[str, ...] = ()
    """What must be known before the figures: items still owed, stages that do not fit together."""
    prune: PruneSummary | None = None
    benchmarks: tuple[BenchmarkSummary, ...] = ()
    outcome: str = layout.DISTILLED
    """What the student is compared with: the ``distilled`` model, or the student ``prompted`` in another way."""
    learnability: dict[str, float] | None = None
    train_counts: dict[str, int] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    """By stage; those whose time also went into other items than the last command wanted are missing."""
    versions: dict[str, str] = Field(default_factory=dict)
    decided_by: dict[str, dict[str, int]] = Field(default_factory=dict)
    """By stage, the versions of what decides about its records: units, checks, teachers, grader."""
    protocol: dict[str, object] = Field(default_factory=dict)
    page: Path | None = Field(default=None, exclude=True)
    """The HTML page with these figures, where one was written; not on file, since run folders are moved."""


def summarise_prune(folder: StageFolder) -> PruneSummary | None:
    """Return the figures of a prune stage, or ``None`` where there is none."""
    if folder.manifest() is None:
        return None
    failures = folder.wanted_failures()
    later = [f for f in failures if not f.excluded]
    tally = PruneTally()
    for pruned in folder.on_demand(PrunedTrace, folder.wanted()):
        tally.count(pruned)
    shares = {} if "own_share" in tally.waived else tally.own.means()
    lengths, steps = tally.lengths.means(), sum(tally.skills.values())
    return PruneSummary(
        traces=tally.traces + len(failures),
        accepted=tally.accepted,
        dropped=tally.dropped,
        excluded=Counter(f.kind for f in failures if f.excluded),
        failed=Counter(f.kind for f in later if not f.retry),
        pending=Counter(f.kind for f in later if f.retry),
        waived=dict(sorted(tally.waived.items())),
        teachers=tuple(sorted(tally.teachers)),
        repaired=tally.repaired,
        tokens_before=lengths.get("before", 0.0),
        tokens_after=lengths.get("after", 0.0),
        own_share=shares.get("share_of_pruned"),
        kept_share=shares.get("share_of_original"),
        actions=dict(tally.actions),
        steps_per_trace=steps / max(1, tally.accepted),
        skills=dict(tally.skills.most_common()),
        polished=tally.polished,
        protocol=tally.protocol.means(),
        learnable=tally.learnable.means(),
        spend=folder.document(layout.SPEND, Spend),
    )


def by_benchmark(traces: list[Trace]) -> dict[str, list[Trace]]:
    """Group traces by benchmark, in order of appearance."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.benchmark, []).append(trace)
    return groups


def benchmark_order(name: str) -> tuple[int, str]:
    """Sort key: the mini world's from easy to hard, then others by name."""
    mini = list(mini_world.TIERS)
    return (mini.index(name) if name in mini else len(mini), name)


def summarise_benchmark(
    benchmark: str, before: Sequence[Trace], after: Sequence[Trace] | None, margin: float = MARGIN
) -> BenchmarkSummary:
    """Compare two models on the completions both have on file, so that no figure has another n."""
    if not after:
        return BenchmarkSummary(benchmark=benchmark, base=measure(benchmark, before))
    shared = {t.id for t in before} & {t.id for t in after}
    one, two = ([t for t in traces if t.id in shared] for traces in (before, after))
    comparison = compare(benchmark, one, two, margin)
    return BenchmarkSummary(
        benchmark=benchmark,
        base=measure(benchmark, one),
        after=measure(benchmark, two),
        comparison=comparison,
    )


def summarise(path: Path, name: str) -> RunSummary:
    """Return the figures of a run folder, as far as its stages got and stand."""
    newer: list[str] = []
    run = RunReader(path, newer.append)
    before = evaluated(run, layout.BASE)
    shared = {trace.id for trace in before}
    base, after = (
        by_benchmark(before),
        by_benchmark([t for t in evaluated(run, outcome(run)) if t.id in shared]),
    )
    benchmarks = [
        summarise_benchmark(benchmark, base[benchmark], after.get(benchmark))
        for benchmark in sorted(base, key=benchmark_order)
    ]
    manifests, learnability = run.manifests(), run.learnability()
    trained, evaluation = manifests.get(layout.TRAIN), manifests.get(layout.EVALUATE_BASE)
    prune = summarise_prune(run.stage(layout.PRUNE))
    said = notes(run)
    return RunSummary(
        name=name,
        notes=(*said, *newer),
        prune=prune,
        benchmarks=tuple(benchmarks),
        outcome=outcome(run),
        learnability=learnability and {name: float(value) for name, value in learnability.items()},
        train_counts=trained.counts if trained and trained.complete else {},
        seconds={stage: s for stage in layout.STAGES if (s := seconds_of(run, stage)) is not None},
        versions=next(iter(manifests.values())).versions if manifests else {},
        decided_by=_decided_by(manifests),
        protocol=dict(evaluation.settings) if evaluation else {},
    )


def _decided_by(manifests: Mapping[str, Manifest]) -> dict[str, dict[str, int]]:
    """Return, by stage, the versions of what decides about its records, as far as they are on file."""
    found: dict[str, dict[str, int]] = {}
    for stage, manifest in manifests.items():
        versions = cast("dict[str, int]", manifest.settings.get("versions") or {})
        graded = {} if manifest.graded_by is None else {"grader": manifest.graded_by}
        if known := {**versions, **graded}:
            found[stage] = known
    return found
