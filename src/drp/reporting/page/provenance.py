"""Where a run's figures come from: student, teacher, method, versions, dates, commands, failures, money."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import ConfigDict

from drp.records import Failure, Record
from drp.reporting.summary import RunSummary
from drp.reporting.text import Table
from drp.runs import layout
from drp.runs.reader import RunReader

EXAMPLES = 3
"""Failures of each kind that the page quotes."""
RAW = 20_000
"""Characters of a raw reply that it quotes."""


class TrainingStep(Record):
    """What the curves are drawn of, of a logged optimizer step; a reinforcement's steps also have a reward."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    loss: float | None = None
    reward: float | None = None
    tokens: float | None = None
    """Mean length of the completions drawn at this step."""


def training_steps(run: RunReader) -> list[TrainingStep]:
    """Return the logged steps of training, in order, each once."""
    return sorted({s.step: s for s in run.records(layout.TRAIN, TrainingStep)}.values(), key=lambda s: s.step)


class FailureKind(Record):
    """What failed alike in a stage."""

    stage: str
    kind: str
    count: int
    examples: tuple[Failure, ...]


def failure_kinds(run: RunReader) -> list[FailureKind]:
    """Return the kinds of failures of what the last commands wanted, the commonest of each stage first."""
    found: list[FailureKind] = []
    for stage in layout.STAGES:
        kinds: defaultdict[str, list[Failure]] = defaultdict(list)
        for failure in run.stage(stage).wanted_failures():
            kinds[failure.kind].append(failure)
        found += [
            FailureKind(
                stage=stage,
                kind=kind,
                count=len(failures),
                examples=tuple(map(_shortened, failures[:EXAMPLES])),
            )
            for kind, failures in sorted(kinds.items(), key=lambda item: -len(item[1]))
        ]
    return found


def _shortened(failure: Failure) -> Failure:
    return failure.model_copy(
        update={"raw": failure.raw and failure.raw[:RAW], "message": failure.message[:RAW]}
    )


def recipe_text(run: RunReader) -> str | None:
    """Return the resolved recipe as it is on file, if one is."""
    path = run.path / layout.RECIPE
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def origin(run: RunReader, summary: RunSummary) -> Table:
    """Return what the figures come from, one line each."""
    recipe = _mapping(_recipe(run))
    student, prune, method = (_mapping(recipe.get(name)) for name in ("student", "prune", "method"))
    rows = [
        ("student", _joined(student, "model", "revision")),
        ("method", str(method.get("kind") or "")),
        ("teacher", ", ".join(summary.prune.teachers) if summary.prune else _named(prune.get("teacher"))),
        (
            "trained on",
            ", ".join(_named(p, "benchmark", "path", "hub") for p in _items(recipe.get("problems"))),
        ),
        ("made with", ", ".join(f"{name} {version}" for name, version in summary.versions.items())),
        *_stages(run, summary),
        ("folder", str(run.path)),
        ("again", f"drp run {run.path}" if recipe else f"drp report {run.path}"),
    ]
    return Table(
        "Where it comes from", ("what", "value"), tuple((name, value) for name, value in rows if value)
    )


def _stages(run: RunReader, summary: RunSummary) -> Iterator[tuple[str, str]]:
    for stage, manifest in run.manifests().items():
        path = run.stage(stage).manifest_path
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
        seconds = summary.seconds.get(stage, manifest.seconds)
        counts = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in manifest.counts.items() if count
        )
        ended = "" if manifest.complete else ", not ended"
        yield (
            stage,
            f"{written}{ended} · {seconds:,.0f} s · {counts or 'nothing yet'} · {manifest.fingerprint}",
        )


def money(summary: RunSummary) -> Table | None:
    """Return what the teacher was asked and paid, or ``None`` where none was."""
    spend = summary.prune.spend if summary.prune else None
    if spend is None:
        return None
    usage = spend.usage
    rows = [
        (
            "requests",
            f"{spend.requests:,}" + (f", {spend.batched:,} of them in batches" if spend.batched else ""),
        ),
        (
            "tokens in",
            f"{usage.prompt_tokens:,}"
            + (f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""),
        ),
        ("tokens out", f"{usage.completion_tokens:,}"),
        ("paid", "no price known" if spend.usd is None else f"${spend.usd:,.2f}"),
    ]
    accepted = summary.prune.accepted if summary.prune else 0
    if spend.usd is not None and accepted:
        rows.append(("per accepted trace", f"${spend.usd / accepted:,.4f}"))
    return Table("What the teacher cost", ("figure", "value"), tuple(rows))


def _recipe(run: RunReader) -> object:
    try:
        return json.loads(recipe_text(run) or "{}")
    except ValueError:
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _named(value: object, *names: str) -> str:
    found = _mapping(value)
    said = next((str(found[name]) for name in (*names, "kind") if found.get(name)), str(value or ""))
    count = found.get("count")
    return f"{said} ({count})" if count else said


def _joined(found: Mapping[str, Any], *names: str) -> str:
    return " ".join(str(found[name]) for name in names if found.get(name))
