"""What a run folder amounts to: read from its files alone, without torch."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from drp.engines.budget import Spend
from drp.evaluation.comparison import MARGIN, Comparison, compare
from drp.evaluation.metrics import Metrics, measure
from drp.pruning.statistics import action_counts, skill_counts
from drp.records import PrunedTrace, Record, Trace
from drp.runs.folder import StageFolder


class PruneSummary(Record):
    """Figures of a prune stage."""

    traces: int
    accepted: int
    dropped: dict[str, int]
    """Failed checks and how many traces failed on them."""
    excluded: dict[str, int]
    """Traces left out before pruning, by kind."""
    repaired: int
    """Accepted only after the teacher was told what had failed."""
    tokens_before: float
    """Mean over accepted traces."""
    tokens_after: float
    own_share: float
    """Share of the accepted pruned thinking that is the student's own bytes, mean."""
    kept_share: float
    """Share of the original thinking's bytes that were kept, mean over accepted traces."""
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


class TierSummary(Record):
    """Before and after on one benchmark."""

    benchmark: str
    base: Metrics
    distilled: Metrics | None = None
    comparison: Comparison | None = None


class RunSummary(Record):
    """Everything a report shows in figures."""

    name: str
    prune: PruneSummary | None = None
    tiers: tuple[TierSummary, ...] = ()
    learnability: dict[str, float] | None = None
    train_counts: dict[str, int] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    protocol: dict[str, object] = Field(default_factory=dict)


def summarise_prune(folder: StageFolder, pruned: list[PrunedTrace] | None = None) -> PruneSummary | None:
    """Return the figures of a prune stage, or ``None`` where there is none."""
    if folder.manifest() is None:
        return None
    pruned = folder.records(PrunedTrace) if pruned is None else pruned
    accepted = [p for p in pruned if p.accepted]
    failures = {f.id: f.kind for f in folder.failures()}
    excluded: dict[str, int] = {}
    for kind in failures.values():
        excluded[kind] = excluded.get(kind, 0) + 1
    dropped: dict[str, int] = {}
    for trace in pruned:
        for name in (trace.reason or "").split(", ") if not trace.accepted else []:
            dropped[name] = dropped.get(name, 0) + 1

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    def share(trace: PrunedTrace, figure: str) -> float:
        return next(c.figures[figure] for c in trace.checks if c.name == "own_share")

    spend = folder.path / "spend.json"
    scripts = [p.script for p in accepted]
    steps = sum(skill_counts(scripts).values())
    return PruneSummary(
        traces=len(pruned) + len(failures),
        accepted=len(accepted),
        dropped=dropped,
        excluded=excluded,
        repaired=sum(p.repaired for p in accepted),
        tokens_before=mean([p.tokens_before for p in accepted]),
        tokens_after=mean([p.tokens_after for p in accepted]),
        own_share=mean([share(p, "share_of_pruned") for p in accepted]),
        kept_share=mean([share(p, "share_of_original") for p in accepted]),
        actions=dict(action_counts(scripts)),
        steps_per_trace=steps / max(1, len(scripts)),
        skills=dict(skill_counts(scripts).most_common()),
        polished=sum(p.polished for p in accepted),
        protocol=_means([p.protocol for p in accepted]),
        learnable=_means([c.figures for p in accepted for c in p.checks if c.name == "learnable"]),
        spend=Spend.model_validate_json(spend.read_bytes()) if spend.exists() else None,
    )


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every figure over the rows that have it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def by_benchmark(traces: list[Trace]) -> dict[str, list[Trace]]:
    """Group traces by benchmark, in order of appearance."""
    groups: dict[str, list[Trace]] = {}
    for trace in traces:
        groups.setdefault(trace.benchmark, []).append(trace)
    return groups


def tier_order(name: str) -> tuple[int, str]:
    """Sort key: the mini tiers from easy to hard, then others by name."""
    tiers = ("mini-gsm", "mini-math", "mini-amc", "mini-aime")
    return (tiers.index(name) if name in tiers else len(tiers), name)


def summarise_tier(
    benchmark: str, before: Sequence[Trace], after: Sequence[Trace] | None, margin: float = MARGIN
) -> TierSummary:
    """Compare two models on the completions both have on file, so that no figure has another n."""
    if not after:
        return TierSummary(benchmark=benchmark, base=measure(benchmark, before))
    shared = {t.id for t in before} & {t.id for t in after}
    one, two = ([t for t in traces if t.id in shared] for traces in (before, after))
    comparison = compare(benchmark, one, two, margin)
    return TierSummary(
        benchmark=benchmark,
        base=measure(benchmark, one),
        distilled=measure(benchmark, two),
        comparison=comparison,
    )


def summarise(path: Path, name: str) -> RunSummary:
    """Return the figures of a run folder, as far as its stages got."""

    def stage(stage_name: str) -> StageFolder:
        return StageFolder(path / stage_name, stage_name)

    base = by_benchmark(stage("evaluate/base").records(Trace))
    after = by_benchmark(stage("evaluate/distilled").records(Trace))
    tiers = [
        summarise_tier(benchmark, base[benchmark], after.get(benchmark))
        for benchmark in sorted(base, key=tier_order)
    ]
    manifests = {
        s: m
        for s in ("generate", "prune", "train", "evaluate/base", "evaluate/distilled")
        if (m := stage(s).manifest())
    }
    learnability = path / "train" / "learnability.json"
    trained = manifests.get("train")
    evaluated = manifests.get("evaluate/base")
    return RunSummary(
        name=name,
        prune=summarise_prune(stage("prune")),
        tiers=tuple(tiers),
        learnability=_floats(learnability) if learnability.exists() else None,
        train_counts=trained.counts if trained and trained.complete else {},
        seconds={s: m.seconds for s, m in manifests.items()},
        versions=next(iter(manifests.values())).versions if manifests else {},
        protocol=dict(evaluated.settings) if evaluated else {},
    )


def _floats(path: Path) -> dict[str, float]:
    import json

    return {k: float(v) for k, v in json.loads(path.read_text()).items()}
