"""What can be diagnosed: a file of completions, a run folder, or a model, which first answers some problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from drp.benchmarks.completions import Fields, read_completions
from drp.benchmarks.rows import read_rows
from drp.benchmarks.values import text_of
from drp.errors import DataError, RunFolderError
from drp.evaluation.verdicts import grade_traces
from drp.recipe import Recipe, load_recipe
from drp.records import Trace
from drp.reporting.pairing import evaluated_at
from drp.runs import layout
from drp.runs.reader import RunReader

LEVELS = ("level", "difficulty", "tier")
"""Fields that say how hard a problem is."""
_FILES = (".jsonl", ".json", ".parquet", ".gz", ".zst", ".csv", ".txt")


@dataclass(frozen=True)
class Source:
    """Graded completions, and what is known of them."""

    name: str
    traces: Sequence[Trace]
    levels: dict[str, str]
    """How hard a problem is, by its question."""
    notes: tuple[str, ...] = ()


def is_model(named: str) -> bool:
    """Return whether what was named is a model rather than a file or a run folder.

    Raises:
        DataError: It looks like a file, and there is none.
    """
    path = Path(named)
    if path.is_file() or (path.is_dir() and RunReader(path).began):
        return False
    if path.is_dir() and not (path / "config.json").exists():
        raise DataError(
            f"{path} is neither a run folder (no stage has run there) nor a model (it has no config.json)"
        )
    if not path.exists() and (
        path.suffix in _FILES or named.count("/") > 1 or named.startswith((".", "/", "~"))
    ):
        raise DataError(f"{named} does not exist; name a file of completions, a run folder, or a model")
    return True


def asked_of(model: str, benchmark: str, count: int, overrides: Sequence[str]) -> Recipe:
    """Return the recipe by which a model answers some problems of a benchmark.

    Raises:
        RecipeError: There is no such benchmark, or an override is malformed.
    """
    data: dict[str, Any] = {
        "name": Path(model).name,
        "student": {"model": model},
        "problems": [{"benchmark": benchmark, "count": count}],
    }
    if model == "mini":  # which was taught on traces of a few hundred tokens
        data["generate"] = {"sampling": {"max_new_tokens": 1200}}
    return load_recipe(data, overrides)


def from_file(path: Path, fields: Fields, prefilled: bool | None) -> Source:
    """Read and grade a file of completions; rows without a gold answer stay ungraded.

    Raises:
        DataError: It is not in a documented format.
    """
    notes: list[str] = []
    read = read_completions(path, fields, prefilled=prefilled, say=notes.append, gold_needed=False)
    known = [t for t in read if t.gold]
    if len(known) < len(read):
        notes.append(
            f"{len(read) - len(known)} of {len(read)} completions have no gold answer: nothing is said of their accuracy"
        )
    graded = {t.id: t for t in grade_traces(known)}
    return Source(path.stem, [graded.get(t.id, t) for t in read], _levels(path), tuple(notes))


def _levels(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, row in read_rows(path):
        doc: Any = row.get("doc")
        for place in (row, cast("dict[str, Any]", doc) if isinstance(doc, dict) else row):
            level = next((text for name in LEVELS if (text := text_of(place.get(name)))), None)
            asked = text_of(place.get("question")) or text_of(place.get("problem"))
            if level and asked:
                found[asked] = level
    return found


def from_run(path: Path) -> Source:
    """Read what a run's last model was evaluated on; without an evaluation, the student's traces.

    Raises:
        RunFolderError: It has neither.
    """
    reader = RunReader(path)
    if any(
        reader.stage(stage).manifest()
        for stage in (layout.EVALUATE_BASE, layout.EVALUATE_DISTILLED, layout.EVALUATE_PROMPTED)
    ):
        traces, protocol = evaluated_at(path)
        return Source(path.resolve().name, traces, {}, (f"Completions of the evaluation. {protocol}",))
    traces = list(reader.records(layout.GENERATE, Trace))
    if not traces:
        raise RunFolderError(
            f"{path} has no completions; run `drp generate` or `drp evaluate` on its recipe first"
        )
    return Source(
        path.resolve().name, traces, {}, ("Completions of the training problems (stage generate).",)
    )
